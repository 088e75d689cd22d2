import type { Buckets } from "../../wire/buckets.ts";
import { bucketColumns } from "../../wire/buckets.ts";
import { concatPoints, type Points } from "../../wire/point.ts";
import type { SeriesBuckets } from "../db/buckets.ts";
import type { Part } from "../db/points.ts";
import type { Blocks, Field } from "./blocks.ts";

/** Blocks are of some thousand rows: enough for a row group of Parquet, few enough for memory. */
const blockRows = 32_768;

/** Returns points as a table of run, key, step, time and value. */
export function pointBlocks(runs: string[], keys: string[], parts: AsyncIterable<Part>): Blocks {
  const places = new Map(keys.map((key, at) => [key, at]));
  return {
    fields: [
      { name: "run", type: "dictionary", words: runs },
      { name: "key", type: "dictionary", words: keys },
      { name: "step", type: "float64", decimal: true },
      { name: "time", type: "timestamp" },
      { name: "value", type: "float64", decimal: true },
    ],
    blocks: (async function* () {
      let [waiting, rows]: [Part[], number] = [[], 0];
      for await (const part of parts) {
        waiting.push(part);
        rows += part.rows;
        if (rows < blockRows) continue;
        yield pointBlock(waiting, places);
        [waiting, rows] = [[], 0];
      }
      if (rows) yield pointBlock(waiting, places);
    })(),
  };
}

function pointBlock(parts: Part[], places: Map<string, number>): ArrayLike<unknown>[] {
  const lots = parts.map((part) => part.decode());
  const points = concatPoints(lots);
  const run = new Int32Array(points.step.length);
  let at = 0;
  for (const part of parts) run.fill(part.run, at, (at += part.rows));
  const place = points.keys.map((key) => places.get(key)!);
  return [
    run,
    Int32Array.from(points.key, (k) => place[k]!),
    points.step,
    points.time,
    points.value,
  ];
}

/** Returns buckets as a table, a row each, with the steps a bucket begins at and how wide it is. */
export function bucketBlocks(
  runs: string[],
  keys: string[],
  series: AsyncIterable<SeriesBuckets>,
): Blocks {
  const places = new Map(keys.map((key, at) => [key, at]));
  const own = bucketColumns.filter((name) => name !== "index");
  return {
    fields: [
      { name: "run", type: "dictionary", words: runs },
      { name: "key", type: "dictionary", words: keys },
      { name: "start", type: "float64", decimal: true },
      { name: "width", type: "float64", decimal: true },
      ...own.map((name): Field => ({
        name,
        type: name.endsWith("Time") ? "timestamp" : "float64",
        decimal: !["count", "nan", "infinite", "negativeInfinite"].includes(name),
      })),
    ],
    blocks: (async function* () {
      let [waiting, rows]: [SeriesBuckets[], number] = [[], 0];
      const block = () => [
        spread(waiting, ({ run }) => run),
        spread(waiting, ({ key }) => places.get(key)!),
        joined(waiting, ({ exponent, index }) => index.map((at) => at * 2 ** exponent)),
        joined(waiting, ({ exponent, index }) => index.map(() => 2 ** exponent)),
        ...own.map((name) => joined(waiting, (buckets) => buckets[name])),
      ];
      for await (const one of series) {
        waiting.push(one);
        rows += one.buckets.index.length;
        if (rows < blockRows / 2) continue;
        yield block();
        [waiting, rows] = [[], 0];
      }
      if (rows) yield block();
    })(),
  };
}

function joined(series: SeriesBuckets[], column: (buckets: Buckets) => Float64Array): Float64Array {
  const all = new Float64Array(rowsOf(series));
  let at = 0;
  for (const { buckets } of series) {
    all.set(column(buckets), at);
    at += buckets.index.length;
  }
  return all;
}

function spread(series: SeriesBuckets[], value: (one: SeriesBuckets) => number): Int32Array {
  const all = new Int32Array(rowsOf(series));
  let at = 0;
  for (const one of series) all.fill(value(one), at, (at += one.buckets.index.length));
  return all;
}

const rowsOf = (series: SeriesBuckets[]): number =>
  series.reduce((n, { buckets }) => n + buckets.index.length, 0);

/**
 * Returns the points of one run as a wide table: a row for each step and time, a column for each key, missing where the
 * key has no point there (and `metrics.` before a key that is named as the columns step and time). A key that has several points at one step and time makes as many rows. `windows` are points of
 * ranges of steps, one behind the other.
 */
export function wideBlocks(keys: string[], windows: AsyncIterable<Points[]>): Blocks {
  const places = new Map(keys.map((key, at) => [key, at]));
  const most = Math.max(1, Math.floor(1_000_000 / (keys.length + 2)));
  return {
    fields: [
      { name: "step", type: "float64", decimal: true },
      { name: "time", type: "timestamp" },
      ...keys.map((key): Field => ({
        name: columnName(key, keys),
        type: "float64",
        decimal: true,
      })),
    ],
    blocks: (async function* () {
      for await (const lots of windows) yield* wideRows(concatPoints(lots), places, most);
    })(),
  };
}

/** A metric named as one of the first two columns is called `metrics.step` or `metrics.time`. */
function columnName(key: string, keys: string[]): string {
  let name = key;
  while (name === "step" || name === "time" || (name !== key && keys.includes(name)))
    name = `metrics.${name}`;
  return name;
}

function* wideRows(
  points: Points,
  places: Map<string, number>,
  most: number,
): Generator<ArrayLike<unknown>[]> {
  const { key, step, time, value } = points;
  const place = points.keys.map((name) => places.get(name)!);
  // The points come sorted by key; of one step and time each key's keep their order.
  const order = Uint32Array.from(step.keys()).sort(
    (a, b) => step[a]! - step[b]! || time[a]! - time[b]! || a - b,
  );
  const empty = () => Array.from({ length: places.size + 2 }, (): (number | null)[] => []);
  let columns = empty();
  let rows = 0;
  const count = new Map<number, number>();
  for (let i = 0; i < order.length;) {
    const at = order[i]!;
    let end = i;
    count.clear();
    let height = 0;
    while (end < order.length && step[order[end]!] === step[at] && time[order[end]!] === time[at]) {
      const column = place[key[order[end]!]!]! + 2;
      const row = count.get(column) ?? 0;
      count.set(column, row + 1);
      height = Math.max(height, row + 1);
      const values = columns[column]!;
      while (values.length < rows + row) values.push(null);
      values.push(value[order[end]!]!);
      end++;
    }
    for (let row = 0; row < height; row++) {
      columns[0]!.push(step[at]!);
      columns[1]!.push(time[at]!);
    }
    rows += height;
    i = end;
    if (rows < most && i < order.length) continue;
    for (const values of columns) while (values.length < rows) values.push(null);
    yield columns;
    [columns, rows] = [empty(), 0];
  }
}
