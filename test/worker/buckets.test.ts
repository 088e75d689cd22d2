import { env, exports } from "cloudflare:workers";
import { tableFromIPC } from "@uwdata/flechette";
import * as fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { bucketColumns } from "../../wire/buckets.ts";
import { arrowType, pointsToIPC } from "../../wire/point-ipc.ts";
import type { Points } from "../../wire/point.ts";
import { compactRun } from "../../worker/db/compact.ts";
import { appendPoints } from "../../worker/db/tail.ts";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();
afterEach(() => vi.restoreAllMocks());

interface Point {
  key: string;
  step: number;
  time: number;
  value: number;
}

/** A run with what was logged to it, and with which of its requests. */
interface Logged {
  id: string;
  no: number;
  requests: number;
  points: (Point & { request: number })[];
}

/** What had been logged, run by run, when a cursor was handed out. */
interface Mark {
  cursor: string;
  requests: Map<Logged, number>;
}

interface Query {
  runs: Logged[];
  buckets: number;
  key?: { ask: string; test: (key: string) => boolean };
  from?: number;
  to?: number;
  timeFrom?: number;
  timeTo?: number;
  since?: Mark;
  until?: Mark;
}

async function newRun(): Promise<Logged> {
  const id = await startRun();
  const row = await env.DB.prepare("SELECT no FROM runs WHERE id = ?").bind(id).first();
  return { id, no: row!["no"] as number, requests: 0, points: [] };
}

/** Logs points in one request. */
async function log(run: Logged, points: Point[]): Promise<void> {
  const request = run.requests++;
  const headers = { "content-type": arrowType };
  const body = pointsToIPC(columnsOf(points));
  const { status, text } = await ask("POST", `/runs/${run.id}/points`, body, headers);
  if (status !== 200) throw new Error(text);
  run.points.push(...points.map((point) => ({ ...point, step: point.step + 0, request })));
  run.points.sort(comparePoints);
}

function columnsOf(points: Point[]): Points {
  const keys = [...new Set(points.map(({ key }) => key))];
  const places = new Map(keys.map((key, at) => [key, at]));
  return {
    keys,
    key: Uint32Array.from(points, ({ key }) => places.get(key)!),
    step: Float64Array.from(points, ({ step }) => step),
    time: Float64Array.from(points, ({ time }) => time),
    value: Float64Array.from(points, ({ value }) => value),
  };
}

async function mark(runs: Logged[]): Promise<Mark> {
  const named = runs.map(({ id }) => `run=${id}`).join("&");
  const { headers } = await ask("HEAD", `/points.arrow?${named}`);
  return {
    cursor: headers.get("x-assay-cursor")!,
    requests: new Map(runs.map((run) => [run, run.requests])),
  };
}

const compareValues = (a: number, b: number) =>
  Number(Number.isNaN(a)) - Number(Number.isNaN(b)) ||
  Number(a > b) - Number(a < b) ||
  Number(Object.is(b, -0)) - Number(Object.is(a, -0));

const comparePoints = (a: Point, b: Point) =>
  a.step - b.step || a.time - b.time || compareValues(a.value, b.value);

const columns = ["start", "width", ...bucketColumns.filter((name) => name !== "index")];

/** A row as text that equal rows have in common, NaN and −0 told apart. */
const rowText = (run: string, key: string, numbers: number[]) =>
  [run, key, ...numbers.map((n) => (Object.is(n, -0) ? "-0" : n))].join(" ");

