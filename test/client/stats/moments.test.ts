import fc from "fast-check";
import { expect, test } from "vitest";
import { momentsOf } from "../../../client/stats/moments.ts";
import { offBy, reference } from "./runs.ts";

test.for(reference.moments)(
  "mean and sd are those of exact fractions: $mean ± $sd",
  ({ values, mean, sd }) => {
    const ours = momentsOf(Float64Array.from(values));
    expect(Math.abs(ours.mean - mean)).toBeLessThanOrEqual(1e-15 * Math.max(Math.abs(mean), sd));
    expect(offBy(ours.sd, sd)).toBeLessThan(1e-14);
  },
);

// Certified to 15 digits by NIST: https://www.itl.nist.gov/div898/strd/univ/numacc3.html and numacc4.html
test.for([
  ["NumAcc3", 1_000_000],
  ["NumAcc4", 10_000_000],
] as const)("%s of NIST's reference data has mean +0.2 and sd 0.1", ([, base]) => {
  const values = Float64Array.from(
    { length: 1001 },
    (_, i) => base + (i === 0 ? 0.2 : i % 2 ? 0.1 : 0.3),
  );
  const { mean, sd } = momentsOf(values);
  expect(mean).toBe(base + 0.2);
  // The data themselves are rounded to 2^-30 or so.
  expect(offBy(sd, 0.1)).toBeLessThan(1e-7);
});

test("no, one, two and equal values", () => {
  const of = (...values: number[]) => momentsOf(Float64Array.from(values));
  expect(of()).toEqual({ n: 0, mean: NaN, sd: NaN });
  expect(of(3)).toEqual({ n: 1, mean: 3, sd: NaN });
  expect(of(1, 3)).toEqual({ n: 2, mean: 2, sd: Math.SQRT2 });
  expect(of(0.1, 0.1, 0.1)).toEqual({ n: 3, mean: 0.1, sd: 0 });
  expect(of(0, -0).mean).toBe(0);
});

test("the greatest and least doubles do not overflow or vanish", () => {
  const great = momentsOf(Float64Array.of(1.7e308, 1.7e308, -1.7e308));
  expect(offBy(great.mean, 1.7e308 / 3)).toBeLessThan(1e-14);
  expect(Number.isFinite(momentsOf(Float64Array.of(1e308, 1.1e308)).sd)).toBe(true);
  expect(momentsOf(Float64Array.of(1e-308, 3e-308)).sd).toBeGreaterThan(1e-308);
});

test("two passes agree with Welford's one", () => {
  const numbers = fc.array(fc.double({ noNaN: true, min: -1e6, max: 1e6 }), { minLength: 2 });
  fc.assert(
    fc.property(numbers, (values) => {
      let [mean, squares] = [0, 0];
      values.forEach((value, i) => {
        const from = value - mean;
        mean += from / (i + 1);
        squares += from * (value - mean);
      });
      const ours = momentsOf(Float64Array.from(values));
      const size = Math.max(...values.map(Math.abs));
      expect(Math.abs(ours.mean - mean)).toBeLessThanOrEqual(1e-13 * size + 1e-300);
      expect(Math.abs(ours.sd - Math.sqrt(squares / (values.length - 1)))).toBeLessThanOrEqual(
        1e-7 * size + 1e-150,
      );
    }),
  );
});

test("great whole numbers have the sd that exact arithmetic gives", () => {
  const offsets = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 2, maxLength: 2000 });
  fc.assert(
    fc.property(offsets, fc.integer({ min: 0, max: 2 ** 53 - 5 }), (offsets, base) => {
      const n = BigInt(offsets.length);
      const sum = BigInt(offsets.reduce((a, b) => a + b, 0));
      const squares = BigInt(offsets.reduce((a, b) => a + b * b, 0));
      const variance = Number(n * squares - sum * sum) / Number(n * (n - 1n));
      const { sd } = momentsOf(Float64Array.from(offsets, (offset) => base + offset));
      expect(offBy(sd, Math.sqrt(variance))).toBeLessThan(1e-12);
    }),
  );
});
