import { lowerBound } from "./sorted.ts";

/** Returns the rank of each number, from 1; equal ones share the mean of theirs. ±Infinity rank as they are, NaN may not occur. */
export function ranksOf(values: Float64Array): Float64Array {
  const sorted = values.slice().sort();
  const rankAt = new Float64Array(sorted.length); // by the place of the first of equal values
  for (let from = 0, to = 0; from < sorted.length; from = to) {
    while (to < sorted.length && sorted[to] === sorted[from]) to++;
    rankAt[from] = (from + 1 + to) / 2;
  }
  return values.map((value) => rankAt[lowerBound(sorted, value)]!);
}

/**
 * Returns Spearman's ρ of values given by their ranks: Pearson's correlation of these. NaN where there are fewer than two
 * values, or either side has but one. Kendall and Gibbons, Rank Correlation Methods (1990), ch. 3.
 */
export function rankCorrelation(x: Float64Array, y: Float64Array): number {
  const mean = (x.length + 1) / 2;
  let [xx, xy, yy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const [dx, dy] = [x[i]! - mean, y[i]! - mean];
    xx += dx * dx;
    xy += dx * dy;
    yy += dy * dy;
  }
  return Math.max(-1, Math.min(1, xy / Math.sqrt(xx * yy)));
}

/**
 * Returns how far groups tell ranks apart, from 0 to 1: the correlation ratio η of the ranks over the groups, cut down by
 * what chance alone would give k groups of n values (Kelley's ε): ε² = 1 − (1 − η²)(n − 1)/(n − k), and 0 where
 * that is negative. Kelley, "An unbiased correlation ratio measure", PNAS 21 (1935). NaN where there are fewer than two
 * groups, as many groups as values, or equal values alone.
 */
export function rankCorrelationRatio(groups: Uint32Array, ranks: Float64Array): number {
  const n = ranks.length;
  const mean = (n + 1) / 2;
  const sums = new Map<number, { count: number; sum: number }>();
  let total = 0;
  for (let i = 0; i < n; i++) {
    const from = ranks[i]! - mean;
    total += from * from;
    const group = sums.get(groups[i]!);
    if (group) {
      group.count++;
      group.sum += from;
    } else sums.set(groups[i]!, { count: 1, sum: from });
  }
  const k = sums.size;
  if (k < 2 || k === n || total === 0) return NaN;
  let between = 0;
  for (const { count, sum } of sums.values()) between += (sum * sum) / count;
  const square = 1 - ((1 - between / total) * (n - 1)) / (n - k);
  return Math.sqrt(Math.max(0, square));
}
