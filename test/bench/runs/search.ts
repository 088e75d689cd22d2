import { tableFromIPC } from "apache-arrow";
import { median, type Report } from "../report.ts";
import type { Load } from "./load.ts";
import { benchRun } from "./workload.ts";

/** The columns of a page that lists runs. */
export const columns = [
  "id",
  "name",
  "state",
  "started",
  "params.lr",
  "params.optimizer",
  "params.batch_size",
  "tags.team",
  "metrics.val/acc",
  "metrics.val/acc.max",
  "metrics.val/loss",
  "metrics.train/loss",
];

const limit = 50;
const rounds = 31;

/** How long the server takes to find the best 50 of 100,000 runs by a metric and a param, another question each time. */
export async function search(report: Report, url: string, { experiment, first, runs }: Load) {
  const bests = bestRuns(first, runs);
  const times: number[] = [];
  let firstTime = 0;
  for (let round = -3; round < rounds; round++) {
    const least = 0.5 + (round + 3) / 200;
    const query = new URLSearchParams({
      experiment,
      where: `metrics.val/acc > ${least} and params.optimizer = 'adamw'`,
      order: "metrics.val/loss",
      limit: String(limit),
      columns: columns.join(),
    });
    const began = performance.now();
    const response = await fetch(`${url}/api/v1/runs.arrow?${query}`);
    const answer = new Uint8Array(await response.arrayBuffer());
    const took = performance.now() - began;
    if (!response.ok) throw new Error(new TextDecoder().decode(answer));
    if (round === -3) firstTime = took;
    if (round >= 0) times.push(took);
    const found = Array.from(tableFromIPC(answer).getChild("id")!) as string[];
    if (found.join() !== bests(least).join())
      throw new Error(`wrong runs: ${query} ${found.length}`);
  }
  report.add("search them, by the server, p50", median(times), "ms", "≤ 60");
  report.add("search them, the first time", firstTime, "ms", "");
}

/** Returns what finds the ids that the question asks for, by plain loops. */
function bestRuns(first: number, runs: number): (least: number) => string[] {
  const candidates = Array.from({ length: runs }, (_, i) => benchRun(first + i)).flatMap(
    ({ id, params, metrics }) => {
      const acc = metrics["val/acc"]?.last;
      const loss = metrics["val/loss"]?.last;
      return params["optimizer"] === "adamw" && acc !== undefined && loss !== undefined
        ? [{ id, acc, loss: Number.isNaN(loss) ? Infinity : loss }]
        : [];
    },
  );
  candidates.sort((a, b) => a.loss - b.loss);
  return (least) =>
    candidates
      .filter(({ acc }) => acc > least)
      .slice(0, limit)
      .map(({ id }) => id);
}