/** A bucket of points, which come sorted, looked through for what a chart needs of it. */
function bucketText(run: string, key: string, width: number, index: number, points: Point[]) {
  const finite = points.filter(({ value }) => Number.isFinite(value));
  const count = (value: number) => points.filter((point) => Object.is(point.value, value)).length;
  const least = (sign: number) =>
    finite.reduce<Point | undefined>((best, point) => {
      if (!best) return point;
      const order =
        sign * (point.value - best.value) ||
        point.step - best.step ||
        sign * compareValues(point.value, best.value);
      return order < 0 ? point : best;
    }, undefined);
  const [first, last, min, max] = [points[0]!, points.at(-1)!, least(1), least(-1)];
  return rowText(run, key, [
    index * width,
    width,
    points.length,
    count(NaN),
    count(Infinity),
    count(-Infinity),
    first.step,
    first.time,
    first.value,
    last.step,
    last.time,
    last.value,
    min?.step ?? NaN,
    min?.value ?? NaN,
    max?.step ?? NaN,
    max?.value ?? NaN,
  ]);
}

function pathOf(format: string, query: Query): string {
  const { runs, buckets, key, from, to, timeFrom, timeTo, since, until } = query;
  const numbers = Object.entries({ buckets, from, to, timeFrom, timeTo });
  const isGiven = (pair: [string, number | undefined]): pair is [string, number] =>
    pair[1] !== undefined;
  return `/points.${format}?${[
    ...runs.map(({ id }) => `run=${id}`),
    ...numbers.filter(isGiven).map(([name, n]) => `${name}=${encodeURIComponent(n)}`),
    ...(key ? [key.ask] : []),
    ...(since ? [`since=${since.cursor}`] : []),
    ...(until ? [`until=${until.cursor}`] : []),
  ].join("&")}`;
}

interface Row {
  run: string;
  key: string;
  numbers: number[];
}

/** Reads the buckets that the server answers with. */
async function answered(format: string, query: Query): Promise<Row[]> {
  const response = await exports.default.fetch(`http://127.0.0.1/api/v1${pathOf(format, query)}`);
  if (response.status !== 200) throw new Error(await response.text());
  const row = (cell: (name: string) => unknown): Row => ({
    run: cell("run") as string,
    key: cell("key") as string,
    numbers: columns.map((name) => numberOf(name, cell(name))),
  });
  if (format === "json")
    return (await response.json<Record<string, unknown>[]>()).map((o) => row((name) => o[name]));
  if (format === "csv") {
    const [head, ...lines] = (await response.text())
      .trimEnd()
      .split("\r\n")
      .map((line) => line.split(","));
    return lines.map((line) => row((name) => line[head!.indexOf(name)]));
  }
  const table = tableFromIPC(new Uint8Array(await response.arrayBuffer()), { useDate: false });
  const read = Object.fromEntries(table.names.map((name) => [name, table.getChild(name)]));
  return Array.from({ length: table.numRows }, (_, i) => row((name) => read[name]?.at(i)));
}

function numberOf(name: string, cell: unknown): number {
  if (typeof cell !== "string") return Number(cell ?? "missing");
  return name.endsWith("Time") ? Date.parse(cell) : Number(cell.replace(/inf$/, "Infinity"));
}

const indexOf = (step: number, width: number) =>
  step < 0 ? Math.min(-1, Math.floor(step / width)) : Math.floor(step / width);

/** Asks for buckets and expects those that the logged points make, in the width that the answer has. */
async function expectM4(format: string, query: Query): Promise<void> {
  const rows = await answered(format, query);
  const widths = new Map<string, number>();
  for (const { run, key, numbers } of rows) widths.set(`${run} ${key}`, numbers[1]!);
  const expected: string[] = [];
  const { from = -Infinity, to = Infinity, timeFrom = -Infinity, timeTo = Infinity } = query;
  for (const run of query.runs) {
    const after = query.since?.requests.get(run) ?? 0;
    const upTo = query.until?.requests.get(run) ?? Infinity;
    const series = Map.groupBy(run.points, ({ key }) => key);
    for (const [key, all] of [...series].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (query.key && !query.key.test(key)) continue;
      const points = all.filter(
        ({ step, time, request }) =>
          step >= from &&
          step <= to &&
          time >= timeFrom &&
          time <= timeTo &&
          request >= after &&
          request < upTo,
      );
      if (!points.length) continue;
      const width = widths.get(`${run.id} ${key}`)!;
      expectWidth(width, query, [points[0]!.step, points.at(-1)!.step]);
      for (const [index, own] of Map.groupBy(points, ({ step }) => indexOf(step, width)))
        expected.push(bucketText(run.id, key, width, index, own));
    }
  }
  expect(rows.map(({ run, key, numbers }) => rowText(run, key, numbers))).toEqual(expected);
}

