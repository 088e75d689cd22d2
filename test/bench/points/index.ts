import { DatabaseSync } from "node:sqlite";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { tableFromIPC } from "apache-arrow";
import { sortPoints, type Points } from "../../../wire/point.ts";
import { median, Report } from "../report.ts";
import { trainingRun } from "../workload.ts";
import { inChromium } from "./chromium.ts";
import {
  bodiesOf,
  endRun,
  sendBodies,
  sendRun,
  startBenchServer,
  startCanned,
  startRun,
  type Canned,
} from "./servers.ts";

const root = join(import.meta.dirname, "../../..");

/** How points are taken in, kept, served, loaded and drawn at scale. */
export async function points(): Promise<void> {
  const report = new Report("points");
  const server = await startBenchServer();
  const grids = {
    grid1: { runs: 200, keys: 50, steps: 100 },
    grid10: { runs: 20, keys: 50, steps: 1000 },
  };
  const single = trainingRun({ seed: 1, keys: 1, steps: 1_000_000 });
  for (const [name, { runs, keys, steps }] of Object.entries(grids))
    for (let seed = 0; seed < runs; seed++)
      await sendRun(server.url, name, trainingRun({ seed, keys, steps }), { perRequest: 250 });
  await ingest(report, server.url);
  const curve = await sendRun(server.url, "single", single, { perRequest: 1000 });
  await compacted(server.url, "single");
  for (const name of Object.keys(grids)) await serving(report, server.url, name);
  const answers: Record<string, Canned> = {};
  for (const name of Object.keys(grids)) {
    const arrow = await gzipped(`${server.url}/api/v1/points.arrow?experiment=${name}`);
    const json = gzipSync(rowsJSON(await tableOf(server.url, name)), { level: 6 });
    const count = 1_000_000;
    report.add(`wire, ${name}`, arrow.length / count, "B/point", "≤ 5");
    report.add(`wire, ${name}, of JSON rows gzip-6`, arrow.length / json.length, "×", "≤ 0.30", {
      against: [json.length / count, "B/point"],
    });
    report.add(
      `stored, ${name}, of the wire`,
      stored(server.data, name) / arrow.length,
      "×",
      "≤ 1.2",
    );
    answers[`/${name}/api/v1/points.arrow`] = {
      type: "application/vnd.apache.arrow.stream",
      gzip: arrow,
    };
    answers[`/${name}.json`] = { type: "application/json", gzip: json };
  }
  answers["/single.json"] = {
    type: "application/json",
    gzip: gzipSync(rowsJSON(single), { level: 6 }),
  };
  answers["/client.js"] = {
    type: "text/javascript",
    plain: readFileSync(join(root, "dist/client/browser.js")),
  };
  answers["/uplot.js"] = {
    type: "text/javascript",
    plain: readFileSync(join(root, "node_modules/uplot/dist/uPlot.iife.min.js")),
  };
  answers["/"] = {
    type: "text/html",
    plain: '<!doctype html><meta charset="utf-8"><script src="/uplot.js"></script>',
  };
  const canned = await startCanned(answers, server.url);
  await inChromium(report, canned.url, Object.keys(grids), curve);
  canned.close();
  await server.close();
  report.keep();
}

/** Points a second by HTTP into one run, whose tail is made into segments meanwhile. */
async function ingest(report: Report, url: string): Promise<void> {
  const bodies = bodiesOf(trainingRun({ seed: 9, keys: 2, steps: 300_000 }), 1000);
  const rates: number[] = [];
  for (let round = -1; round < 5; round++) {
    const run = await startRun(url, `ingest${round}`);
    const began = performance.now();
    await sendBodies(url, run, bodies);
    if (round >= 0) rates.push(600_000 / ((performance.now() - began) / 1000));
    await endRun(url, run);
    await compacted(url, `ingest${round}`);
  }
  report.add("ingest while it compacts", median(rates), "points/s", "≥ 150,000");
}

