/** How many of sorted values are below a value, or not above it. */
export function lowerBound(sorted: Float64Array, value: number, orEqual = false): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value || (orEqual && sorted[middle] === value)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Reads the value at a level between 0 and 1 off sorted values, between neighbours in proportion (R's type 7). */
export function percentileOf(sorted: Float64Array, level: number): number {
  const place = level * (sorted.length - 1);
  const below = sorted[Math.floor(place)]!;
  const above = sorted[Math.ceil(place)]!;
  return below + (above - below) * (place - Math.floor(place));
}
