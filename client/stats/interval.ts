import { ApiError, shown } from "../../wire/error.ts";
import { seededRandom } from "../random.ts";
import { momentsOf } from "./moments.ts";
import { normalProbability, normalQuantile } from "./normal.ts";
import { lowerBound, percentileOf } from "./sorted.ts";
import { studentQuantile } from "./student.ts";

/** The bounds of an interval; NaN where the values are too few to tell. */
export interface Interval {
  low: number;
  high: number;
}

/** How an interval is found by drawing anew from the values. */
export interface BootstrapOptions {
  /** how often the interval should hold what it is for; defaults to 0.95 */
  level?: number;
  /** "bca" corrects for bias and skew, "percentile" does not; defaults to bca */
  method?: "bca" | "percentile";
  /** how many samples are drawn; defaults to 9,999 */
  resamples?: number;
  /** the same seed gives the same interval; defaults to 1 */
  seed?: number;
  /** what is estimated from a sample; defaults to its mean */
  statistic?: (sample: Float64Array) => number;
}

/**
 * Returns the interval for the mean of the distribution that values were drawn from: mean ± q · sd / √n, with q of
 * Student's distribution below 30 values and of the normal one from 30 on. Values that are not finite are left out;
 * fewer than two give NaN.
 */
export function tInterval(values: ArrayLike<number>, { level = 0.95 } = {}): Interval {
  const { n, mean, sd } = momentsOf(finiteOf(values));
  const reach = criticalValues(level)(n) * (sd / Math.sqrt(n));
  return { low: mean - reach, high: mean + reach };
}

/** Returns what to multiply the standard error of n values by. */
export function criticalValues(level: number): (n: number) => number {
  const p = (1 + checkedLevel(level)) / 2;
  const normal = normalQuantile(p);
  const student: number[] = [];
  return (n) => {
    if (n >= 30) return normal;
    return n < 2 ? NaN : (student[n] ??= studentQuantile(p, n - 1));
  };
}

/**
 * Returns the bootstrap interval of a statistic of values: BCa or percentile. Efron, "Better bootstrap confidence
 * intervals", JASA 82 (1987); Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13 and 14. It does not
 * depend on the values' order. Values that are not finite are left out; fewer than two give NaN.
 */
export function bootstrapInterval(
  values: ArrayLike<number>,
  {
    level = 0.95,
    method = "bca",
    resamples = 9_999,
    seed = 1,
    statistic = meanOf,
  }: BootstrapOptions = {},
): Interval {
  const tail = (1 - checkedLevel(level)) / 2;
  if (!(Number.isInteger(resamples) && resamples > 0 && resamples <= 1e6))
    throw new ApiError("INVALID_PARAMETER_VALUE", `invalid resamples: ${shown(resamples)}`);
  const sample = finiteOf(values).sort();
  if (sample.length < 2) return { low: NaN, high: NaN };
  if (sample[0] === sample.at(-1)) return { low: statistic(sample), high: statistic(sample) };
  const drawn = resampled(sample, resamples, statistic, seededRandom(seed));
  const levels =
    method === "bca" ? correctedLevels(tail, drawn, sample, statistic) : [tail, 1 - tail];
  return { low: percentileOf(drawn, levels[0]!), high: percentileOf(drawn, levels[1]!) };
}

function checkedLevel(level: number): number {
  if (level > 0 && level < 1) return level;
  throw new ApiError("INVALID_PARAMETER_VALUE", `invalid level: ${shown(level)}`);
}

const finiteOf = (values: ArrayLike<number>): Float64Array<ArrayBuffer> =>
  Float64Array.from(values).filter(Number.isFinite);

function meanOf(sample: Float64Array): number {
  let mean = 0;
  for (let i = 0; i < sample.length; i++) mean += (sample[i]! - mean) / (i + 1);
  return mean;
}

/** Returns the statistic of each resample, in ascending order. */
function resampled(
  sample: Float64Array,
  count: number,
  statistic: (sample: Float64Array) => number,
  random: () => number,
): Float64Array {
  const n = sample.length;
  const drawn = new Float64Array(count);
  const one = new Float64Array(n);
  for (let k = 0; k < count; k++) {
    for (let i = 0; i < n; i++) one[i] = sample[Math.floor(random() * n)]!;
    drawn[k] = statistic(one);
  }
  return drawn.sort();
}

/** The levels that BCa reads off instead of α/2 and 1 − α/2: Efron and Tibshirani, eq. 14.10, 14.14 and 14.15. */
function correctedLevels(
  tail: number,
  drawn: Float64Array,
  sample: Float64Array,
  statistic: (sample: Float64Array) => number,
): number[] {
  const estimate = statistic(sample);
  const bias = normalQuantile(
    (lowerBound(drawn, estimate, false) + lowerBound(drawn, estimate, true)) / (2 * drawn.length),
  );
  const acceleration = accelerationOf(sample, statistic);
  return [tail, 1 - tail].map((level) => {
    const z = bias + normalQuantile(level);
    return normalProbability(bias + z / (1 - acceleration * z));
  });
}

/** The skew of the statistic, by leaving out each value once. */
function accelerationOf(sample: Float64Array, statistic: (sample: Float64Array) => number): number {
  const n = sample.length;
  const without = new Float64Array(n);
  const rest = sample.slice(1);
  for (let i = 0; i < n; i++) {
    without[i] = statistic(rest);
    if (i < n - 1) rest[i] = sample[i]!;
  }
  const mean = meanOf(without);
  let squares = 0;
  let cubes = 0;
  for (const one of without) {
    squares += (mean - one) ** 2;
    cubes += (mean - one) ** 3;
  }
  return squares > 0 ? cubes / (6 * squares ** 1.5) : 0;
}
