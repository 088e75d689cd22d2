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

const later = `(d.v ->> 'step' > o.v ->> 'step' OR d.v ->> 'step' = o.v ->> 'step' AND (d.v ->> 'time' > o.v ->> 'time'
  OR d.v ->> 'time' = o.v ->> 'time' AND (d.v ->> 'last' IS NULL OR d.v ->> 'last' > o.v ->> 'last')))`;
const better = (field: string, than: string) => `(o.v ->> '${field}' IS NULL OR d.v ->> '${field}' ${than} o.v ->> '${field}'
  OR d.v ->> '${field}' = o.v ->> '${field}' AND d.v ->> '${field}Step' < o.v ->> '${field}Step')`;
// -> keeps a number's text as it stands, where ->> would print it anew, in fewer digits.
const pick = (fields: string[], when: string) =>
  fields.map((f) => `'${f}', json(CASE WHEN ${when} THEN d.v -> '${f}' ELSE o.v -> '${f}' END)`).join(", ");
const add = (field: string) => `'${field}', d.v ->> '${field}' + o.v ->> '${field}'`;

/**
 * The SQL for `runs.metrics` after the summaries bound as JSON text at `param` are merged in. It says what
 * mergeSummaries in wire/summary.ts says, inside the statement, so that writers of one run never overtake each other.
 */
export const mergedMetrics = (param: string) => `(
  WITH d AS MATERIALIZED (SELECT key, value AS v FROM json_each(${param})),
       o AS MATERIALIZED (SELECT key, value AS v FROM json_each(runs.metrics))
  SELECT jsonb_group_object(key, json(v)) FROM (
    SELECT o.key, o.v FROM o LEFT JOIN d ON d.key = o.key WHERE d.key IS NULL
    UNION ALL
    SELECT d.key, CASE WHEN o.key IS NULL THEN d.v ELSE json_object(
      ${pick(["last", "step", "time"], later)},
      ${pick(["min", "minStep"], better("min", "<"))},
      ${pick(["max", "maxStep"], better("max", ">"))},
      ${add("sum")}, ${add("count")}, ${add("nan")}) END
    FROM d LEFT JOIN o ON o.key = d.key))`;
