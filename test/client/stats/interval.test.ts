import { expect, test } from "vitest";
import { bootstrapInterval, tInterval } from "../../../client/stats/interval.ts";
import { percentileOf } from "../../../client/stats/sorted.ts";
import { offBy, reference } from "./runs.ts";

test.for(reference.intervals)(
  "the interval of $values.length values at $level is SciPy's: t below 30, normal from 30 on",
  ({ values, level, low, high }) => {
    const ours = tInterval(values, { level });
    expect(offBy(ours.low, low)).toBeLessThan(1e-10);
    expect(offBy(ours.high, high)).toBeLessThan(1e-10);
  },
);

test.for(reference.bootstraps)(
  "the $method interval of the $statistic of $name values is SciPy's of 199,999 resamples",
  ({ name, values, statistic, method, low, high, sd }) => {
    const sample = values.toSorted((a, b) => a - b);
    const ours = bootstrapInterval(sample, {
      method,
      resamples: 50_000,
      ...(statistic === "median" && {
        statistic: (one) => percentileOf(one.slice().sort(), 0.5),
      }),
    });
    // Drawn bounds scatter by some hundredths of a standard error. Those of a median, or of the mean of tied values,
    // are among few values, and jump from one to the next.
    const tolerance =
      (statistic === "median" || name === "tied" ? 0.12 : 0.05) * (sd / Math.sqrt(values.length));
    expect(Math.abs(ours.low - low)).toBeLessThan(tolerance);
    expect(Math.abs(ours.high - high)).toBeLessThan(tolerance);
  },
);

test("bca and percentile differ on skewed values: the corrected one reaches further out", () => {
  const { values } = reference.bootstraps[0]!;
  const bca = bootstrapInterval(values);
  const percentile = bootstrapInterval(values, { method: "percentile" });
  expect(bca.high).toBeGreaterThan(percentile.high);
  expect(bca.low).toBeGreaterThan(percentile.low);
});

test("a bootstrap depends on its seed, not on the order of values", () => {
  const { values } = reference.bootstraps[0]!;
  const one = bootstrapInterval(values, { resamples: 999 });
  expect(bootstrapInterval(values.toReversed(), { resamples: 999 })).toEqual(one);
  expect(bootstrapInterval(values, { resamples: 999, seed: 2 })).not.toEqual(one);
});

test("few, equal and infinite values", () => {
  for (const interval of [tInterval, bootstrapInterval]) {
    expect(interval([])).toEqual({ low: NaN, high: NaN });
    expect(interval([1])).toEqual({ low: NaN, high: NaN });
    expect(interval([NaN, 5, Infinity])).toEqual({ low: NaN, high: NaN });
    expect(interval([0.1, 0.1, 0.1])).toEqual({ low: 0.1, high: 0.1 });
    expect(interval([1, 2, 4, NaN, -Infinity])).toEqual(interval([1, 2, 4]));
  }
});

test("a level or a number of resamples that cannot be is refused", () => {
  expect(() => tInterval([1, 2], { level: 95 })).toThrow("invalid level: 95");
  expect(() => bootstrapInterval([1, 2], { level: 0 })).toThrow("invalid level: 0");
  expect(() => bootstrapInterval([1, 2], { resamples: 0.5 })).toThrow("invalid resamples: 0.5");
});
