import { comparePoints, type Points } from "./point.ts";

/**
 * What stands behind a stretch of a series, as columns, a row for each bucket that holds a point: its first, last,
 * least and greatest value (M4, Jugel et al., VLDB 2014: a line drawn through these four is the line through all points,
 * to the pixel, where a bucket is a pixel wide) and its counts. Bucket b of exponent e holds the steps from b·2^e to
 * below (b+1)·2^e, so that buckets of any parts of a series merge, and merge into wider ones, without a rest.
 */
export interface Buckets {
  exponent: number;
  /** which bucket: its first step is index·2^exponent */
  index: Float64Array;
  count: Float64Array;
  nan: Float64Array;
  /** how many values are Infinity, and -Infinity */
  infinite: Float64Array;
  negativeInfinite: Float64Array;
  /** of the points in their order (comparePoints), the first and the last */
  firstStep: Float64Array;
  firstTime: Float64Array;
  first: Float64Array;
  lastStep: Float64Array;
  lastTime: Float64Array;
  last: Float64Array;
  /** the least and greatest of the finite values, each with the first step it is reached at; NaN where there is none */
  minStep: Float64Array;
  min: Float64Array;
  maxStep: Float64Array;
  max: Float64Array;
}

/** The columns of buckets, in the order they are stored and answered. */
export const bucketColumns = [
  "index",
  "count",
  "nan",
  "infinite",
  "negativeInfinite",
  "firstStep",
  "firstTime",
  "first",
  "lastStep",
  "lastTime",
  "last",
  "minStep",
  "min",
  "maxStep",
  "max",
] as const satisfies (keyof Buckets)[];

/** Returns `length` buckets, to be filled. */
export function emptyBuckets(exponent: number, length: number): Buckets {
  const columns = bucketColumns.map((name) => [name, new Float64Array(length)]);
  return { exponent, ...Object.fromEntries(columns) } as Buckets;
}

/** Returns the bucket of an exponent that a step lies in. */
export function bucketOf(step: number, exponent: number): number {
  const index = Math.floor(step * 2 ** -exponent);
  return index === 0 && step < 0 ? -1 : index + 0; // the product was too small for a number; there is no bucket −0
}

/** Returns the exponent of the narrowest buckets of which at most `most`, 2 or more, lie between two steps, ends included. */
export function exponentFor(from: number, to: number, most: number): number {
  if (from === to) return 0;
  const magnitude = Math.log2(Math.max(Math.abs(from), Math.abs(to)));
  // No narrower than neighbouring numbers lie apart, or a bucket's index would no longer be a whole number.
  let exponent = Math.max(
    Math.floor(Math.log2((to - from) / most)),
    Math.ceil(magnitude) - 52,
    -1021,
  );
  while (bucketOf(to, exponent) - bucketOf(from, exponent) + 1 > most) exponent++;
  return exponent;
}

/** Returns the buckets of sorted points of one key, those at places `begin` to `end`. */
export function bucketsFromPoints(
  points: Omit<Points, "keys" | "key">,
  exponent: number,
  begin = 0,
  end = points.step.length,
): Buckets {
  if (begin === end) return emptyBuckets(exponent, 0);
  const [low, high] = [begin, end - 1].map((i) => bucketOf(points.step[i]!, exponent)) as [
    number,
    number,
  ];
  const buckets = emptyBuckets(exponent, Math.min(end - begin, high - low + 1));
  let n = -1;
  for (let i = begin; i < end; i++) {
    const [step, time, value] = [points.step[i]!, points.time[i]!, points.value[i]!];
    const index = bucketOf(step, exponent);
    if (n < 0 || buckets.index[n] !== index) open(buckets, ++n, index, step, time, value);
    buckets.count[n]!++;
    buckets.lastStep[n] = step;
    buckets.lastTime[n] = time;
    buckets.last[n] = value;
    if (Number.isFinite(value)) {
      if (isLess(value, step, buckets.min[n]!, buckets.minStep[n]!)) {
        buckets.min[n] = value;
        buckets.minStep[n] = step;
      }
      if (isLess(-value, step, -buckets.max[n]!, buckets.maxStep[n]!)) {
        buckets.max[n] = value;
        buckets.maxStep[n] = step;
      }
    } else if (Number.isNaN(value)) buckets.nan[n]!++;
    else if (value > 0) buckets.infinite[n]!++;
    else buckets.negativeInfinite[n]!++;
  }
  return cut(buckets, n + 1);
}

