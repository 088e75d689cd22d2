import type { Tags } from "../../wire/config.ts";
import type { Assessment, Trace, TraceState } from "../../wire/trace.ts";
import { workspace, type Env } from "../env.ts";
import { assessmentsFrom, assessmentsOf, insertAssessment } from "./assessments.ts";
import { digestOf, logChange, now } from "./events.ts";
import type { Selection } from "./models.ts";
import { pageOf, type Order } from "./page.ts";
import { selectSpans, type KeptSpan } from "./spans.ts";

interface Row extends Omit<Trace, "tags" | "metadata" | "runs" | "prompts" | "assessments"> {
  tags: string;
  metadata: string;
  runs: string;
  prompts: string;
}

const columns = `id, experiment, name, state, started, duration, request, response, client, json(tags) AS tags, json(metadata) AS metadata,
  json(runs) AS runs, json(prompts) AS prompts`;

const toTrace = (row: Row, assessments: Assessment[] = []): Trace => ({
  id: row.id,
  experiment: row.experiment,
  name: row.name,
  state: row.state,
  started: row.started,
  duration: row.duration,
  request: row.request,
  response: row.response,
  client: row.client,
  tags: JSON.parse(row.tags),
  metadata: JSON.parse(row.metadata),
  runs: Object.keys(JSON.parse(row.runs)),
  prompts: Object.keys(JSON.parse(row.prompts)),
  assessments,
});

/** The statements that select traces by their ids, and what was said of them. */
const selectByIds = (db: D1Database, ids: string[]): D1PreparedStatement[] => [
  db
    .prepare(
      `SELECT ${columns} FROM traces WHERE workspace = ? AND id IN (SELECT value FROM json_each(?))`,
    )
    .bind(workspace, JSON.stringify(ids)),
  assessmentsOf(db, ids),
];

/** Returns what selectByIds found at the end of a batch, in the order of the ids. */
function tracesFrom(results: D1Result[], ids: string[]): Trace[] {
  const [rows, said] = results.slice(-2);
  const byId = new Map((rows!.results as Row[]).map((row) => [row.id, row]));
  const assessments = assessmentsFrom(said!);
  return ids.flatMap((id) => {
    const row = byId.get(id);
    return row ? [toTrace(row, assessments.get(id))] : [];
  });
}

/** Returns the traces of some ids, in their order; those that are not there are left out. */
export async function findTraces(db: D1Database, ids: string[]): Promise<Trace[]> {
  const wanted = [...new Set(ids)];
  return tracesFrom(await db.batch(selectByIds(db, wanted)), wanted);
}

/** The expressions that traces are ordered by. */
export const traceOrder = {
  id: "id",
  started: "started",
  duration: "duration",
  ended: "started + duration",
  state: "CASE state WHEN 'error' THEN 0 WHEN 'running' THEN 1 WHEN 'ok' THEN 2 ELSE 3 END",
  name: "name",
  client: "client",
  experiment: "experiment",
} as const;

/** Orders traces by the text of a tag or a metadatum. */
export const byText = (column: "tags" | "metadata", key: string, descending: boolean): Order => ({
  by: `(SELECT value FROM json_each(${column}) WHERE key = ?)`,
  bound: [key],
  descending,
  nullable: true,
});

/** A trace as a search looks at it: with its spans, where it asks for them. */
export interface FoundTrace {
  trace: Trace;
  spans: KeptSpan[];
}

/** What a search asks of all its traces, as far as the database can tell. */
export interface Narrowing {
  state?: TraceState;
  name?: string;
  tags?: [key: string, value: string][];
  metadata?: [key: string, value: string][];
  /** the id of a run that a trace was made in or linked to */
  run?: string;
  /** times in ms since 1970, both included */
  from?: number;
  to?: number;
}

/** A condition of an SQL query, with the values of its parameters. */
interface Condition {
  sql: string;
  bound: (string | number)[];
}

function conditionsOf(narrowing: Narrowing): Condition[] {
  const { state, name, tags = [], metadata = [], run, from, to } = narrowing;
  const has = (column: string) =>
    `EXISTS (SELECT 1 FROM json_each(${column}) WHERE key = ? AND value = ?)`;
  return [
    ...(state === undefined ? [] : [{ sql: "state = ?", bound: [state] }]),
    ...(name === undefined ? [] : [{ sql: "name = ?", bound: [name] }]),
    ...tags.map((bound) => ({ sql: has("tags"), bound })),
    ...metadata.map((bound) => ({ sql: has("metadata"), bound })),
    ...(run === undefined
      ? []
      : [
          {
            sql: `(${has("metadata")} OR EXISTS (SELECT 1 FROM json_each(runs) WHERE key = ?))`,
            bound: ["mlflow.sourceRun", run, run],
          },
        ]),
    ...(from === undefined ? [] : [{ sql: "started >= ?", bound: [from] }]),
    ...(to === undefined ? [] : [{ sql: "started <= ?", bound: [to] }]),
  ];
}

