import fc from "fast-check";
import { expect, test } from "vitest";
import { bestOf } from "../../../client/stats/best.ts";
import { runsOf } from "./runs.ts";

const runs = runsOf({
  id: ["1", "2", "3", "4", "5", "6"],
  name: ["a", "b", "c", "d", "e", "f"],
  acc: [0.7, 0.9, null, NaN, Infinity, 0.8],
});

test("the best run says how many it was chosen from, and how many had no value", () => {
  expect(bestOf(runs, { of: "acc", direction: "max" })).toEqual({
    id: "2",
    name: "b",
    row: 1,
    value: 0.9,
    runs: 6,
    n: 3,
    missing: 1,
    nan: 1,
    infinite: 1,
    ties: 0,
    second: 0.8,
    median: 0.8,
    expected: [
      { runs: 1, value: expect.closeTo(0.8, 12) },
      { runs: 2, value: expect.closeTo((0.8 + 0.9 + 0.9) / 3, 12) },
      { runs: 3, value: 0.9 },
    ],
  });
});

test("the least is best where small is good", () => {
  const { value, second, expected } = bestOf(runs, { of: "acc", direction: "min" });
  expect([value, second, expected[1]!.value]).toEqual([0.7, 0.8, expect.closeTo(2.2 / 3, 12)]);
});

test("no runs, none with a value, one, and equal ones", () => {
  const of = (acc: (number | null)[]) => bestOf(runsOf({ acc }), { of: "acc", direction: "max" });
  const nothing = { id: null, name: null, row: -1, value: NaN, n: 0, second: NaN, median: NaN };
  expect(of([])).toMatchObject({ ...nothing, runs: 0, ties: 0, expected: [] });
  expect(of([NaN, null, -Infinity])).toMatchObject({ ...nothing, runs: 3, infinite: 1 });
  expect(of([5])).toMatchObject({ row: 0, value: 5, second: NaN, median: 5, ties: 0 });
  expect(of([5, 5, 1, 5])).toMatchObject({ value: 5, second: 5, ties: 2 });
});

test("of equals the run with the least id is named", () => {
  const table = runsOf({ id: ["b", "a", "c"], name: ["x", "y", "z"], acc: [1, 1, 1] });
  expect(bestOf(table, { of: "acc", direction: "max" })).toMatchObject({ id: "a", row: 1 });
});

/** All ways to choose k of some values. */
const subsets = (values: number[], k: number): number[][] =>
  k === 0
    ? [[]]
    : values.flatMap((value, i) =>
        subsets(values.slice(i + 1), k - 1).map((rest) => [value, ...rest]),
      );

test("the expected best of k is the mean of the best over all ways to choose k", () => {
  const numbers = fc.array(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(numbers, fc.constantFrom("min", "max"), (values, direction) => {
      const { expected } = bestOf(runsOf({ acc: values }), { of: "acc", direction });
      for (const { runs, value } of expected) {
        const bests = subsets(values, runs).map((chosen) => Math[direction](...chosen));
        expect(value).toBeCloseTo(bests.reduce((sum, one) => sum + one, 0) / bests.length, 9);
      }
    }),
  );
});

test("of 100,000 runs, the expected best of more runs is better, up to the best itself", () => {
  const acc = Array.from({ length: 100_000 }, (_, i) => (i * 7919) % 100_003);
  const { expected, value } = bestOf(runsOf({ acc }), { of: "acc", direction: "max" });
  expect(expected.map(({ runs }) => runs).slice(0, 8)).toEqual([1, 2, 3, 5, 10, 20, 30, 50]);
  expect(expected.map(({ value }) => value)).toEqual(
    expected.map(({ value }) => value).toSorted((a, b) => a - b),
  );
  expect(expected.at(-1)).toEqual({ runs: 100_000, value });
  // Of k numbers evenly spread over [0, m], the greatest is to be expected at m k/(k + 1).
  expect(expected[4]!.value / 100_003).toBeCloseTo(10 / 11, 3);
});

test("a direction that is none is refused", () => {
  expect(() => bestOf(runs, { of: "acc", direction: "best" as "max" })).toThrow(
    "invalid direction: best",
  );
});