/** Expects the narrowest power of two of which at most as many buckets as asked for lie between the ends. */
function expectWidth(width: number, query: Query, [first, last]: [number, number]): void {
  const { buckets, from = first, to = last, since, until, timeFrom, timeTo } = query;
  expect([width, Number.isInteger(Math.log2(width))]).toEqual([width, true]);
  const count = (w: number) => indexOf(to, w) - indexOf(from, w) + 1;
  expect(count(width)).toBeLessThanOrEqual(buckets);
  // What was logged before or later, or at other times, may reach further.
  if (since || until || timeFrom !== undefined || timeTo !== undefined) return;
  const narrowest = Math.max(2 ** -1021, Math.max(-from, to) * 2 ** -51);
  if (from === to) expect(width).toBe(1);
  else if (width > narrowest) expect(count(width / 2)).toBeGreaterThan(buckets);
}

const fraction = fc.nat(1000).map((n) => n / 1000);
const mostly = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { freq: 5, nil: undefined });
const seldom = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

type Question = typeof question extends fc.Arbitrary<infer T> ? T : never;

/** A question, its ends given as places among what was logged. */
const question = fc.record({
  format: fc.constantFrom("arrow", "arrow", "arrow", "json", "csv"),
  which: fc.nat(2),
  buckets: fc.oneof(
    fc.integer({ min: 2, max: 12 }),
    fc.integer({ min: 2, max: 100 }),
    fc.integer({ min: 2, max: 5000 }),
  ),
  zoom: mostly(
    fc.record({
      series: fc.nat(),
      at: fraction,
      depth: fc.integer({ min: 0, max: 14 }),
      ends: fc.constantFrom("both", "both", "from", "to"),
      beside: fc.constantFrom(0, 0, 0.3, -1e-6),
    }),
  ),
  times: seldom(fc.tuple(fraction, fraction)),
  key: seldom(fc.constantFrom("key=b", "prefix=train/", "regex=a$", "key=none")),
  since: seldom(fraction),
  until: seldom(fraction),
});

const keyTests: Record<string, (key: string) => boolean> = {
  "key=b": (key) => key === "b",
  "prefix=train/": (key) => key.startsWith("train/"),
  "regex=a$": (key) => key.endsWith("a"),
  "key=none": () => false,
};

const ascending = (a: number, b: number) => a - b;

function queryOf(
  { which, buckets, zoom, times, key, since, until }: Question,
  runs: Logged[],
  marks: Mark[],
): Query {
  const query: Query = { runs: which < 2 ? [runs[which]!] : runs.toReversed(), buckets };
  const logged = runs.flatMap(({ points }) => points);
  const at = <T>(list: T[], place: number) =>
    list[Math.round(Math.min(1, Math.max(0, place)) * (list.length - 1))]!;
  if (zoom) {
    const series = [...Map.groupBy(logged, ({ key }) => key).values()];
    const steps = series[zoom.series % series.length]!.map(({ step }) => step).sort(ascending);
    if (zoom.ends !== "to") query.from = at(steps, zoom.at - 2 ** -zoom.depth) + zoom.beside;
    if (zoom.ends !== "from")
      query.to = Math.max(
        query.from ?? -Infinity,
        at(steps, zoom.at + 2 ** -zoom.depth) + zoom.beside,
      );
  }
  if (times) {
    const sorted = logged.map(({ time }) => time).sort(ascending);
    const found = times.map((place) => at(sorted, place));
    [query.timeFrom, query.timeTo] = [Math.min(...found), Math.max(...found)];
  }
  if (key) query.key = { ask: key, test: keyTests[key]! };
  if (since !== undefined) query.since = at(marks, since);
  if (until !== undefined) query.until = at(marks, until);
  return query;
}