/** Returns a page of the traces of experiments (ids), or of all. */
export const selectTraces = (
  stores: Pick<Env, "DB" | "FILES">,
  {
    experiments,
    narrowing = {},
    needsSpans = false,
    ...selection
  }: Selection<FoundTrace> & {
    experiments: string[] | undefined;
    narrowing?: Narrowing;
    needsSpans?: boolean;
  },
) => {
  const conditions: Condition[] = [
    { sql: "workspace = ?", bound: [workspace] },
    ...(experiments
      ? [
          {
            sql: "experiment IN (SELECT value FROM json_each(?))",
            bound: [JSON.stringify(experiments)],
          },
        ]
      : []),
    ...conditionsOf(narrowing),
  ];
  return pageOf<Row, FoundTrace>(stores.DB, {
    columns,
    from: "traces",
    where: conditions.map(({ sql }) => sql).join(" AND "),
    bound: conditions.flatMap(({ bound }) => bound),
    itemsOf: async (rows) => {
      const ids = rows.map(({ id }) => id);
      const said = rows.length ? await assessmentsOf(stores.DB, ids).all() : undefined;
      const assessments = said && assessmentsFrom(said);
      const found = rows.map((row) => toTrace(row, assessments?.get(row.id)));
      const spans = needsSpans ? await selectSpans(stores, ids, maxSearched) : undefined;
      return found.map((trace) => ({ trace, spans: spans?.get(trace.id) ?? [] }));
    },
    ...(needsSpans ? { chunk: 20 } : {}),
    ...selection,
  });
};

/** A search looks at so many characters of a trace's spans, the first. */
const maxSearched = 2_000_000;

/** What is told of a trace at its end. */
export type NewTrace = Omit<Trace, "runs" | "prompts" | "assessments">;

/**
 * Keeps what is told of a trace, with what is said of it, and returns it as it is kept. It stands above what its spans said;
 * tags and metadata join those that are there.
 */
export async function putTrace(
  db: D1Database,
  trace: NewTrace,
  said: Assessment[],
  who: string,
): Promise<Trace> {
  const { id, experiment, name, state, started, duration, request, response, client } = trace;
  const tags = JSON.stringify(trace.tags);
  const metadata = JSON.stringify(trace.metadata);
  const assessments = await Promise.all(said.map((it) => insertAssessment(db, it, who)));
  const results = await db.batch([
    db
      .prepare(
        `INSERT INTO traces (workspace, id, experiment, name, state, started, duration, request, response, client, told, tags, metadata, runs, prompts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1, jsonb(?11), jsonb(?12), jsonb('{}'), jsonb('{}'))
         ON CONFLICT (id) DO UPDATE SET experiment = ?3, name = coalesce(?4, name), state = ?5, started = ?6, duration = ?7,
           request = coalesce(?8, request), response = coalesce(?9, response), client = coalesce(?10, client), told = 1,
           tags = jsonb_patch(tags, ?11), metadata = jsonb_patch(metadata, ?12) WHERE workspace = ?1`,
      )
      .bind(
        workspace,
        id,
        experiment,
        name,
        state,
        started,
        duration,
        request,
        response,
        client,
        tags,
        metadata,
      ),
    logChange(db, { who, what: "trace.put", subject: id, digest: await digestOf(trace) }),
    ...assessments.flat(),
    ...selectByIds(db, [id]),
  ]);
  return tracesFrom(results, [id])[0]!;
}

/** Sets tags of a trace, and takes those away that are null; what is so already stays as it is. */
export async function tagTrace(
  db: D1Database,
  id: string,
  patch: Record<string, string | null>,
  who: string,
): Promise<void> {
  const body = JSON.stringify(patch);
  await db.batch([
    db
      .prepare(
        `UPDATE traces SET tags = jsonb_patch(tags, ?1) WHERE workspace = ?2 AND id = ?3 AND json(tags) <> json(jsonb_patch(tags, ?1))`,
      )
      .bind(body, workspace, id),
    logChange(db, { who, what: "trace.tag", subject: id, digest: await digestOf(patch) }),
  ]);
}

/** Gives a trace another name, or none. */
export async function nameTrace(
  db: D1Database,
  id: string,
  name: string | null,
  who: string,
): Promise<void> {
  await db.batch([
    db
      .prepare("UPDATE traces SET name = ?1 WHERE workspace = ?2 AND id = ?3 AND name IS NOT ?1")
      .bind(name, workspace, id),
    logChange(db, { who, what: "trace.rename", subject: id, digest: await digestOf({ name }) }),
  ]);
}

