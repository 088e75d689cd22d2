import { lowerBound } from "./sorted.ts";

/** What a forest splits by: a small number for each row. */
export interface Feature {
  /** the bin of each row; 0 holds what is missing */
  bins: Uint8Array;
  /** how many bins there are, 0 included */
  count: number;
  /** whether the bins above 0 have an order */
  ordered: boolean;
}

/** How many bins a feature may have besides that of missing values. */
export const mostBins = 63;

/** Returns numbers as bins of about as many rows each, or one for each value where there are few. NaN is missing. */
export function featureOfNumbers(values: Float64Array): Feature {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort();
  const distinct = sorted.filter((value, i) => i === 0 || value !== sorted[i - 1]);
  const bounds =
    distinct.length <= mostBins
      ? distinct
      : Float64Array.from(
          new Set(
            Array.from(
              { length: mostBins },
              (_, i) => sorted[Math.floor((i * sorted.length) / mostBins)]!,
            ),
          ),
        );
  const bins = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++)
    if (!Number.isNaN(values[i])) bins[i] = lowerBound(bounds, values[i]!, true);
  return { bins, count: bounds.length + 1, ordered: true };
}

/** Returns codes as bins, of which the last holds all but the most frequent ones where there are many. */
export function featureOfCodes(codes: Uint32Array, missing: number): Feature {
  const counts = new Map<number, number>();
  for (const code of codes) if (code !== missing) counts.set(code, (counts.get(code) ?? 0) + 1);
  const frequent = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const bins = new Map(frequent.map(([code], i) => [code, Math.min(i + 1, mostBins)]));
  return {
    bins: Uint8Array.from(codes, (code) => bins.get(code) ?? 0),
    count: Math.min(frequent.length, mostBins) + 1,
    ordered: false,
  };
}
