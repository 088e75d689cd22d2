import { incompleteBeta, logBeta } from "./beta.ts";
import { normalQuantile } from "./normal.ts";

/**
 * Returns t with P(T ≤ t) = p for Student's distribution of `freedom` > 0 degrees: Newton's method on the logarithm of
 * the tail I_x(ν/2, 1/2)/2 with x = ν/(ν + t²) (https://dlmf.nist.gov/8.17, Abramowitz and Stegun 26.7.1), kept within a
 * bracket. From 10^7 degrees on, where the fraction takes long, the expansion 26.7.5 has all digits.
 */
export function studentQuantile(p: number, freedom: number): number {
  if (!(p >= 0 && p <= 1 && freedom > 0)) return NaN;
  if (p > 0.5) return -studentQuantile(1 - p, freedom);
  if (p === 0.5) return 0;
  if (p === 0) return -Infinity;
  const start = expansion(-normalQuantile(p), freedom);
  return -(freedom >= 1e7 ? start : upperQuantile(p, freedom, start));
}

function upperQuantile(p: number, freedom: number, start: number): number {
  const target = Math.log(2 * p);
  const constant = logBeta(freedom / 2, 0.5) + 0.5 * Math.log(freedom);
  let [low, high] = [0, Infinity];
  let t = start;
  for (let i = 0; i < 200; i++) {
    const square = (t * t) / freedom;
    const tail = twoTails(square, freedom);
    const miss = Math.log(tail) - target;
    if (miss > 0) low = t;
    else high = t;
    const density = Math.exp(-((freedom + 1) / 2) * Math.log1p(square) - constant);
    const step = (miss * tail) / (2 * density);
    // In t the tail is t^−ν far out, where steps in ln t are the straight way; nearer, steps in t are.
    let next = square > 1 ? t * Math.exp(step / t) : t + step;
    if (!(next > low && next < high)) next = high === Infinity ? 2 * t : (low + high) / 2;
    if (Math.abs(next - t) <= 1e-15 * t) return next;
    t = next;
  }
  return t;
}

/** P(|T| > t), given t²/ν. */
const twoTails = (square: number, freedom: number): number =>
  incompleteBeta(1 / (1 + square), freedom / 2, 0.5, square / (1 + square));

/** Abramowitz and Stegun 26.7.5: the quantile by that of the normal distribution. */
function expansion(z: number, v: number): number {
  const s = z * z;
  const terms = [
    (z * (s + 1)) / 4,
    (z * ((5 * s + 16) * s + 3)) / 96,
    (z * (((3 * s + 19) * s + 17) * s - 15)) / 384,
    (z * ((((79 * s + 776) * s + 1482) * s - 1920) * s - 945)) / 92160,
  ];
  return z + terms.reduceRight((sum, term) => (sum + term) / v, 0);
}
