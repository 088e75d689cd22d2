import fc from "fast-check";
import { expect, test } from "vitest";
import { rankCorrelation, rankCorrelationRatio, ranksOf } from "../../../client/stats/rank.ts";
import { reference } from "./runs.ts";

const of = (values: number[]) => Float64Array.from(values);
const spearman = (a: number[], b: number[]) => rankCorrelation(ranksOf(of(a)), ranksOf(of(b)));
const ratio = (groups: number[], values: number[]) =>
  rankCorrelationRatio(Uint32Array.from(groups), ranksOf(of(values)));

test.for(reference.correlations)(
  "Spearman's ρ is SciPy's, ties included: $rho",
  ({ a, b, rho }) => {
    expect(spearman(a, b)).toBeCloseTo(rho, 12);
  },
);

test.for(reference.ranks)("ranks are SciPy's", ({ values, ranks }) => {
  expect([...ranksOf(of(values))]).toEqual(ranks);
});

test("infinities rank at the ends, and −0 with 0", () => {
  expect([...ranksOf(of([Infinity, 0, -Infinity, -0, Infinity]))]).toEqual([4.5, 2.5, 1, 2.5, 4.5]);
});

test.for(reference.ratios)(
  "the correlation ratio of ranks is made of SciPy's Kruskal-Wallis: $epsilon",
  ({ codes, values, epsilon }) => {
    expect(ratio(codes, values)).toBeCloseTo(epsilon, 12);
  },
);

test("nothing is said of too few or equal values, or of names that each occur once", () => {
  expect(spearman([], [])).toBeNaN();
  expect(spearman([1], [2])).toBeNaN();
  expect(spearman([1, 1], [2, 3])).toBeNaN();
  expect(ratio([0, 1, 2], [1, 2, 3])).toBeNaN();
  expect(ratio([0, 0, 0], [1, 2, 3])).toBeNaN();
  expect(ratio([0, 1, 1], [2, 2, 2])).toBeNaN();
});

test("ranks are what counting says: those below, and half of the equals", () => {
  const small = fc.array(fc.integer({ min: -5, max: 5 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(small, (values) => {
      const counted = values.map((value) => {
        const below = values.filter((other) => other < value).length;
        const equal = values.filter((other) => other === value).length;
        return below + (equal + 1) / 2;
      });
      expect([...ranksOf(of(values))]).toEqual(counted);
    }),
  );
});
