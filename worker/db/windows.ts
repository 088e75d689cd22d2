import type { Points } from "../../wire/point.ts";
import { segmentOf, type Stores } from "./segments.ts";
import { readHoldings, readPoints, type PointRun, type PointSelection } from "./points.ts";

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
