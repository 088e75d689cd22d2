/**
 * Returns P(Z ≤ z) of the standard normal distribution: by the series of Abramowitz and Stegun 26.2.11 near 0, which
 * Marsaglia recommends ("Evaluating the normal distribution", Journal of Statistical Software 11, 2004), and by Laplace's
 * continued fraction 26.2.14 further out, so that small tails keep their digits, too.
 */
export function normalProbability(z: number): number {
  const x = Math.abs(z);
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (x < 2.5) return 0.5 + Math.sign(z) * density * series(x);
  const tail = density / fraction(x);
  return z > 0 ? 1 - tail : tail;
}

/** x + x³/3 + x⁵/(3 · 5) + … */
function series(x: number): number {
  let sum = 0;
  for (let term = x, k = 3; sum + term > sum; k += 2) {
    sum += term;
    term *= (x * x) / k;
  }
  return sum;
}

/** x + 1/(x + 2/(x + 3/(x + …))): from 2.5 on, 40 steps are enough. */
function fraction(x: number): number {
  let value = x;
  for (let k = 40; k > 0; k--) value = x + k / value;
  return value;
}

/**
 * Returns z with P(Z ≤ z) = p, to 1 part in 10^15: algorithm AS 241 (PPND16), Wichura, "The percentage points of the
 * normal distribution", Applied Statistics 37 (1988).
 */
export function normalQuantile(p: number): number {
  if (!(p >= 0 && p <= 1)) return NaN;
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * polynomial(middle[0], r)) / polynomial(middle[1], r);
  }
  const r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  if (r === Infinity) return q < 0 ? -Infinity : Infinity;
  const [above, below, from] = r <= 5 ? near : far;
  const z = polynomial(above, r - from) / polynomial(below, r - from);
  return q < 0 ? -z : z;
}

// The coefficients of the greatest power come first.
const middle: [number[], number[]] = [
  [
    2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987, 13731.69376550946,
    1971.5909503065513, 133.14166789178438, 3.3871328727963665,
  ],
  [
    5226.495278852546, 28729.085735721943, 39307.89580009271, 21213.794301586597, 5394.196021424751,
    687.1870074920579, 42.31333070160091, 1,
  ],
];
const near: [number[], number[], number] = [
  [
    0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684,
    3.6478483247632045, 5.769497221460691, 4.630337846156546, 1.4234371107496835,
  ],
  [
    1.0507500716444169e-9, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008,
    0.6897673349851, 1.6763848301838038, 2.053191626637759, 1,
  ],
  1.6,
];
const far: [number[], number[], number] = [
  [
    2.0103343992922881e-7, 2.7115555687434876e-5, 0.0012426609473880784, 0.026532189526576124,
    0.29656057182850487, 1.7848265399172913, 5.463784911164114, 6.657904643501103,
  ],
  [
    2.0442631033899397e-15, 1.421511758316446e-7, 1.8463183175100548e-5, 0.0007868691311456133,
    0.014875361290850615, 0.1369298809227358, 0.599832206555888, 1,
  ],
  5,
];

function polynomial(coefficients: number[], x: number): number {
  let value = 0;
  for (let i = 0; i < coefficients.length; i++) value = value * x + coefficients[i]!;
  return value;
}
