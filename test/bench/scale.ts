import { readFileSync, writeFileSync } from "node:fs";
import { childrenOf } from "../../client/cli/server/lock.ts";
import { bodiesOf, endRun, sendBodies, startBenchServer, startRun } from "./points/servers.ts";
import { Report } from "./report.ts";
import { trainingRun } from "./workload.ts";

const grid = { runs: 200, keys: 50, steps: 1000 };
const total = grid.runs * grid.keys * grid.steps;

/**
 * Ten million points of 200 runs: how fast they come in, and how much memory of the whole server process, the simulators
 * of D1 and R2 included, each way of reading them needs at its height beyond what it had before; garbage is collected
 * all along, as here nothing else would do so before it is a gigabyte.
 */
export async function scale(): Promise<void> {
  const report = new Report("scale");
  process.env["MINIFLARE_WORKERD_V8_FLAGS"] = "--expose-gc --max-semi-space-size=1";
  const server = await startBenchServer();
  const began = performance.now();
  for (let seed = 0; seed < grid.runs; seed++) {
    const run = await startRun(server.url, "scale");
    await sendBodies(server.url, run, bodiesOf(trainingRun({ seed, ...grid }), 5000));
    await endRun(server.url, run);
  }
  const seconds = (performance.now() - began) / 1000;
  report.add(
    `take in ${total / 1e6} M points of ${grid.runs} runs`,
    total / seconds,
    "points/s",
    "",
  );
  const all = "points.arrow?experiment=scale";
  const ways: Record<string, [path: string, headers?: Record<string, string>]> = {
    "all points, Arrow": [all],
    "all points, Arrow, not gzipped": [all, { "accept-encoding": "identity" }],
    "all points, CSV": ["points.csv?experiment=scale"],
    "all points, JSON": ["points.json?experiment=scale"],
    "all points, Parquet": ["points.parquet?experiment=scale"],
    "one metric of all runs": [`${all}&key=train/metric_0`],
    "200 buckets of every series": [`${all}&buckets=200`],
  };
  for (const [name, [path, headers = {}]] of Object.entries(ways)) {
    await server.restart(); // memory that was taken before would be used again, unseen
    const pid = childrenOf(process.pid).find((child) => nameOf(child) === "workerd")!;
    await drain(`${server.url}/api/v1/runs.json?experiment=scale&columns=id`, {});
    await drain(
      `${server.url}/api/v1/points.csv?experiment=scale&buckets=2&key=train/metric_0`,
      {},
    );
    writeFileSync(`/proc/${pid}/clear_refs`, "5"); // the height is measured anew
    const before = memory(pid, "VmRSS");
    const from = performance.now();
    const { bytes, status } = await drain(`${server.url}/bench/collected/api/v1/${path}`, headers);
    const took = (performance.now() - from) / 1000;
    const height = memory(pid, "VmHWM") - before;
    if (status !== 200 && status !== 206) throw new Error(`${path}: ${status}`);
    report.add(name, height, "MB", "≤ 32", {
      ours: [took, "s"],
      against: [bytes / 1e6, "MB sent"],
    });
  }
  await server.close();
  report.keep();
}

const nameOf = (pid: number): string => readFileSync(`/proc/${pid}/comm`, "utf8").trim();

/** Returns a figure of a process's memory in MB. */
function memory(pid: number, name: "VmRSS" | "VmHWM"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)![1]) / 1024;
}

async function drain(url: string, headers: Record<string, string>) {
  const { get } = await import("node:http");
  return new Promise<{ bytes: number; status: number }>((resolve, reject) => {
    get(url, { headers: { "accept-encoding": "gzip", ...headers } }, (response) => {
      let bytes = 0;
      response.on("data", (chunk: Buffer) => (bytes += chunk.length));
      response.on("end", () => resolve({ bytes, status: response.statusCode! }));
      response.on("error", reject);
    }).on("error", reject);
  });
}
