import { existsSync } from "node:fs";
import { chromium, type Page } from "playwright-core";
import type * as client from "../../../client/index.ts";
import { median, type Report } from "../report.ts";

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

/** What the page of the bench has loaded. */
declare const uPlot: new (
  options: object,
  data: ArrayLike<number>[],
  place: Element,
) => { root: Element };

/** How long a page takes to load points into columns, and to draw a curve, by Arrow and by JSON rows in turn. */
export async function inChromium(
  report: Report,
  url: string,
  grids: string[],
  curve: string,
): Promise<void> {
  if (!existsSync(executablePath)) return console.log("skipped: measures in Chromium (none found)");
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-quic"],
  });
  const page = await browser.newPage();
  await page.goto(url);
  for (const grid of grids) await loading(report, page, grid);
  await drawing(report, page, curve);
  await browser.close();
}

async function loading(report: Report, page: Page, grid: string): Promise<void> {
  const ms: Record<"arrow" | "json", number[]> = { arrow: [], json: [] };
  for (let round = -1; round < 5; round++)
    for (const side of ["arrow", "json"] as const) {
      const took = await page.evaluate(side === "arrow" ? loadArrow : loadJSON, grid);
      if (round >= 0) ms[side].push(took);
    }
  const [arrow, json] = [median(ms.arrow), median(ms.json)];
  report.add(`load 1 M points, ${grid}, JSON rows take`, json / arrow, "×", "≥ 7", {
    against: [json, "ms"],
    ours: [arrow, "ms"],
  });
}

/** From fetch to columns, through the client library, and once over every value. */
async function loadArrow(grid: string): Promise<number> {
  const { connect } = (await import(`${location.origin}/client.js`)) as typeof client;
  const began = performance.now();
  const table = await (await connect(`${location.origin}/${grid}`)).points({ experiment: grid });
  let sum = 0;
  for (const name of ["step", "value"])
    for (const { values } of table.getChild(name)!.data)
      for (let i = 0; i < values.length; i++) sum += (values as Float64Array)[i]!;
  if (table.numRows !== 1_000_000 || sum === 0)
    throw new Error(`wrong table: ${table.numRows} rows`);
  return performance.now() - began;
}

async function loadJSON(grid: string): Promise<number> {
  const began = performance.now();
  const { metrics } = await (await fetch(`/${grid}.json`)).json();
  const [step, value] = [new Float64Array(metrics.length), new Float64Array(metrics.length)];
  let sum = 0;
  for (let i = 0; i < metrics.length; i++) {
    step[i] = metrics[i].step;
    value[i] = Number(metrics[i].value);
    sum += step[i]! + value[i]!;
  }
  if (metrics.length !== 1_000_000 || sum === 0) throw new Error("wrong rows");
  return performance.now() - began;
}

/** Over a link of 50 Mbit/s and 40 ms, from the question to the painted curve of a million steps. */
async function drawing(report: Report, page: Page, run: string): Promise<void> {
  const link = await page.context().newCDPSession(page);
  await link.send("Network.enable");
  await link.send("Network.emulateNetworkConditions", {
    offline: false,
    latency: 40,
    downloadThroughput: 50e6 / 8,
    uploadThroughput: 50e6 / 8,
  });
  const ms: Record<"buckets" | "rows", number[]> = { buckets: [], rows: [] };
  for (let round = -1; round < 5; round++)
    for (const side of ["buckets", "rows"] as const) {
      const took = await page.evaluate(side === "buckets" ? drawBuckets : drawRows, run);
      if (round >= 0) ms[side].push(took);
    }
  const [buckets, rows] = [median(ms.buckets), median(ms.rows)];
  report.add("first paint of 1 M steps, JSON rows take", rows / buckets, "×", "≥ 40", {
    against: [rows, "ms"],
    ours: [buckets, "ms"],
  });
}

async function drawBuckets(run: string): Promise<number> {
  const { connect } = (await import(`${location.origin}/client.js`)) as typeof client;
  const lab = await connect(`${location.origin}/live`);
  const began = performance.now();
  const table = await lab.points({ run, buckets: 1000 });
  const columns = [
    "firstStep",
    "first",
    "minStep",
    "min",
    "maxStep",
    "max",
    "lastStep",
    "last",
  ].map((name) => table.getChild(name)!.toArray() as Float64Array);
  const points: [number, number][] = [];
  for (let i = 0; i < table.numRows; i++)
    for (let c = 0; c < 8; c += 2) points.push([columns[c]![i]!, columns[c + 1]![i]!]);
  points.sort(([a], [b]) => a - b);
  const place = document.body.appendChild(document.createElement("div"));
  const chart = new uPlot(
    { width: 1000, height: 400, series: [{}, { stroke: "blue" }], scales: { x: { time: false } } },
    [points.map(([step]) => step), points.map(([, value]) => value)],
    place,
  );
  await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
  const took = performance.now() - began;
  chart.root.remove();
  return took;
}

async function drawRows(): Promise<number> {
  const began = performance.now();
  const { metrics } = await (await fetch("/single.json")).json();
  const [step, value] = [new Float64Array(metrics.length), new Float64Array(metrics.length)];
  for (let i = 0; i < metrics.length; i++) {
    step[i] = metrics[i].step;
    value[i] = Number(metrics[i].value);
  }
  const place = document.body.appendChild(document.createElement("div"));
  const chart = new uPlot(
    { width: 1000, height: 400, series: [{}, { stroke: "blue" }], scales: { x: { time: false } } },
    [step, value],
    place,
  );
  await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
  const took = performance.now() - began;
  chart.root.remove();
  return took;
}
