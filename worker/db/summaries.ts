import type { Summary } from "../../wire/summary.ts";

/**
 * Summaries at rest are JSON that SQLite can compare: ±Infinity is ±1e999, which SQLite and JSON.parse both read as
 * infinite, and NaN is null, which no comparison holds of.
 */
function summariesToText(summaries: Map<string, Summary>): string {
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
 * The SQL for summaries after others are merged into them: `old` and `added` are JSON, and of the added those keys count
 * for which `of` holds. It says what mergeSummaries in wire/summary.ts says, inside the statement, so that writers of one
 * run never overtake each other.
 */
const merged = (old: string, added: string, of: string) => `(
  SELECT jsonb_group_object(key, json(CASE WHEN d IS NULL THEN o WHEN o IS NULL THEN d ELSE json_object(
      ${pick(["last", "step", "time"], later)},
      ${pick(["min", "minStep"], better("min", "<", "d"))},
      ${pick(["max", "maxStep"], better("max", ">", "o"))},
      ${add("sum")}, ${add("count")}, ${add("nan")}) END))
  FROM (
    -- Grouped, not joined: D1 builds no index for a join of 10,000 keys with 10,000.
    SELECT key, max(CASE WHEN is_new THEN NULL ELSE v END) AS o, max(CASE WHEN is_new THEN v END) AS d FROM (
      SELECT key, value AS v, 0 AS is_new FROM json_each(${old})
      UNION ALL SELECT key, value, 1 FROM json_each(${added}) WHERE ${of})
    GROUP BY key))`;

/** From this many bytes on runs.metrics takes no new keys: the row is read with every list of runs, and D1's end at 2 MB. */
const fullMetrics = 1_000_000;
/** A part of more_metrics takes no new keys from this many bytes on. */
const fullPart = 1_500_000;
const parts = 32;
/** One statement takes at most this many bytes of summaries. */
const maxChunk = 400_000;

/** Keys that no longer fit fail the whole batch, with this in the error's message. */
export const tooManyMetrics = /malformed JSON/i;

/**
 * Returns the statements that merge a request's summaries into those of a run, if `accepts`, a condition on the row of
 * `runs`, holds: into runs.metrics, or where that is full and does not have the key, into more_metrics. The last of them
 * also makes the changes `sets` to the run. `run` is SQL for its row number, `bound` the parameters of all, ?1 and on.
 */
export function mergeInto(
  db: D1Database,
  summaries: Map<string, Summary>,
  { run, sets, accepts, bound }: { run: string; sets: string; accepts: string; bound: unknown[] },
): D1PreparedStatement[] {
  const param = `?${bound.length + 1}`;
  // Named by `run`, not by the row at hand: what depends on a row, SQLite looks up anew for each of thousands of keys.
  const isOther = `key NOT IN (SELECT had.key FROM json_each((SELECT metrics FROM runs AS own WHERE own.no = ${run})) AS had)`;
  const moreMetrics = db.prepare(
    `INSERT INTO more_metrics (workspace, run, part, metrics)
     SELECT runs.workspace, no, p.key,
       CASE WHEN length(m.metrics) > ${fullPart} AND (SELECT count(*) FROM json_each(m.metrics)) < (SELECT count(*) FROM (
         SELECT key FROM json_each(m.metrics) UNION SELECT key FROM json_each(p.value) WHERE ${isOther}))
       THEN jsonb('too many metrics')
       ELSE ${merged("coalesce(m.metrics, '{}')", "p.value", isOther)} END
     FROM runs CROSS JOIN json_each(${param}) AS p
     LEFT JOIN more_metrics AS m ON m.run = no AND m.part = p.key
     WHERE ${accepts}
       AND (length(runs.metrics) >= ${fullMetrics} OR EXISTS (SELECT 1 FROM more_metrics AS w WHERE w.run = no))
       AND EXISTS (SELECT 1 FROM json_each(p.value) WHERE ${isOther})
     ON CONFLICT (run, part) DO UPDATE SET metrics = excluded.metrics`,
  );
  const ownMetrics = (more: string) =>
    db.prepare(
      `UPDATE runs SET metrics = ${merged("runs.metrics", param, `key NOT IN (SELECT k.key FROM more_metrics AS w, json_each(w.metrics) AS k WHERE w.run = ${run})`)}${more}
       WHERE ${accepts}`,
    );
  const chunks = chunksOf(summaries);
  return chunks.flatMap((chunk, i) => {
    const isLast = i === chunks.length - 1;
    const inParts = Map.groupBy(chunk, ([key]) => partOf(key));
    const partsText = [...inParts].map(
      ([part, own]) => `"${part}":${summariesToText(new Map(own))}`,
    );
    return [
      moreMetrics.bind(...bound, `{${partsText.join(",")}}`),
      ownMetrics(isLast ? `, ${sets}` : "").bind(...bound, summariesToText(new Map(chunk))),
    ];
  });
}

/** Cuts summaries into chunks that a statement takes, those of one part together. */
function chunksOf(summaries: Map<string, Summary>): [string, Summary][][] {
  const bytesEach = 200; // about; long keys are counted as they are
  const entries = [...summaries];
  const size = (key: string) => bytesEach + 3 * key.length;
  if (entries.reduce((n, [key]) => n + size(key), 0) <= maxChunk) return [entries];
  entries.sort(([a], [b]) => partOf(a) - partOf(b));
  const chunks: [string, Summary][][] = [];
  let left = 0;
  for (const entry of entries) {
    if (left < size(entry[0])) {
      chunks.push([]);
      left = maxChunk;
    }
    chunks.at(-1)!.push(entry);
    left -= size(entry[0]);
  }
  return chunks;
}

/** Returns which part of more_metrics a key belongs to: FNV-1a over its characters. */
export function partOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % parts;
}