function open(
  buckets: Buckets,
  n: number,
  index: number,
  step: number,
  time: number,
  value: number,
): void {
  buckets.index[n] = index;
  buckets.firstStep[n] = step;
  buckets.firstTime[n] = time;
  buckets.first[n] = value;
  for (const name of ["min", "minStep", "max", "maxStep"] as const) buckets[name][n] = NaN;
}

/** Whether a value is a better least than the one before: less, or as small at an earlier step; −0 is less than 0. */
const isLess = (value: number, step: number, before: number, beforeStep: number): boolean =>
  Number.isNaN(before) ||
  value < before ||
  (value === before &&
    (step < beforeStep || (step === beforeStep && Object.is(value, -0) && !Object.is(before, -0))));

/** Returns buckets of parts of one series as the buckets of the whole, in the width of the given exponent. */
export function mergeBuckets(parts: Buckets[], exponent: number): Buckets {
  if (parts.length === 1 && parts[0]!.exponent === exponent) return parts[0]!;
  const total = parts.reduce((sum, { index }) => sum + index.length, 0);
  const order: [part: Buckets, at: number, index: number][] = [];
  for (const part of parts)
    for (let i = 0; i < part.index.length; i++)
      order.push([part, i, bucketOf(part.index[i]!, exponent - part.exponent)]);
  order.sort((a, b) => a[2] - b[2]);
  const merged = emptyBuckets(exponent, total);
  let n = -1;
  for (const [part, i, index] of order) {
    if (n < 0 || merged.index[n] !== index) {
      n++;
      for (const name of bucketColumns) merged[name][n] = part[name][i]!;
      merged.index[n] = index;
    } else mergeInto(merged, n, part, i);
  }
  return cut(merged, n + 1);
}

function mergeInto(to: Buckets, n: number, from: Buckets, i: number): void {
  for (const name of ["count", "nan", "infinite", "negativeInfinite"] as const)
    to[name][n]! += from[name][i]!;
  if (isBefore(from, i, to, n, "first"))
    for (const name of ["firstStep", "firstTime", "first"] as const) to[name][n] = from[name][i]!;
  if (isBefore(to, n, from, i, "last"))
    for (const name of ["lastStep", "lastTime", "last"] as const) to[name][n] = from[name][i]!;
  if (
    !Number.isNaN(from.min[i]!) &&
    isLess(from.min[i]!, from.minStep[i]!, to.min[n]!, to.minStep[n]!)
  ) {
    to.min[n] = from.min[i]!;
    to.minStep[n] = from.minStep[i]!;
  }
  if (
    !Number.isNaN(from.max[i]!) &&
    isLess(-from.max[i]!, from.maxStep[i]!, -to.max[n]!, to.maxStep[n]!)
  ) {
    to.max[n] = from.max[i]!;
    to.maxStep[n] = from.maxStep[i]!;
  }
}

/** Whether the first (or last) point of one bucket comes before that of another. */
function isBefore(a: Buckets, i: number, b: Buckets, j: number, which: "first" | "last"): boolean {
  return comparePoints(ends[which](a), i, ends[which](b), j) < 0;
}

const ends = {
  first: (of: Buckets) => ({ step: of.firstStep, time: of.firstTime, value: of.first }),
  last: (of: Buckets) => ({ step: of.lastStep, time: of.lastTime, value: of.last }),
};

/** Returns the buckets whose index a condition holds of. */
export function takeBuckets(buckets: Buckets, isWanted: (index: number) => boolean): Buckets {
  const places = Array.from(buckets.index.keys()).filter((i) => isWanted(buckets.index[i]!));
  if (places.length === buckets.index.length) return buckets;
  const columns = bucketColumns.map((name) => [
    name,
    Float64Array.from(places, (i) => buckets[name][i]!),
  ]);
  return { exponent: buckets.exponent, ...Object.fromEntries(columns) } as Buckets;
}

function cut(buckets: Buckets, length: number): Buckets {
  if (buckets.index.length === length) return buckets;
  const columns = bucketColumns.map((name) => [name, buckets[name].slice(0, length)]);
  return { exponent: buckets.exponent, ...Object.fromEntries(columns) } as Buckets;
}
