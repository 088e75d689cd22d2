import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  bucketColumns,
  bucketOf,
  bucketsFromPoints,
  exponentFor,
  mergeBuckets,
  type Buckets,
} from "../../wire/buckets.ts";
import { concatPoints, pointsFromJSON, sortPoints } from "../../wire/point.ts";

const point = fc.record({
  key: fc.constant("loss"),
  step: fc.oneof(fc.integer({ min: -40, max: 40 }), fc.double({ min: -9, max: 9, noNaN: true })),
  time: fc.integer({ min: 5, max: 9 }),
  value: fc.oneof(
    fc.constantFrom("NaN", "Infinity", "-Infinity", 0, -0, 1),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  ),
});
const lots = fc.array(fc.array(point, { maxLength: 20 }), { minLength: 1, maxLength: 5 });

/** M4 the slow and plain way: each bucket's points picked out and looked through. */
function bruteForce(points: { step: number; time: number; value: number }[], exponent: number) {
  const groups = Map.groupBy(points, ({ step }) =>
    step < 0 ? Math.min(-1, Math.floor(step / 2 ** exponent)) : Math.floor(step / 2 ** exponent),
  );
  return [...groups]
    .sort(([a], [b]) => a - b)
    .map(([index, own]) => {
      const finite = own.filter(({ value }) => Number.isFinite(value));
      const least = (sign: number) =>
        finite.reduce<(typeof finite)[number] | undefined>((best, p) => {
          if (!best) return p;
          const order = sign * p.value - sign * best.value || p.step - best.step;
          const zero =
            Number(Object.is(sign * best.value, -0)) - Number(Object.is(sign * p.value, -0));
          return order < 0 || (order === 0 && zero < 0) ? p : best;
        }, undefined);
      const [min, max] = [least(1), least(-1)];
      return {
        index,
        count: own.length,
        nan: own.filter(({ value }) => Number.isNaN(value)).length,
        infinite: own.filter(({ value }) => value === Infinity).length,
        negativeInfinite: own.filter(({ value }) => value === -Infinity).length,
        firstStep: own[0]!.step,
        firstTime: own[0]!.time,
        first: own[0]!.value,
        lastStep: own.at(-1)!.step,
        lastTime: own.at(-1)!.time,
        last: own.at(-1)!.value,
        minStep: min?.step ?? NaN,
        min: min?.value ?? NaN,
        maxStep: max?.step ?? NaN,
        max: max?.value ?? NaN,
      };
    });
}

const rowsOf = (buckets: Buckets) =>
  Array.from(buckets.index, (_, i) =>
    Object.fromEntries(bucketColumns.map((name) => [name, buckets[name][i]])),
  );

test("the buckets of any parts, made at any finer width and merged, are those of all points", () => {
  const finer = fc.integer({ min: 0, max: 5 });
  fc.assert(
    fc.property(
      lots,
      fc.array(finer, { minLength: 5, maxLength: 5 }),
      fc.integer({ min: -4, max: 5 }),
      (parts, finers, exponent) => {
        const sorted = parts.map((points) => sortPoints(pointsFromJSON(points)));
        const all = sortPoints(concatPoints(sorted));
        const expected = bruteForce(
          Array.from(all.step, (step, i) => ({ step, time: all.time[i]!, value: all.value[i]! })),
          exponent,
        );
        expect(rowsOf(bucketsFromPoints(all, exponent))).toEqual(expected);
        const made = sorted.map((points, i) => bucketsFromPoints(points, exponent - finers[i]!));
        expect(rowsOf(mergeBuckets(made, exponent))).toEqual(expected);
        expect(rowsOf(mergeBuckets(made.toReversed(), exponent))).toEqual(expected);
      },
    ),
    { numRuns: 300 },
  );
});

test("no more buckets than asked for, and no fewer than half of them", () => {
  const step = fc.oneof(
    fc.integer({ min: -Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }),
    fc.double({ min: -1e15, max: 1e15, noNaN: true }),
    fc.integer({ min: -1000, max: 1000 }),
  );
  fc.assert(
    fc.property(step, step, fc.integer({ min: 2, max: 5000 }), (a, b, most) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      const exponent = exponentFor(from, to, most);
      const count = (e: number) => bucketOf(to, e) - bucketOf(from, e) + 1;
      expect(count(exponent)).toBeLessThanOrEqual(most);
      // Narrower buckets would be too many, or narrower than the steps' own precision.
      const narrowest =
        exponent === -1021 ||
        2 ** (exponent - 1) < Math.max(Math.abs(from), Math.abs(to)) * 2 ** -52;
      if (from < to && !narrowest) expect(count(exponent - 1)).toBeGreaterThan(most);
    }),
  );
});