const specials = [NaN, Infinity, -Infinity, -0, 0, 0.5];

const point = fc.record({
  key: fc.constantFrom("a", "b", "train/a"),
  step: fc.oneof(fc.integer({ min: -9, max: 30 }), fc.double({ min: -5, max: 5, noNaN: true })),
  time: fc.integer({ min: 1000, max: 1004 }),
  value: fc.oneof(fc.constantFrom(...specials), fc.double({ noNaN: true })),
});

test("buckets are the M4 of what was logged, whatever that is, compacted or not", async () => {
  const request = fc.record({
    to: fc.nat(1),
    points: fc.array(point, { minLength: 1, maxLength: 12 }),
    isCompacted: fc.boolean(),
  });
  const requests = fc.array(request, { minLength: 1, maxLength: 6 });
  const questions = fc.array(question, { minLength: 8, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(requests, questions, async (sent, asked) => {
      const runs = [await newRun(), await newRun()];
      const marks = [await mark(runs)];
      for (const { to, points, isCompacted } of sent) {
        await log(runs[to]!, points);
        if (isCompacted) await compactRun(env, runs[to]!.no);
        marks.push(await mark(runs));
      }
      for (const one of asked) await expectM4(one.format, queryOf(one, runs, marks));
    }),
    { numRuns: 40 },
  );
}, 20_000);

/** A long series, of which nothing is random but what it is told. */
const longSeries = fc.record({
  key: fc.constantFrom("a", "b", "train/a", "train/loss"),
  count: fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 1500, max: 5000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 15_000, max: 20_000 }) },
  ),
  start: fc.constantFrom(0, 0, 0, -700, 0.1, 2 ** 40),
  stride: fc.constantFrom(1, 1, 1, 0.25, 0.1, 1000, 0),
  repeats: fc.integer({ min: 1, max: 3 }),
  values: fc.constantFrom("noise", "levels", "specials"),
  order: fc.constantFrom("forward", "backward", "mixed"),
});
type LongSeries = typeof longSeries extends fc.Arbitrary<infer T> ? T : never;

/** A number from 0 to below 1 that looks random. */
const noise = (i: number) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) / 2 ** 32;

function pointsOf({ key, count, start, stride, repeats, values, order }: LongSeries): Point[] {
  const value = {
    noise: (i: number) => noise(i) - 0.5,
    levels: (i: number) => [0, -0, 1][Math.floor(noise(i) * 3)]!,
    specials: (i: number) => specials[Math.floor(noise(i) * 40)] ?? Math.sin(i / 50),
  }[values];
  const points = Array.from({ length: count }, (_, i) => ({
    key,
    step: start + stride * Math.floor(i / repeats),
    time: 1_795_000_000_000 + Math.floor(noise(i + 7) * 1e6),
    value: value(i),
  }));
  if (order === "backward") return points.toReversed();
  if (order === "mixed") return points.map((_, i) => points[(i * 7919) % count]!);
  return points;
}

