import fc from "fast-check";
import { expect, test } from "vitest";
import { incompleteBeta, logBeta, logGamma } from "../../../client/stats/beta.ts";
import { normalProbability, normalQuantile } from "../../../client/stats/normal.ts";
import { studentQuantile } from "../../../client/stats/student.ts";
import { offBy, reference } from "./runs.ts";

test.for(reference.normal.quantiles)("the normal quantile of %d is %d", ([p, z]) => {
  expect(offBy(normalQuantile(p), z)).toBeLessThan(1e-14);
});

test.for(reference.normal.probabilities)("the normal probability of %d is %d", ([z, p]) => {
  expect(offBy(normalProbability(z), p)).toBeLessThan(2e-13);
});

test("Student's quantiles are mpmath's at 40 digits, from half a degree of freedom to a billion", () => {
  const worst = Math.max(...reference.student.map(([p, v, t]) => offBy(studentQuantile(p, v), t)));
  expect(worst).toBeLessThan(1e-10);
});

test("the incomplete beta function is SciPy's", () => {
  const worst = Math.max(
    ...reference.beta.map(([x, a, b, value]) => {
      const ours = incompleteBeta(x, a, b);
      return value < 1e-290 ? ours : offBy(ours, value);
    }),
  );
  expect(worst).toBeLessThan(1e-10);
});

test("quantiles end at the infinities, and are NaN outside of probabilities", () => {
  for (const quantile of [normalQuantile, (p: number) => studentQuantile(p, 4)]) {
    expect([quantile(0), quantile(1)]).toEqual([-Infinity, Infinity]);
    expect([quantile(-0.1), quantile(1.1), quantile(NaN)]).toEqual([NaN, NaN, NaN]);
  }
  expect(studentQuantile(0.5, 0)).toBeNaN();
  expect(normalProbability(NaN)).toBeNaN();
  expect([normalProbability(-50), normalProbability(50)]).toEqual([0, 1]);
});

test("the gamma and beta functions keep their digits", () => {
  expect(offBy(Math.exp(logGamma(11)), 3628800)).toBeLessThan(1e-14);
  expect(offBy(Math.exp(logGamma(0.5)), Math.sqrt(Math.PI))).toBeLessThan(1e-14);
  expect(offBy(Math.exp(logBeta(0.5, 0.5)), Math.PI)).toBeLessThan(1e-14);
  // B(a, ½) = √(π/a) (1 + 1/8a + 1/128a² …), DLMF 5.11.13
  const a = 1e8;
  expect(offBy(Math.exp(logBeta(a, 0.5)), Math.sqrt(Math.PI / a) * (1 + 1 / (8 * a)))).toBeLessThan(
    1e-14,
  );
});

test("Student's distribution is Cauchy's at one degree and has a closed form at two", () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-12, max: 0.49, noNaN: true }), (p) => {
      expect(offBy(studentQuantile(p, 1), -1 / Math.tan(Math.PI * p))).toBeLessThan(1e-10);
      const two = (2 * p - 1) / Math.sqrt(2 * p * (1 - p));
      expect(offBy(studentQuantile(p, 2), two)).toBeLessThan(1e-10);
    }),
  );
});