/** Waits until a sum of the parts is the whole again: nothing of an experiment is in a tail. */
async function compacted(url: string, experiment: string): Promise<void> {
  for (let quiet = 0, before = ""; quiet < 5;) {
    await new Promise((later) => setTimeout(later, 200));
    const { segments, tail } = (await (
      await fetch(`${url}/bench/segments?experiment=${experiment}`)
    ).json()) as { segments: number; tail: number };
    const now = `${segments}`;
    quiet = tail === 0 && now === before ? quiet + 1 : 0;
    before = now;
  }
}

async function serving(report: Report, url: string, name: string): Promise<void> {
  await compacted(url, name);
  const { sides } = (await (await fetch(`${url}/bench/serve?experiment=${name}`)).json()) as {
    sides: Record<string, { ms: number[] }>;
  };
  const [segments, level1] = [median(sides["segments"]!.ms), median(sides["gzip level 1"]!.ms)];
  report.add(`serve 1 M points, ${name}, in workerd`, segments, "ms", "≤ 10");
  report.add(`serve, ${name}, gzip level 1 takes`, level1 / segments, "×", "≥ 15", {
    against: [level1, "ms"],
  });
}

/** Returns an answer's bytes as they come over the wire. */
async function gzipped(url: string): Promise<Uint8Array> {
  const { get } = await import("node:http");
  return new Promise((resolve, reject) => {
    get(url, { headers: { "accept-encoding": "gzip" } }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks)));
      response.on("error", reject);
    });
  });
}

async function tableOf(url: string, experiment: string) {
  const response = await fetch(`${url}/api/v1/points.arrow?experiment=${experiment}`);
  return tableFromIPC(new Uint8Array(await response.arrayBuffer()));
}

/** Returns points as MLflow answers them: an object a point, metric by metric, as its get-history and get-history-bulk give one at a time. */
function rowsJSON(points: Points | Awaited<ReturnType<typeof tableOf>>): string {
  const rows: string[] = [];
  const row = (run: string, key: string, value: number, time: number, step: number) =>
    rows.push(
      `{"key":${JSON.stringify(key)},"value":${Number.isFinite(value) ? value : `"${value}"`},"timestamp":${time},"step":${step},"run_id":"${run}"}`,
    );
  if ("keys" in points) {
    const { keys, key, value, time, step } = sortPoints(points);
    for (let i = 0; i < step.length; i++)
      row("01a20899c1247cfa8cc5ad5373e41a88", keys[key[i]!]!, value[i]!, time[i]!, step[i]!);
  } else {
    const column = (name: string) => points.getChild(name)!.toArray() as ArrayLike<number>;
    const [run, key] = [points.getChild("run")!, points.getChild("key")!];
    const keys = Array.from({ length: points.numRows }, (_, i) => key.get(i) as string);
    const [step, time, value] = [column("step"), column("time"), column("value")];
    const places = Uint32Array.from(keys.keys()).sort((a, b) =>
      keys[a]! < keys[b]! ? -1 : keys[a]! > keys[b]! ? 1 : a - b,
    );
    for (const i of places)
      row(run.get(i) as string, keys[i]!, value[i]!, Number(time[i]), step[i]!);
  }
  return `{"metrics":[${rows.join(",")}]}`;
}

/** Returns how many bytes the segments of an experiment take: objects, and all text of their rows. */
function stored(data: string, experiment: string): number {
  const folder = join(data, "v3/d1");
  const path = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .find((name) => name.endsWith(".sqlite") && existsSync(name) && hasSegments(name))!;
  const database = new DatabaseSync(path, { readOnly: true });
  const { bytes } = database
    .prepare(
      `SELECT sum(size + length(s.object) + length(s.keys) + length(s.contents) + 40
         + (SELECT coalesce(sum(length(digests) + 40), 0) FROM receipts r WHERE r.run = s.run)) AS bytes
       FROM segments s WHERE run IN (SELECT no FROM runs WHERE experiment = (SELECT id FROM experiments WHERE name = ?))`,
    )
    .get(experiment) as { bytes: number };
  database.close();
  return bytes;
}

function hasSegments(path: string): boolean {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return (
      database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'segments'").get() !== undefined
    );
  } finally {
    database.close();
  }
}
