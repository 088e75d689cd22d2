/** Prints one measured figure, and what it is to be held against. */
export function say(bench: string, what: string, value: number, unit: string, against = ""): void {
  const figure =
    value >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(value < 10 ? 2 : 1);
  console.log(
    `${bench.padEnd(10)} ${what.padEnd(44)} ${figure.padStart(10)} ${unit.padEnd(9)} ${against}`,
  );
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
