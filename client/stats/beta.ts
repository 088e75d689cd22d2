/**
 * Returns I_x(a, b), the regularised incomplete beta function, for a, b > 0 and 0 ≤ x ≤ 1. Where x is close to 1, `y`
 * may give 1 − x to more digits.
 */
export function incompleteBeta(x: number, a: number, b: number, y = 1 - x): number {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  // The fraction converges fast below the mean; https://dlmf.nist.gov/8.17.E4 says what lies above it.
  if (x > (a + 1) / (a + b + 2)) return 1 - fraction(y, x, b, a);
  return fraction(x, y, a, b);
}

/**
 * The continued fraction https://dlmf.nist.gov/8.17.E22, by Lentz's method as Thompson and Barnett changed it: Press et
 * al., Numerical Recipes (2007), 5.2 and 6.4. It takes O(√max(a, b)) steps.
 */
function fraction(x: number, y: number, a: number, b: number): number {
  const front = Math.exp(a * logOf(x, y) + b * logOf(y, x) - logBeta(a, b)) / a;
  let d = 1 / nonzero(1 - ((a + b) * x) / (a + 1));
  let c = 1;
  let result = d;
  for (let m = 1; m < 100_000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonzero(1 + even * d);
    c = nonzero(1 + even / c);
    result *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonzero(1 + odd * d);
    c = nonzero(1 + odd / c);
    result *= d * c;
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return front * result;
}

/** ln x, with the digits that 1 − x has where x is close to 1. */
const logOf = (x: number, y: number): number => (y < 0.5 ? Math.log1p(-y) : Math.log(x));

const nonzero = (value: number): number => (Math.abs(value) < 1e-300 ? 1e-300 : value);

/** Returns ln B(a, b) for a, b > 0. For large a, ln Γ(a) − ln Γ(a + b) is taken from their difference, which keeps its digits. */
export function logBeta(a: number, b: number): number {
  if (a < b) return logBeta(b, a);
  if (a < 10) return logGamma(a) + logGamma(b) - logGamma(a + b);
  return (
    logGamma(b) +
    stirlingRest(a) -
    stirlingRest(a + b) +
    b -
    b * Math.log(a + b) +
    (a - 0.5) * Math.log1p(-b / (a + b))
  );
}

/** Returns ln Γ(x) for x > 0: Stirling's series from 10 on, by recurrence below. https://dlmf.nist.gov/5.11.E1 */
export function logGamma(x: number): number {
  let product = 1;
  while (x < 10) product *= x++;
  return (
    (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + stirlingRest(x) - Math.log(product)
  );
}

/** What Stirling's formula leaves, for x ≥ 10: Σ B₂ₖ / (2k (2k − 1) x²ᵏ⁻¹). */
function stirlingRest(x: number): number {
  const y = 1 / (x * x);
  return (
    (1 / 12 -
      y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y * (1 / 1188 - (y * 691) / 360360))))) /
    x
  );
}
