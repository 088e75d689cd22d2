import type { Table } from "apache-arrow";
import { ApiError, shown } from "../../wire/error.ts";
import { bestRow, checkDirection, namesOf, type Direction } from "./best.ts";
import { codesOf, compareValues, numbersOf, type Codes, type Value } from "./column.ts";
import { bootstrapInterval, criticalValues, type BootstrapOptions } from "./interval.ts";
import { momentsOf, tallyOf } from "./moments.ts";

/** How runs are grouped, and what is asked of the groups. */
export interface GroupOptions<By extends string = string> {
  /** one to three columns: runs with equal values in all of them are a group */
  by: readonly By[];
  /** the column of numbers that statistics are made of, such as `metrics.val/acc.max` */
  of: string;
  /** whether small or great values are good */
  direction: Direction;
  /** how the interval of the mean is found, see tInterval and bootstrapInterval; defaults to t */
  interval?: "t" | "bootstrap";
  /** how often the interval should hold the mean; defaults to 0.95 */
  level?: number;
  bootstrap?: Pick<BootstrapOptions, "method" | "resamples" | "seed">;
}

/** What is known of a group of runs. All but the first five are of the finite values, and NaN where these are too few. */
export interface GroupStatistics {
  /** how many runs it has */
  runs: number;
  /** how many of them have a finite value, and how many no value, NaN, or an infinite one */
  n: number;
  missing: number;
  nan: number;
  infinite: number;
  mean: number;
  /** the standard deviation with n − 1, and the standard error of the mean, sd / √n */
  sd: number;
  se: number;
  /** the interval of the mean */
  low: number;
  high: number;
  min: number;
  max: number;
  /** the best value, and the run that reached it; of equals the one with the least id, which is the oldest */
  best: number;
  bestId: string | null;
  bestName: string | null;
  /** where its runs are in the table, in ascending order */
  rows: Uint32Array;
}

/** A group of runs: the values they share, by column, beside its statistics. */
export type Group<By extends string = string> = GroupStatistics & { [column in By]: Value };

/**
 * Returns a group for each combination of values that occurs, as plain objects that tables, Plot and `aq.from` take.
 * Runs that lack a value form a group of their own (null), and so does NaN. Groups come in the order of their values:
 * numbers, NaN, false, true, text, and last the missing one; it does not depend on the order of the runs.
 */
export function groupRuns<const By extends string>(
  runs: Table,
  { by, of, direction, interval = "t", level = 0.95, bootstrap = {} }: GroupOptions<By>,
): Group<By>[] {
  checkBy(by);
  checkDirection(direction);
  if (interval !== "t" && interval !== "bootstrap")
    throw new ApiError("INVALID_PARAMETER_VALUE", `invalid interval: ${shown(interval)}`);
  const numbers = numbersOf(runs, of);
  const columns = by.map((name) => inOrder(codesOf(runs, name)));
  const critical = criticalValues(level);
  return partition(columns, runs.numRows).map((rows): Group<By> => {
    const tally = tallyOf(numbers, rows);
    const { finite, missing, nan, infinite } = tally;
    const { n, mean, sd } = momentsOf(finite);
    const se = sd / Math.sqrt(n);
    const reach = critical(n) * se;
    const { low, high } =
      interval === "bootstrap"
        ? bootstrapInterval(finite, { ...bootstrap, level })
        : { low: mean - reach, high: mean + reach };
    const row = bestRow(runs, tally, direction);
    const { id: bestId, name: bestName } = namesOf(runs, row);
    const [min, max] = rangeOf(finite);
    const best = direction === "max" ? max : min;
    const values = Object.fromEntries(
      by.map((name, c) => [name, columns[c]!.values[columns[c]!.codes[rows[0]!]!]!]),
    );
    const counts = { runs: rows.length, n, missing, nan, infinite };
    const statistics = { mean, sd, se, low, high, min, max, best, bestId, bestName, rows };
    return { ...(values as { [column in By]: Value }), ...counts, ...statistics };
  });
}

const taken = new Set(
  "runs n missing nan infinite mean sd se low high min max best bestId bestName rows".split(" "),
);

function checkBy(by: readonly string[]): void {
  if (by.length < 1 || by.length > 3)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `invalid by: ${shown(by)} (one to three columns are possible)`,
    );
  const name = by.find((name, i) => taken.has(name) || by.indexOf(name) < i);
  if (name !== undefined)
    throw new ApiError("INVALID_PARAMETER_VALUE", `invalid by: ${shown(name)} would occur twice`);
}

function rangeOf(values: Float64Array): [min: number, max: number] {
  let [min, max] = [values[0] ?? NaN, values[0] ?? NaN];
  for (let i = 1; i < values.length; i++) {
    if (values[i]! < min) min = values[i]!;
    if (values[i]! > max) max = values[i]!;
  }
  return [min, max];
}

/** Returns the same column with its codes in the order of their values. */
function inOrder({ codes, values }: Codes): Codes {
  const order = values.map((_, code) => code).sort((a, b) => compareValues(values[a]!, values[b]!));
  const rank = new Uint32Array(values.length);
  for (let i = 0; i < order.length; i++) rank[order[i]!] = i;
  return { codes: codes.map((code) => rank[code]!), values: order.map((code) => values[code]!) };
}

/** Returns the rows of each combination of codes that occurs, combinations in order. */
function partition(columns: Codes[], length: number): Uint32Array[] {
  let {
    codes,
    values: { length: count },
  } = columns[0]!;
  for (const column of columns.slice(1)) ({ codes, count } = combined(codes, count, column));
  const ends = new Uint32Array(count + 1);
  for (let row = 0; row < length; row++) ends[codes[row]! + 1]!++;
  for (let code = 0; code < count; code++) ends[code + 1]! += ends[code]!;
  const next = ends.slice();
  const rows = new Uint32Array(length);
  for (let row = 0; row < length; row++) rows[next[codes[row]!]!++] = row;
  return Array.from({ length: count }, (_, code) => rows.subarray(ends[code], ends[code + 1]));
}

/** Returns codes for pairs of codes: as small as can be, in the order of the first, then of the second. */
function combined(
  first: Uint32Array,
  firstCount: number,
  { codes: second, values }: Codes,
): { codes: Uint32Array; count: number } {
  const pairs = firstCount * values.length;
  const codes = new Uint32Array(first.length);
  if (pairs <= 1 << 22) {
    const places = new Uint32Array(pairs);
    for (let i = 0; i < codes.length; i++) places[first[i]! * values.length + second[i]!] = 1;
    let count = 0;
    for (let pair = 0; pair < pairs; pair++) places[pair] = places[pair] ? count++ : 0;
    for (let i = 0; i < codes.length; i++)
      codes[i] = places[first[i]! * values.length + second[i]!]!;
    return { codes, count };
  }
  const keys = new Float64Array(first.length);
  for (let i = 0; i < keys.length; i++) keys[i] = first[i]! * values.length + second[i]!;
  const places = new Map<number, number>();
  for (const key of keys.slice().sort()) if (!places.has(key)) places.set(key, places.size);
  for (let i = 0; i < keys.length; i++) codes[i] = places.get(keys[i]!)!;
  return { codes, count: places.size };
}
