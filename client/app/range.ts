/** The part of a chart's values that it shows, and how many lie above and below. */
export interface ShownRange {
  low: number;
  high: number;
  above: number;
  below: number;
}

/**
 * Chooses the range of a y axis: all finite values, unless a few lie so far out (three times the interquartile range,
 * Tukey's "far out") that leaving them aside lets the rest use half as much room again. Those are counted, never
 * silently dropped.
 */
export function chooseRange(values: number[]): ShownRange | undefined {
  const finite = Float64Array.from(values.filter(Number.isFinite)).sort();
  if (finite.length === 0) return undefined;
  const quantile = (q: number) =>
    finite[Math.min(finite.length - 1, Math.floor(q * finite.length))]!;
  const [min, max, q1, q3] = [finite[0]!, finite.at(-1)!, quantile(0.25), quantile(0.75)];
  const far = 3 * (q3 - q1);
  const low = Math.max(min, q1 - far);
  const high = Math.min(max, q3 + far);
  if (far === 0 || (high - low) * 1.5 > max - min)
    return { low: min, high: max, above: 0, below: 0 };
  return {
    low,
    high,
    above: finite.filter((v) => v > high).length,
    below: finite.filter((v) => v < low).length,
  };
}
