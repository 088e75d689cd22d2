import type { Points } from "../../wire/point.ts";
import type { Stores } from "../env.ts";
import { segmentOf } from "./segments.ts";
import { pointsOf } from "./tail.ts";
import {
  readHoldings,
  readLotsIfNeeded,
  readPoints,
  type PointRun,
  type PointSelection,
} from "./points.ts";

/** About this many points are in memory at once. */
const windowRows = 200_000;

/** Reads the points of a run in ranges of steps, one behind the other, each small enough for memory. */
export async function* readWindows(
  stores: Stores,
  run: PointRun,
  selection: PointSelection,
): AsyncGenerator<Points[]> {
  for (const [from, to] of await planWindows(stores, run, selection)) {
    const window: Points[] = [];
    for await (const part of readPoints(stores, [run], { ...selection, from, to }))
      window.push(part.decode());
    if (window.length) yield window;
  }
}

/** Returns the keys a run had points of when and as far as the selection says, sorted: cursors and keys of it count, steps and times do not. */
export async function keysWithin(
  { DB, FILES }: Stores,
  run: PointRun,
  selection: PointSelection,
): Promise<string[]> {
  const keys = new Set<string>();
  for await (const { range, segments, tail } of readHoldings(DB, [run], selection)) {
    for (const row of tail) for (const key of pointsOf(row).keys) keys.add(key);
    for (const row of segments) {
      const segment = segmentOf(row, new Map());
      const lots = await readLotsIfNeeded(FILES, row, segment, range, segment.groups);
      for (const group of segment.groups) {
        let at = 0;
        for (const { key, rows } of group.spans) {
          const own = lots?.get(group)?.subarray(at, (at += rows));
          if (!own || own.some((lot) => lot > range.after && lot <= range.upTo))
            keys.add(segment.keys[key]!);
        }
      }
    }
  }
  return [...keys].filter(selection.key ?? (() => true)).sort();
}

/** Returns ranges of steps, both ends included, in which about as many points lie each, taken that a series is even. */
async function planWindows(
  { DB }: Stores,
  run: PointRun,
  selection: PointSelection,
): Promise<[from: number, to: number][]> {
  const { from = -Infinity, to = Infinity } = selection;
  if (run.points <= windowRows) return [[from, to]];
  const ends: { step: number; rows: number }[] = [];
  for await (const { segments } of readHoldings(DB, [run], selection))
    for (const row of segments)
      for (const { spans } of segmentOf(row, new Map()).groups)
        for (const { rows, first, last } of spans)
          for (let i = 1; i <= pieces; i++)
            ends.push({ step: first + ((last - first) * i) / pieces, rows: rows / pieces });
  ends.sort((a, b) => a.step - b.step);
  const windows: [number, number][] = [];
  let [begin, rows] = [from, 0];
  for (const { step, rows: more } of ends) {
    rows += more;
    if (rows < windowRows || step <= begin || step >= to) continue;
    windows.push([begin, step]);
    [begin, rows] = [after(step), 0];
  }
  return [...windows, [begin, to]];
}

/** A span is taken to have its points in so many equal parts. */
const pieces = 16;

/** Returns the next larger number. */
function after(step: number): number {
  if (step === 0) return Number.MIN_VALUE;
  const bits = new BigInt64Array(Float64Array.of(step).buffer);
  bits[0]! += step > 0 ? 1n : -1n;
  return new Float64Array(bits.buffer)[0]!;
}
