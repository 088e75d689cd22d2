import { Report } from "../report.ts";
import { startBenchServer } from "../points/servers.ts";
import { inChromium } from "./chromium.ts";
import { storeRuns } from "./load.ts";
import { besideMLflow } from "./mlflow.ts";
import { search } from "./search.ts";

const many = { experiment: "many", first: 0, runs: 100_000 };
const some = { experiment: "some", first: 100_000, runs: 10_000 };

/** How a table of 100,000 runs with 60 columns is stored, searched by the server, loaded, filtered and sorted by a page. */
export async function runs(): Promise<void> {
  const report = new Report("runs");
  const server = await startBenchServer();
  const { stored, settled } = await storeRuns(server.url, many);
  report.add("store 100,000 runs × 60 columns", stored + settled, "s", "≤ 120", {
    ours: [stored, "s in rows"],
    against: [settled, "s into blocks"],
  });
  await server.restart(); // on other days, nothing is in its memory yet
  await search(report, server.url, many);
  await inChromium(report, server.url, many);
  await storeRuns(server.url, some);
  await besideMLflow(report, server.url, some);
  await server.close();
  report.keep();
}
