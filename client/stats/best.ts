import type { Table } from "apache-arrow";
import { ApiError, shown } from "../../wire/error.ts";
import { numbersOf } from "./column.ts";
import { percentileOf } from "./sorted.ts";
import { tallyOf, type Tally } from "./moments.ts";

/** Whether small or great values are good. */
export type Direction = "min" | "max";

/** The best run, and what it was chosen from: the words to print beside any maximum over runs. */
export interface BestOf {
  /** the run with the best finite value: its id, name (null where the table has no such column), and row; of equals the
   * one with the least id, which is the oldest; null and −1 where no run has a finite value */
  id: string | null;
  name: string | null;
  row: number;
  value: number;
  /** how many runs it was chosen from: all rows of the table */
  runs: number;
  /** how many of them have a finite value, and how many no value, NaN, or an infinite one, which are never best */
  n: number;
  missing: number;
  nan: number;
  infinite: number;
  /** how many further runs have the same value */
  ties: number;
  /** the value of the next best run (the same at a tie), and of the middle one; NaN where there is none */
  second: number;
  median: number;
  /** what to expect of the best of fewer runs: 1, 2, 3, 5, 10, 20, 30, 50, … and n */
  expected: { runs: number; value: number }[];
}

/**
 * Returns the best run by a column, and how much choosing there was. A maximum over many runs says little without their
 * number: with more runs it rises, though nothing got better. So `expected` says for k runs the best one's mean over all
 * ways to choose k of the n runs with a value. Dodge et al., "Show Your Work", EMNLP 2019, propose the measure; this is
 * its unbiased form, without replacement, Tang et al., "Showing Your Work Doesn't Always Work", ACL 2020. It is
 * exact for these runs and supposes no distribution; runs without a finite value are not in it, so where some failed,
 * it flatters.
 */
export function bestOf(
  runs: Table,
  { of, direction }: { of: string; direction: Direction },
): BestOf {
  checkDirection(direction);
  const tally = tallyOf(
    numbersOf(runs, of),
    Uint32Array.from({ length: runs.numRows }, (_, i) => i),
  );
  const { finite, missing, nan, infinite } = tally;
  const row = bestRow(runs, tally, direction);
  const sorted = finite.slice().sort();
  if (direction === "min") sorted.reverse();
  const n = sorted.length;
  const value = sorted[n - 1] ?? NaN;
  let ties = 0;
  while (ties < n - 1 && sorted[n - 2 - ties] === value) ties++;
  return {
    ...namesOf(runs, row),
    row,
    value,
    runs: runs.numRows,
    n,
    missing,
    nan,
    infinite,
    ties,
    second: sorted[n - 2] ?? NaN,
    median: n ? percentileOf(sorted, 0.5) : NaN,
    expected: sizes(n).map((k) => ({ runs: k, value: expectedBest(sorted, k) })),
  };
}

export function checkDirection(direction: Direction): void {
  if (direction !== "min" && direction !== "max")
    throw new ApiError("INVALID_PARAMETER_VALUE", `invalid direction: ${shown(direction)}`);
}

/** Returns the row of the best finite value, −1 if there is none; of equals the one with the least id. */
export function bestRow(runs: Table, { finite, at }: Tally, direction: Direction): number {
  const ids = runs.getChild("id");
  const sign = direction === "max" ? 1 : -1;
  let best = 0;
  for (let i = 1; i < finite.length; i++) {
    const ahead = (finite[i]! - finite[best]!) * sign;
    if (ahead > 0 || (ahead === 0 && ids && ids.get(at[i]!) < ids.get(at[best]!))) best = i;
  }
  return at[best] ?? -1;
}

/** Returns the id and name of the run in a row. */
export function namesOf(runs: Table, row: number): { id: string | null; name: string | null } {
  const textOf = (column: string) =>
    row < 0 ? null : ((runs.getChild(column)?.get(row) as string | null | undefined) ?? null);
  return { id: textOf("id"), name: textOf("name") };
}

/** 1, 2, 3, 5, 10, 20, 30, 50, … below n, and n. */
function sizes(n: number): number[] {
  const below: number[] = [];
  for (let ten = 1; ten < n; ten *= 10)
    below.push(...[1, 2, 3, 5].map((one) => one * ten).filter((k) => k < n));
  return n ? [...below, n] : below;
}

/**
 * The mean, over all sets of k of values sorted from worst to best, of the best: Σ C(i−1, k−1) / C(n, k) · vᵢ. The
 * weights are reckoned from the best down, each from the one before.
 */
function expectedBest(sorted: Float64Array, k: number): number {
  let weight = k / sorted.length;
  let sum = 0;
  for (let i = sorted.length; i >= k && weight > 0; i--) {
    sum += weight * sorted[i - 1]!;
    weight *= (i - k) / (i - 1);
  }
  return sum;
}
