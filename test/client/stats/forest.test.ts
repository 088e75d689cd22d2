import { expect, test } from "vitest";
import { featureOfCodes, featureOfNumbers, mostBins } from "../../../client/stats/feature.ts";
import { forestImportance } from "../../../client/stats/forest.ts";
import { seededRandom } from "../../../client/random.ts";

const options = { trees: 200, seed: 1 };

test("missing numbers go to the side that they fit better, be it the first or the second", () => {
  // Parts so small that a second split could hardly tell the missing ones from the twos.
  const values = [20, 4, 2].flatMap((count, i) => new Array<number>(count).fill([1, 2, NaN][i]!));
  const target = Float64Array.from(values, (value) => (value === 2 ? 1 : 0));
  for (const one of [values, values.map((value) => 3 - value)]) {
    const feature = featureOfNumbers(Float64Array.from(one));
    // 0.71 or 0.85 if they always went to the second
    expect(forestImportance([feature], target, options).r2).toBeGreaterThan(0.86);
  }
});

test("categories are divided by their effect, not by their number", () => {
  const random = seededRandom(5);
  const codes = Uint32Array.from({ length: 200 }, () => Math.floor(random() * 12));
  const target = Float64Array.from(codes, (code) => (code % 2) * 10 + random());
  const { importance, r2 } = forestImportance([featureOfCodes(codes, -1)], target, options);
  expect(r2).toBeGreaterThan(0.95);
  expect(importance[0]).toBeGreaterThan(1.5);
});

test("two params that work only together are both found", () => {
  const random = seededRandom(6);
  const [a, b, c] = [0, 1, 2].map(() => Float64Array.from({ length: 400 }, () => random() - 0.5));
  const target = a!.map((x, i) => Math.sign(x * b![i]!));
  const features = [a!, b!, c!].map(featureOfNumbers);
  const { importance } = forestImportance(features, target, options);
  expect(Math.min(importance[0]!, importance[1]!)).toBeGreaterThan(0.5);
  expect(Math.abs(importance[2]!)).toBeLessThan(0.1);
});

test("a few numbers have a bin each, many share bins in equal parts, missing ones have bin 0", () => {
  const few = featureOfNumbers(Float64Array.of(5, NaN, -0, 0, Infinity));
  expect([...few.bins]).toEqual([2, 0, 1, 1, 3]);
  expect(few).toMatchObject({ count: 4, ordered: true });
  const many = featureOfNumbers(Float64Array.from({ length: 6300 }, (_, i) => i ** 3));
  const sizes = Map.groupBy(many.bins, (bin) => bin);
  expect([...sizes.values()].map(({ length }) => length)).toEqual(new Array(mostBins).fill(100));
});

test("the most frequent texts have a bin each, the others share the last", () => {
  const codes = Uint32Array.from({ length: 1000 }, (_, i) => (i < 500 ? 7 : i));
  const { bins, count, ordered } = featureOfCodes(codes, 999);
  expect([bins[0], bins[999], bins[998], count, ordered]).toEqual([1, 0, mostBins, 64, false]);
});