test("buckets of long series are exact at every zoom: from the tail, from segments, from segments merged", async () => {
  const stage = fc.record({
    to: fc.nat(1),
    series: fc.array(longSeries, { minLength: 1, maxLength: 2 }),
    isCompacted: fc.constantFrom(true, true, false),
  });
  const stages = fc.array(stage, { minLength: 2, maxLength: 4 });
  const questions = fc.array(question, { minLength: 30, maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(stages, questions, async (sent, asked) => {
      const runs = [await newRun(), await newRun()];
      const marks = [await mark(runs)];
      for (const { to, series, isCompacted } of sent) {
        const points = series.flatMap(pointsOf);
        for (let at = 0; at < points.length; at += 5000) {
          await log(runs[to]!, points.slice(at, at + 5000));
          marks.push(await mark(runs));
        }
        if (isCompacted) await compactRun(env, runs[to]!.no);
      }
      const half = asked.length / 2;
      for (const one of asked.slice(half)) await expectM4(one.format, queryOf(one, runs, marks));
      for (const { id, no } of runs) {
        await ask("POST", `/runs/${id}/finish`, { state: "finished" });
        await compactRun(env, no);
      }
      for (const one of asked.slice(0, half)) await expectM4(one.format, queryOf(one, runs, marks));
    }),
    { numRuns: 6, endOnFailure: true },
  );
}, 60_000);

/** Points of one key at 0, 1, 2 … */
const steady = (from: number, to: number): Point[] =>
  Array.from({ length: to - from }, (_, i) => ({
    key: "loss",
    step: from + i,
    time: 1_795_000_000_000 + from + i,
    value: noise(from + i),
  }));

const countOf = (rows: Row[]) => rows.reduce((n, { numbers }) => n + numbers[2]!, 0);

test("a dense series has at least half the buckets asked for, at every zoom", async () => {
  const run = await newRun();
  await log(run, steady(0, 20_000));
  for (const isCompacted of [false, true]) {
    if (isCompacted) await compactRun(env, run.no);
    for (const buckets of [2, 3, 7, 100, 1000, 1023, 1024, 1025, 5000])
      for (const [from, to] of [
        [0, 19_999],
        [4321, 15_000],
        [9990, 15_989],
      ] as const) {
        const rows = await answered("arrow", { runs: [run], buckets, from, to });
        expect(rows.length).toBeLessThanOrEqual(buckets);
        expect(rows.length).toBeGreaterThanOrEqual(buckets / 2);
        expect(countOf(rows)).toBe(to - from + 1);
      }
  }
});

test("ends as far apart as numbers go make buckets with a start and a width", async () => {
  const run = await newRun();
  await log(run, steady(0, 10));
  const [from, to] = [-Number.MAX_VALUE, Number.MAX_VALUE];
  const rows = await answered("arrow", { runs: [run], buckets: 10, from, to });
  expect(countOf(rows)).toBe(10);
  for (const { numbers } of rows) expect(numbers.slice(0, 2).every(Number.isFinite)).toBe(true);
});

test("a chart of a long series reads less than a tenth of its segment", async () => {
  const run = await newRun();
  await log(run, steady(0, 50_000));
  await log(run, steady(50_000, 99_999)); // one more, and it would be compacted after the answer
  await compactRun(env, run.no);
  const segment = await env.DB.prepare("SELECT object, size FROM segments WHERE run = ?")
    .bind(run.no)
    .first<{ object: string; size: number }>();
  const get = vi.spyOn(env.FILES, "get");
  const rows = await answered("arrow", { runs: [run], buckets: 1000 });
  expect(rows.length).toBeGreaterThanOrEqual(500);
  const lengths = get.mock.calls.map(([object, options]) => {
    expect(object).toBe(segment!.object);
    return (options!.range as { length: number }).length;
  });
  expect(lengths.reduce((a, b) => a + b)).toBeLessThan(segment!.size / 10);
});

test("a tail too long for memory is bucketed part by part, each point once", async () => {
  const run = await newRun();
  // Not by the route, after which it would be compacted.
  for (let seq = 0; seq < 6; seq++) {
    const points = columnsOf(steady(seq * 45_000, (seq + 1) * 45_000));
    await appendPoints(env.DB, run.id, "w", seq, points);
  }
  const rows = await answered("arrow", { runs: [run], buckets: 100 });
  expect(rows.map(({ numbers: [start] }) => start)).toEqual(rows.map((_, i) => i * 4096));
  expect(countOf(rows)).toBe(270_000);
});
