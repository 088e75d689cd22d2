import * as fc from "fast-check";
import { expect, test } from "vitest";
import { pointsFromJSON, takePoints } from "../../wire/point.ts";
import { meanOf, mergeSummaries, summarize, type Summary } from "../../wire/summary.ts";

const value = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, "NaN", "Infinity", "-Infinity"),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e100, max: 1e100 }),
);
const point = fc.record({
  key: fc.constantFrom("a", "__proto__"),
  step: fc.integer({ min: -2, max: 2 }),
  time: fc.integer({ min: 0, max: 2 }),
  value,
});
const merged = (parts: Map<string, Summary>[]) =>
  parts.reduce((all, part) => {
    for (const [key, summary] of part) {
      const before = all.get(key);
      all.set(key, before ? mergeSummaries(before, summary) : summary);
    }
    return all;
  }, new Map<string, Summary>());

test("the summaries of any parts, merged in any order, are the summary of the whole", () => {
  const shuffled = fc.array(point, { minLength: 1, maxLength: 30 }).chain((points) =>
    fc.record({
      points: fc.constant(points),
      order: fc.shuffledSubarray([...points.keys()], { minLength: points.length }),
      size: fc.integer({ min: 1, max: 7 }),
    }),
  );
  fc.assert(
    fc.property(shuffled, ({ points, order, size }) => {
      const all = pointsFromJSON(points);
      const parts = Array.from({ length: Math.ceil(order.length / size) }, (_, i) =>
        summarize(takePoints(all, Uint32Array.from(order.slice(i * size, (i + 1) * size)))),
      );
      const found = merged(parts);
      for (const [key, { sum, ...rest }] of summarize(all)) {
        const { sum: other, ...others } = found.get(key)!;
        expect(others).toStrictEqual(rest); // tells −0 from 0, and takes NaN for NaN
        if (Number.isFinite(sum)) expect(Math.abs(other - sum)).toBeLessThanOrEqual(1e-9 * 30e100);
        else expect(other).toBe(sum);
      }
    }),
    { numRuns: 1000 },
  );
});

test("the mean is that of the numbers, and NaN where there are none", () => {
  const summaryOf = (...values: unknown[]) =>
    summarize(pointsFromJSON(values.map((v, step) => ({ key: "k", step, value: v, time: 0 })))).get(
      "k",
    )!;
  expect(meanOf(summaryOf(1, "NaN", 3))).toBe(2);
  expect(meanOf(summaryOf("NaN", "NaN"))).toBeNaN();
  expect(summaryOf(1, "NaN", 3)).toMatchObject({
    last: 3,
    min: 1,
    minStep: 0,
    max: 3,
    maxStep: 2,
    nan: 1,
  });
});
