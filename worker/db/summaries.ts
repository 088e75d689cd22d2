import type { Summary } from "../../wire/summary.ts";

/**
 * Summaries at rest are JSON that SQLite can compare: ±Infinity is ±1e999, which SQLite and JSON.parse both read as
 * infinite, and NaN is null, which no comparison holds of.
 */
export function summariesToText(summaries: Map<string, Summary>): string {
  return JSON.stringify(Object.fromEntries(summaries), (_, v: unknown) => {
    if (typeof v !== "number" || (Number.isFinite(v) && !Object.is(v, -0))) return v;
    return Number.isNaN(v) ? null : JSON.rawJSON(v === 0 ? "-0.0" : v > 0 ? "1e999" : "-1e999");
  });
}

/** Returns the summaries that summariesToText wrote. */
export function summariesFromText(text: string): Record<string, Summary> {
  const summaries: Record<string, Summary> = JSON.parse(text);
  for (const summary of Object.values(summaries)) {
    summary.last ??= NaN;
    summary.min ??= NaN;
    summary.minStep ??= NaN;
    summary.max ??= NaN;
    summary.maxStep ??= NaN;
    summary.sum ??= NaN;
  }
  return summaries;
}

const later = `(d ->> 'step' > o ->> 'step' OR d ->> 'step' = o ->> 'step' AND (d ->> 'time' > o ->> 'time'
  OR d ->> 'time' = o ->> 'time' AND (d ->> 'last' IS NULL OR d ->> 'last' > o ->> 'last'
  OR d ->> 'last' = o ->> 'last' AND o -> 'last' = '-0.0')))`;
const better = (
  field: string,
  than: string,
  zero: string, // the one whose -0.0 makes the new value the better of two zeros
) => `(o ->> '${field}' IS NULL OR d ->> '${field}' ${than} o ->> '${field}'
  OR d ->> '${field}' = o ->> '${field}' AND (d ->> '${field}Step' < o ->> '${field}Step'
  OR d ->> '${field}Step' = o ->> '${field}Step' AND ${zero} -> '${field}' = '-0.0'))`;
// -> keeps a number's text as it stands, where ->> would print it anew, in fewer digits.
const pick = (fields: string[], when: string) =>
  fields
    .map((f) => `'${f}', json(CASE WHEN ${when} THEN d -> '${f}' ELSE o -> '${f}' END)`)
    .join(", ");
const add = (field: string) => `'${field}', d ->> '${field}' + o ->> '${field}'`;

/**
 * The SQL for `runs.metrics` after the summaries bound as JSON text at `param` are merged in. It says what
 * mergeSummaries in wire/summary.ts says, inside the statement, so that writers of one run never overtake each other.
 */
export const mergedMetrics = (param: string) => `(
  SELECT jsonb_group_object(key, json(CASE WHEN d IS NULL THEN o WHEN o IS NULL THEN d ELSE json_object(
      ${pick(["last", "step", "time"], later)},
      ${pick(["min", "minStep"], better("min", "<", "d"))},
      ${pick(["max", "maxStep"], better("max", ">", "o"))},
      ${add("sum")}, ${add("count")}, ${add("nan")}) END))
  FROM (
    -- Grouped, not joined: D1 builds no index for a join of 10,000 keys with 10,000.
    SELECT key, max(CASE WHEN is_new THEN NULL ELSE v END) AS o, max(CASE WHEN is_new THEN v END) AS d FROM (
      SELECT key, value AS v, 0 AS is_new FROM json_each(runs.metrics)
      UNION ALL SELECT key, value, 1 FROM json_each(${param}))
    GROUP BY key))`;
