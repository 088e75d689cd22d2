/**
 * Returns a value as JSON in which no number is lost: NaN and ±Infinity become the strings "NaN", "Infinity" and
 * "-Infinity" (JSON has no other place for them), and −0 becomes -0.0, which JSON parsers read back as −0.
 */
export function toJSON(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => (typeof v === "number" ? numberToJSON(v) : v));
}

/** Returns what JSON.stringify writes as toJSON writes the number. */
export function numberToJSON(value: number): unknown {
  if (value === 0) return Object.is(value, -0) ? JSON.rawJSON("-0.0") : 0;
  return Number.isFinite(value) ? value : String(value);
}

/** Returns the number that a JSON value stands for, or undefined: a number, or one of the three strings of toJSON. */
export function maybeNumber(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  if (value === "NaN") return NaN;
  if (value === "Infinity") return Infinity;
  if (value === "-Infinity") return -Infinity;
  return undefined;
}

/** Returns what JSON says, its numbers in the digits they stand in: 1.0 and 1e-05 are raw JSON, which toJSON writes as it is. */
export function parseExactly(text: string): unknown {
  const exact = (_: string, value: unknown, { source }: { source?: string } = {}) =>
    typeof value === "number" && Number.isFinite(value) && source !== String(value)
      ? JSON.rawJSON(source!)
      : value;
  return JSON.parse(text, exact);
}

/** Returns the number that raw JSON stands for; any other value as it is. */
export const withoutDigits = (value: unknown): unknown =>
  JSON.isRawJSON(value) ? Number(value.rawJSON) : value;

declare global {
  interface JSON {
    rawJSON(text: string): unknown;
    isRawJSON(value: unknown): value is { rawJSON: string };
  }
}
