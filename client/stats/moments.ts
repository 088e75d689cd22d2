/** How numbers lie: their count, mean, and sample standard deviation (n − 1). */
export interface Moments {
  n: number;
  /** NaN of no numbers */
  mean: number;
  /** NaN of fewer than two numbers */
  sd: number;
}

/**
 * Returns the mean and standard deviation of finite numbers in two passes, each corrected for what rounding took: Chan,
 * Golub and LeVeque, "Algorithms for computing the sample variance", The American Statistician 37 (1983).
 */
export function momentsOf(values: Float64Array): Moments {
  const n = values.length;
  if (n === 0) return { n, mean: NaN, sd: NaN };
  let least = values[0]!;
  let greatest = least;
  for (let i = 1; i < n; i++) {
    const value = values[i]!;
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  if (least === greatest) return { n, mean: least, sd: n > 1 ? 0 : NaN };
  const scale = scaleOf(Math.max(Math.abs(least), Math.abs(greatest)));
  let sum = 0;
  for (let i = 0; i < n; i++) sum += values[i]! / scale;
  let mean = sum / n;
  let squares = 0;
  let rest = 0;
  for (let i = 0; i < n; i++) {
    const from = values[i]! / scale - mean;
    squares += from * from;
    rest += from;
  }
  mean += rest / n;
  const variance = Math.max(0, squares - (rest * rest) / n) / (n - 1);
  return { n, mean: mean * scale, sd: Math.sqrt(variance) * scale };
}

/** A power of two to divide by, where squares or sums would leave the range of a double; 1 elsewhere. */
const scaleOf = (greatest: number): number =>
  greatest > 1e140 || greatest < 1e-140
    ? 2 ** Math.max(-1022, Math.min(1023, Math.floor(Math.log2(greatest))))
    : 1;

/** How many of some values are finite numbers, and what the others are. */
export interface Tally {
  /** the finite ones, in the order of the rows */
  finite: Float64Array;
  /** the row each of them stands in */
  at: Uint32Array;
  missing: number;
  nan: number;
  /** ∞ and −∞ */
  infinite: number;
}

/** Returns what the values of some rows are. */
export function tallyOf(
  { values, missing }: { values: Float64Array; missing: Uint8Array },
  rows: Uint32Array,
): Tally {
  const finite = new Float64Array(rows.length);
  const at = new Uint32Array(rows.length);
  let n = 0;
  let missingCount = 0;
  let nan = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    const value = values[row]!;
    if (missing[row]) missingCount++;
    else if (value - value === 0) {
      finite[n] = value + 0; // −0 + 0 is 0
      at[n++] = row;
    } else if (Number.isNaN(value)) nan++;
  }
  return {
    finite: finite.subarray(0, n),
    at: at.subarray(0, n),
    missing: missingCount,
    nan,
    infinite: rows.length - n - missingCount - nan,
  };
}
