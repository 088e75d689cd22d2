import { ApiError, shown } from "./error.ts";
import { maybeNumber } from "./json.ts";
import { isName } from "./parse.ts";
import { maxTime } from "./time.ts";

/** Points, each the value of a metric at a step and a time, as columns: what is logged, sent, stored and answered is always this shape. */
export interface Points {
  /** the metric keys that occur, each once */
  keys: string[];
  /** which of `keys`, for each point */
  key: Uint32Array;
  step: Float64Array;
  /** ms since 1970; NaN where the sender left it to the server */
  time: Float64Array;
  value: Float64Array;
}

/** How many points one request may carry. */
const maxPoints = 50_000;

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** Returns columns for `length` points of the given keys, to be filled. */
export const emptyPoints = (keys: string[], length: number): Points => ({
  keys,
  key: new Uint32Array(length),
  step: new Float64Array(length),
  time: new Float64Array(length),
  value: new Float64Array(length),
});

/**
 * Returns the points that a JSON array of `{key, step, time?, value}` describes. Values may be the strings "NaN",
 * "Infinity" and "-Infinity". Throws an ApiError that names the first wrong field, its place and its value.
 */
export function pointsFromJSON(body: unknown): Points {
  if (!Array.isArray(body)) throw invalid(`invalid points: ${shown(body)} (expected an array)`);
  const index = new Map<string, number>();
  const points = emptyPoints([], checkCount(body.length));
  for (let i = 0; i < body.length; i++) {
    const point = body[i] as Record<string, unknown>;
    if (typeof point !== "object" || point === null || Array.isArray(point))
      throw invalid(`invalid point at ${i}: ${shown(point)}`);
    for (const name in point)
      if (name !== "key" && name !== "step" && name !== "value" && name !== "time")
        throw invalid(`unknown field at ${i}: ${shown(name)}`);
    const { key, step, value, time } = point;
    if (typeof key !== "string")
      throw invalid(
        key === undefined ? `missing key at ${i}` : `invalid key at ${i}: ${shown(key)}`,
      );
    let k = index.get(key);
    if (k === undefined) {
      index.set(key, (k = points.keys.length));
      points.keys.push(key);
    }
    points.key[i] = k;
    points.step[i] = typeof step === "number" ? step : wrong("step", i, step);
    points.value[i] = maybeNumber(value) ?? wrong("value", i, value);
    points.time[i] =
      time === undefined || time === null
        ? NaN
        : typeof time === "number"
          ? time
          : wrong("time", i, time);
    if (time !== undefined && time !== null && Number.isNaN(points.time[i]!))
      wrong("time", i, time);
  }
  return checkPoints(points);
}

function wrong(name: string, i: number, value: unknown): never {
  throw invalid(
    value === undefined ? `missing ${name} at ${i}` : `invalid ${name} at ${i}: ${shown(value)}`,
  );
}

/** Throws an ApiError unless one request may carry so many points; returns the count. */
export function checkCount(count: number): number {
  if (count > maxPoints)
    throw new ApiError(
      "REQUEST_TOO_LARGE",
      `too many points: ${count}, limit ${maxPoints} a request`,
    );
  return count;
}

/** Returns the points, −0 no longer a step, unless a key is not a name or a step or time is out of range. */
export function checkPoints(points: Points): Points {
  for (const key of points.keys)
    if (!isName(key))
      throw invalid(`invalid key: ${shown(key)} (expected 1 to 250 characters of plain text)`);
  const { step, time } = points;
  for (let i = 0; i < step.length; i++) {
    // Beyond 2^53 neighbouring steps are no longer distinct numbers. NaN fails the comparison, too.
    if (!(Math.abs(step[i]!) <= Number.MAX_SAFE_INTEGER))
      throw invalid(`invalid step at ${i}: ${step[i]}`);
    step[i]! += 0;
    if (time[i]! < 0 || time[i]! > maxTime)
      throw invalid(`invalid time at ${i}: ${time[i]} (expected milliseconds since 1970)`);
  }
  return points;
}

/** Returns the points with the times that were left open filled in, whole milliseconds throughout. */
export function fillTimes(points: Points, now: number): Points {
  return { ...points, time: points.time.map((t) => (Number.isNaN(t) ? now : Math.floor(t))) };
}

/** Returns the points at the given places, keys as they are. */
export function takePoints({ keys, key, step, time, value }: Points, places: Uint32Array): Points {
  const taken = emptyPoints(keys, places.length);
  for (let i = 0; i < places.length; i++) {
    const at = places[i]!;
    taken.key[i] = key[at]!;
    taken.step[i] = step[at]!;
    taken.time[i] = time[at]!;
    taken.value[i] = value[at]!;
  }
  return taken;
}

/** Returns several lots of points as one, in their order. */
export function concatPoints(lots: Points[]): Points {
  const index = new Map<string, number>();
  const all = emptyPoints(
    [],
    lots.reduce((n, lot) => n + lot.step.length, 0),
  );
  let at = 0;
  for (const lot of lots) {
    const renamed = Uint32Array.from(lot.keys, (key) => {
      if (!index.has(key)) index.set(key, all.keys.push(key) - 1);
      return index.get(key)!;
    });
    for (let i = 0; i < lot.key.length; i++) all.key[at + i] = renamed[lot.key[i]!]!;
    all.step.set(lot.step, at);
    all.time.set(lot.time, at);
    all.value.set(lot.value, at);
    at += lot.step.length;
  }
  return all;
}

/**
 * The order of two points of one key: by step, then time, then value, −0 before 0 and NaN last. It is total, so sorted
 * points do not tell in which order, or in which lots, they came.
 */
export function comparePoints(
  a: Omit<Points, "keys" | "key">,
  i: number,
  b: Omit<Points, "keys" | "key">,
  j: number,
): number {
  return (
    a.step[i]! - b.step[j]! || a.time[i]! - b.time[j]! || compareValues(a.value[i]!, b.value[j]!)
  );
}

function compareValues(a: number, b: number): number {
  if (a < b) return -1;
  if (a > b) return 1;
  if (a === b) return a === 0 ? Number(Object.is(b, -0)) - Number(Object.is(a, -0)) : 0;
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
}

/** Returns the places of points in sorted order: by key, and within a key as comparePoints has it. */
export function sortedPlaces(points: Points): Uint32Array {
  const { keys, key } = points;
  const names = keys.map((_, k) => k).sort((a, b) => (keys[a]! < keys[b]! ? -1 : 1));
  const next = new Uint32Array(keys.length + 1);
  for (let i = 0; i < key.length; i++) next[key[i]!]!++;
  let start = 0;
  const ends = names.map((k) => {
    const count = next[k]!;
    next[k] = start;
    return (start += count);
  });
  const places = new Uint32Array(key.length);
  for (let i = 0; i < key.length; i++) places[next[key[i]!]!++] = i;
  // What is logged step after step is in order already; only what is not needs sorting.
  ends.forEach((end, n) => {
    const begin = n ? ends[n - 1]! : 0;
    for (let i = begin + 1; i < end; i++)
      if (comparePoints(points, places[i - 1]!, points, places[i]!) > 0) {
        places.subarray(begin, end).sort((a, b) => comparePoints(points, a, points, b) || a - b);
        return;
      }
  });
  return places;
}

/** Returns the points sorted by key, step, time and value. */
export const sortPoints = (points: Points): Points => takePoints(points, sortedPlaces(points));