/** Links traces (ids) to a run, or to versions of prompts (name/number); those that are not there are left out. */
export async function linkTraces(
  db: D1Database,
  ids: string[],
  kind: "runs" | "prompts",
  targets: string[],
  who: string,
): Promise<void> {
  const links: Tags = Object.fromEntries(targets.map((target) => [target, ""]));
  const digest = await digestOf({ kind, targets });
  await db.batch(
    ids.flatMap((id) => [
      db
        .prepare(
          `UPDATE traces SET ${kind} = jsonb_patch(${kind}, ?1) WHERE workspace = ?2 AND id = ?3 AND json(${kind}) <> json(jsonb_patch(${kind}, ?1))`,
        )
        .bind(JSON.stringify(links), workspace, id),
      logChange(db, { who, what: "trace.link", subject: id, digest }),
    ]),
  );
}

/** Which traces of an experiment to delete: those named, those that began by a time, the oldest of them first. */
export interface Doomed {
  experiment: string;
  ids: string[] | undefined;
  until: number | undefined;
  limit: number | undefined;
}

/** So many traces are deleted at a time. */
const maxDeleted = 1_000;

/** Deletes traces with their spans and what was said of them; returns how many went. Objects of spans are collected later, by collectObjects. */
export async function deleteTraces(
  db: D1Database,
  { experiment, ids, until, limit }: Doomed,
  who: string,
): Promise<number> {
  let deleted = 0;
  for (let left = limit ?? Infinity; left > 0;) {
    const wanted = Math.min(left, maxDeleted);
    const { results } = await db
      .prepare(
        `SELECT id FROM traces WHERE workspace = ?1 AND experiment = ?2 AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3)))
         AND (?4 IS NULL OR started <= ?4) ORDER BY started, id LIMIT ?5`,
      )
      .bind(workspace, experiment, ids ? JSON.stringify(ids) : null, until ?? null, wanted)
      .all<{ id: string }>();
    const found = JSON.stringify(results.map(({ id }) => id));
    const among = "IN (SELECT value FROM json_each(?))";
    if (results.length === 0) return deleted;
    await db.batch([
      ...["spans", "assessments"].map((table) =>
        db.prepare(`DELETE FROM ${table} WHERE trace ${among}`).bind(found),
      ),
      db.prepare(`DELETE FROM traces WHERE id ${among}`).bind(found),
      db
        .prepare(
          `INSERT INTO events (workspace, at, who, what, subject, digest) SELECT ?, ${now}, ?, 'trace.delete', value, ? FROM json_each(?)`,
        )
        .bind(workspace, who, await digestOf("trace.delete"), found),
    ]);
    deleted += results.length;
    left -= results.length;
    if (results.length < wanted) return deleted;
  }
  return deleted;
}

/**
 * Adds what is not here of a trace from elsewhere: itself, tags, metadata, what is said of it, and how it ended. What is
 * here stays as it is.
 */
export async function addTrace(
  db: D1Database,
  trace: NewTrace,
  said: Assessment[],
  who: string,
): Promise<void> {
  const { id, experiment, name, state, started, duration, request, response, client } = trace;
  const added = (column: string, of: string) =>
    `jsonb_patch(jsonb_patch(${column}, ${of}), ${column})`;
  const assessments = await Promise.all(said.map((it) => insertAssessment(db, it, who)));
  await db.batch([
    db
      .prepare(
        `INSERT INTO traces (workspace, id, experiment, name, state, started, duration, request, response, client, told, tags, metadata, runs, prompts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1, jsonb(?11), jsonb(?12), jsonb('{}'), jsonb('{}'))
         ON CONFLICT (id) DO UPDATE SET tags = ${added("tags", "?11")}, metadata = ${added("metadata", "?12")}, name = coalesce(name, ?4),
           duration = CASE WHEN state = 'running' THEN coalesce(?7, duration) ELSE duration END,
           request = coalesce(request, ?8), response = coalesce(response, ?9), state = iif(state = 'running', ?5, state)
         WHERE workspace = ?1 AND (json(tags) <> json(${added("tags", "?11")}) OR json(metadata) <> json(${added("metadata", "?12")})
           OR state = 'running' AND ?5 <> 'running')`,
      )
      .bind(
        workspace,
        id,
        experiment,
        name,
        state,
        started,
        duration,
        request,
        response,
        client,
        JSON.stringify(trace.tags),
        JSON.stringify(trace.metadata),
      ),
    logChange(db, { who, what: "trace.add", subject: id, digest: await digestOf(trace) }),
    ...assessments.flat(),
  ]);
}
