/** A number with four significant digits, as a column of them reads best; NaN and infinities by name. */
export function formatNumber(value: number | null | undefined): string {
  if (value === null || value === undefined) return "";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (Number.isInteger(value) && size < 1e6) return String(value).replace("-", "−");
  if (size >= 1e6 || size < 1e-4)
    return value.toExponential(2).replace("-", "−").replace("e+", "e");
  return (size >= 1 ? value.toPrecision(4) : value.toFixed(4)).replace("-", "−");
}

/** A count, with separators: 1,204. */
export const formatCount = (value: number): string => value.toLocaleString("en");

/** Seconds as people say them: 0.3 s, 12 s, 4 min, 2 h 14 min, 3 d. */
export function formatDuration(seconds: number): string {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86_400)
    return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** How long ago a time was. */
export function formatAgo(time: number, now: number): string {
  const seconds = Math.max(0, (now - time) / 1000);
  return seconds < 5
    ? "just now"
    : `${seconds < 60 ? `${Math.round(seconds)} s` : formatDuration(seconds)} ago`;
}
