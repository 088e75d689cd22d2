import type * as v from "valibot";
import { flattenParams, type Params } from "../../wire/config.ts";
import { ApiError, shown } from "../../wire/error.ts";
import type { NewExperiment } from "../../wire/experiment.ts";
import { isExperimentId, newId } from "../../wire/id.ts";
import { toJSON, withoutDigits } from "../../wire/json.ts";
import { wordsFromId } from "../../wire/run-name.ts";
import {
  isStalled,
  type Finish,
  type NewRun,
  type Run,
  type RunPatch,
  type RunState,
} from "../../wire/run.ts";
import { workspace } from "../env.ts";
import { digestOf, logChange, now } from "./events.ts";
import { insertExperiment, maxAttempts } from "./experiments.ts";
import type { PointRun } from "./points.ts";
import { retireSegments } from "./segments.ts";
import { summariesFromText } from "./summaries.ts";
import { patchTags } from "./tags.ts";

const columns = `no, id, experiment, number, name, state, json(params) AS params, json(tags) AS tags, note, parent, source, error,
  json(metrics) AS metrics, points, lines, started, ended, heartbeat, archived, deleted, touched, rev, digest, ${now} AS now,
  (SELECT artifacts FROM experiments AS e WHERE e.id = runs.experiment) AS artifacts`;

interface Row extends Omit<Run, "params" | "tags" | "metrics" | "stalled"> {
  no: number;
  params: string;
  tags: string;
  metrics: string;
  touched: number;
  rev: number;
  digest: string;
  now: number;
  artifacts: string | null;
}

/** A run with its place in the stream of changes, and what doors know of it besides. */
export interface FoundRun extends Run {
  no: number;
  touched: number;
  /** its params as they are stored, numbers in the digits they were sent in */
  paramsText: string;
  /** where the files of its experiment's runs lie, if not here: a URI */
  artifacts: string | null;
}

/** Returns a found run as it is shown. */
export function runOf({
  no: _,
  touched: __,
  paramsText: ___,
  artifacts: ____,
  ...run
}: FoundRun): Run {
  return run;
}

function toRun({ rev: _, digest: __, now: at, ...row }: Row, more: MoreMetrics[] = []): FoundRun {
  return {
    ...row,
    paramsText: row.params,
    params: flattenParams(JSON.parse(row.params)), // gives NaN and ±Infinity back their type
    tags: JSON.parse(row.tags),
    metrics: Object.fromEntries(
      [row, ...more].flatMap(({ metrics }) => Object.entries(summariesFromText(metrics))),
    ),
    stalled: isStalled(row, at),
  };
}

/** Metrics of a run of thousands, beside those in its row. */
interface MoreMetrics {
  run: number;
  metrics: string;
}

const moreMetrics = "SELECT run, json(metrics) AS metrics FROM more_metrics WHERE run";

/** Returns the run of an id, deleted or not; throws where there is none. */
export async function selectRun(db: D1Database, id: string): Promise<FoundRun> {
  const run = runFrom(await db.batch<Row & MoreMetrics>(selectOne(db, id)));
  if (!run) throw noSuchRun(id);
  return toRun(...run);
}

/** The last two statements of a batch that ends with a run. */
const selectOne = (db: D1Database, id: string): D1PreparedStatement[] => [
  db.prepare(`SELECT ${columns} FROM runs WHERE workspace = ? AND id = ?`).bind(workspace, id),
  db
    .prepare(`${moreMetrics} = (SELECT no FROM runs WHERE workspace = ? AND id = ?)`)
    .bind(workspace, id),
];

/** Returns what selectOne found. */
function runFrom(results: D1Result<Row & MoreMetrics>[]): [Row, MoreMetrics[]] | undefined {
  const [row, more] = results.slice(-2);
  return row!.results[0] && [row!.results[0], more!.results];
}

export const noSuchRun = (id: string) =>
  new ApiError("RESOURCE_DOES_NOT_EXIST", `run not found: ${shown(id)}`);

async function selectRow(db: D1Database, id: string): Promise<Row> {
  const row = await findRow(db, id);
  if (!row) throw noSuchRun(id);
  return row;
}

function findRow(db: D1Database, id: string): Promise<Row | null> {
  return db
    .prepare(`SELECT ${columns} FROM runs WHERE workspace = ? AND id = ?`)
    .bind(workspace, id)
    .first<Row>();
}

/** At most so many bytes of runs are read at once. */
const maxRead = 12_000_000;

/** Returns the runs of row numbers, in their order, as many from the first on as may be read at once, and at least one. */
export async function selectRunsByNo(db: D1Database, nos: number[]): Promise<FoundRun[]> {
  if (!nos.length) return [];
  const wanted = JSON.stringify(nos);
  // The length of a value is known without reading it.
  const page = `SELECT place, no FROM (SELECT wanted.key AS place, no,
      sum(length(params) + length(tags) + length(metrics) + length(note) + 500) OVER (ORDER BY wanted.key) AS total
      FROM json_each(?1) AS wanted CROSS JOIN runs ON no = wanted.value)
    WHERE place = 0 OR total < ${maxRead}`;
  const [rows, more] = await db.batch<Row & MoreMetrics>([
    db
      .prepare(
        `SELECT ${columns} FROM (${page}) AS page CROSS JOIN runs USING (no) ORDER BY page.place`,
      )
      .bind(wanted),
    db.prepare(`${moreMetrics} IN (SELECT no FROM (${page}))`).bind(wanted),
  ]);
  const moreOf = Map.groupBy(more!.results, ({ run }) => run);
  return rows!.results.map((row) => toRun(row, moreOf.get(row.no)));
}

/** Reads the runs of row numbers, in their order, as many at once as may be in memory. */
export async function* pagesOfRuns(db: D1Database, nos: number[]): AsyncGenerator<FoundRun[]> {
  const left = new Set(nos);
  while (left.size) {
    const asked = [...left].slice(0, 512);
    const page = await selectRunsByNo(db, asked);
    yield page;
    // Of those that are not there some may be told before a page is full, or none at all.
    const last = page.at(-1);
    const until = page.length && last ? asked.indexOf(last.no) + 1 : asked.length;
    for (const no of asked.slice(0, until)) left.delete(no);
  }
}

/** Which runs to read points of: those named themselves, archived and deleted or not, then those of experiments, newest first. */
export async function selectPointRuns(
  db: D1Database,
  { experiments, runs }: { experiments: string[]; runs: string[] },
): Promise<PointRun[]> {
  const { results } = await db
    .prepare(
      `SELECT no, id, touched, points, tail FROM runs WHERE workspace = ?1
       AND (id IN (SELECT value FROM json_each(?2)) OR archived IS NULL AND deleted IS NULL AND experiment IN (SELECT value FROM json_each(?3)))
       ORDER BY started DESC, no DESC`,
    )
    .bind(workspace, JSON.stringify(runs), JSON.stringify(experiments))
    .all<PointRun>();
  const byId = new Map(results.map((run) => [run.id, run]));
  const named = new Set(
    runs.map((id) => {
      const run = byId.get(id);
      if (!run) throw noSuchRun(id);
      return run;
    }),
  );
  return [...named, ...results.filter((run) => !named.has(run))];
}

/** Returns the numbers (`no`) of runs by their ids, in order; throws where some are not there, and names the first. */
export async function selectNumbers(db: D1Database, ids: string[]): Promise<number[]> {
  const { results } = await db
    .prepare(
      `SELECT each.value AS id, no FROM json_each(?) AS each LEFT JOIN runs ON workspace = ? AND runs.id = each.value GROUP BY each.value ORDER BY no`,
    )
    .bind(JSON.stringify(ids), workspace)
    .all<{ id: string; no: number | null }>();
  const unknown = new Set(results.filter(({ no }) => no === null).map(({ id }) => id));
  if (!unknown.size) return results.map(({ no }) => no!);
  const named = [...new Set(ids)].filter((id) => unknown.has(id));
  const first = named.slice(0, 3).join(", ");
  throw new ApiError(
    "RESOURCE_DOES_NOT_EXIST",
    `${named.length > 1 ? "runs" : "run"} not found: ${first}${named.length > 3 ? ` and ${named.length - 3} more` : ""}`,
  );
}

/** Returns the keys of the metrics of runs, sorted. */
export async function selectMetricKeys(db: D1Database, runs: number[]): Promise<string[]> {
  const { results } = await db
    .prepare(
      `WITH wanted AS (SELECT value AS run FROM json_each(?))
       SELECT k.key FROM wanted CROSS JOIN runs ON no = wanted.run, json_each(metrics) AS k
       UNION SELECT k.key FROM wanted CROSS JOIN more_metrics AS m ON m.run = wanted.run, json_each(m.metrics) AS k`,
    )
    .bind(JSON.stringify(runs))
    .all<{ key: string }>();
  return results.map(({ key }) => key).sort();
}

/**
 * Creates a run, and its experiment where that is a name not yet known. The same request again, under the same id,
 * answers with the run as it is by then and changes nothing.
 */
export async function createRun(
  db: D1Database,
  run: v.InferOutput<typeof NewRun>,
  who: string,
): Promise<FoundRun> {
  const digest = await digestOf(toJSON(run));
  const id = run.id ?? newId();
  const experiment: v.InferOutput<typeof NewExperiment> = {
    name: run.experiment,
    hypothesis: "",
    metric: null,
    direction: "min",
    conclusion: "",
    note: "",
    tags: {},
  };
  const experimentId = newId();
  const byName = isExperimentId(run.experiment)
    ? []
    : [
        insertExperiment(db, experimentId, experiment, await digestOf(experiment), { forRun: id }),
        logChange(db, {
          who,
          what: "experiment.create",
          subject: experimentId,
          digest: await digestOf(experiment),
        }),
      ];
  const results = await db.batch<Row & MoreMetrics>([
    ...byName,
    db
      .prepare(
        `INSERT INTO runs (workspace, id, experiment, number, name, state, params, tags, note, parent, source, metrics, started, heartbeat, touched, digest)
         SELECT ?1, ?2, e.id, n, coalesce(?3, ?13 || '-' || n), ?4, jsonb(?5), jsonb(?6), ?7, ?8, ?9,
           jsonb('{}'), coalesce(?10, ${now}), ${now}, ${now}, ?11
         FROM (SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM runs WHERE experiment = experiments.id) AS n
           FROM experiments WHERE workspace = ?1 AND ${isExperimentId(run.experiment) ? "id" : "name"} = ?12) AS e
         WHERE true
         ON CONFLICT DO NOTHING`,
      )
      .bind(
        workspace,
        id,
        run.name ?? null,
        run.state,
        toJSON(run.params),
        toJSON(run.tags),
        run.note,
        run.parent,
        run.source,
        run.started ?? null,
        digest,
        run.experiment,
        wordsFromId(id),
      ),
    logChange(db, { who, what: "run.create", subject: id, digest }),
    ...selectOne(db, id),
  ]);
  const found = runFrom(results);
  if (!found)
    throw new ApiError("RESOURCE_DOES_NOT_EXIST", `experiment not found: ${shown(run.experiment)}`);
  if (found[0].digest !== digest)
    throw new ApiError("RESOURCE_ALREADY_EXISTS", `run already exists with other content: ${id}`);
  return toRun(...found);
}

/** Changes a run's name, note and tags, and adds params; a param that is set keeps its value. What is so already stays as it is. */
export async function patchRun(
  db: D1Database,
  id: string,
  patch: v.InferOutput<typeof RunPatch>,
  who: string,
): Promise<FoundRun> {
  const digest = await digestOf(toJSON(patch));
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const row = await selectRow(db, id);
    const { name = row.name, note = row.note } = patch;
    const tags = toJSON(patchTags(JSON.parse(row.tags), patch.tags));
    const added = addedParams(flattenParams(JSON.parse(row.params)), patch.params ?? {});
    const isSame = name === row.name && note === row.note && tags === row.tags;
    if (isSame && Object.keys(added).length === 0) return selectRun(db, id);
    const [update] = await db.batch([
      db
        .prepare(
          `UPDATE runs SET name = ?, note = ?, tags = jsonb(?), params = jsonb(?), rev = rev + 1, touched = max(${now}, touched + 1)
           WHERE no = ? AND rev = ?`,
        )
        .bind(name, note, tags, joinObjects(row.params, toJSON(added)), row.no, row.rev),
      logChange(db, { who, what: "run.patch", subject: id, digest }),
    ]);
    if (update!.meta.changes) return selectRun(db, id);
  }
  throw new ApiError("TEMPORARILY_UNAVAILABLE", `run is being changed by others: ${id}`);
}

/** Returns two JSON objects without a common name as one. Of what is parsed and written anew, numbers would lose their digits: 1.0, 1e-05. */
const joinObjects = (a: string, b: string): string =>
  a === "{}" ? b : b === "{}" ? a : `${a.slice(0, -1)},${b.slice(1)}`;

/** Returns those of the params that are not set yet; throws where one is set to another value. */
function addedParams(params: Params, added: Params): Params {
  for (const [key, value] of Object.entries(added))
    if (Object.hasOwn(params, key) && !Object.is(params[key], withoutDigits(value)))
      throw new ApiError(
        "RESOURCE_ALREADY_EXISTS",
        `param is already set: ${key} = ${shown(params[key])}, not ${shown(withoutDigits(value))}`,
      );
  return Object.fromEntries(Object.entries(added).filter(([key]) => !Object.hasOwn(params, key)));
}

/** Ends a run in a state. Told the same again, it stays as it is; told another state, it refuses. */
export async function finishRun(
  db: D1Database,
  id: string,
  { state, error, ended }: v.InferOutput<typeof Finish>,
  who: string,
): Promise<FoundRun> {
  await db.batch([
    db
      .prepare(
        `UPDATE runs SET state = ?, error = ?, ended = max(started, coalesce(?, ${now})), heartbeat = ${now}, rev = rev + 1, touched = max(${now}, touched + 1)
         WHERE workspace = ? AND id = ? AND state IN ('running', 'scheduled') AND deleted IS NULL`,
      )
      .bind(state, error, ended ?? null, workspace, id),
    logChange(db, {
      who,
      what: "run.finish",
      subject: id,
      digest: await digestOf({ state, error }),
    }),
  ]);
  const run = await selectRun(db, id);
  if (run.deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${id}`);
  if (run.state !== state)
    throw new ApiError("INVALID_STATE", `run is closed: ${id} (${run.state}, not ${state})`);
  return run;
}

/** Says that a run is still going, or has started again after it ended. */
export async function resumeRun(db: D1Database, id: string, who: string): Promise<FoundRun> {
  await db.batch([
    db
      .prepare(
        `UPDATE runs SET state = 'running', error = '', ended = NULL, heartbeat = ${now}, rev = rev + 1, touched = max(${now}, touched + 1)
         WHERE workspace = ? AND id = ? AND state <> 'running' AND deleted IS NULL`,
      )
      .bind(workspace, id),
    logChange(db, { who, what: "run.resume", subject: id, digest: await digestOf("running") }),
  ]);
  const run = await selectRun(db, id);
  if (run.deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${id}`);
  return run;
}

/** Adds an item to a run's tag that is a JSON list, unless it is in it already. Throws where the run is deleted. */
export async function appendToTag(
  db: D1Database,
  id: string,
  key: string,
  item: object,
  who: string,
): Promise<void> {
  const text = JSON.stringify(item);
  const list = "iif(json_valid(tags ->> ?3), tags ->> ?3, '[]')";
  const results = await db.batch<{ deleted: number | null }>([
    db
      .prepare(
        `UPDATE runs SET tags = jsonb_set(tags, ?3, json_insert(${list}, '$[#]', json(?4)) || ''), rev = rev + 1, touched = max(${now}, touched + 1)
         WHERE workspace = ?1 AND id = ?2 AND deleted IS NULL
           AND NOT EXISTS (SELECT 1 FROM json_each(${list}) AS had WHERE had.type = 'object' AND json(had.value) = json(?4))`,
      )
      .bind(workspace, id, `$.${JSON.stringify(key)}`, text),
    logChange(db, { who, what: "run.patch", subject: id, digest: await digestOf(text) }),
    db.prepare("SELECT deleted FROM runs WHERE workspace = ? AND id = ?").bind(workspace, id),
  ]);
  const [row] = results.at(-1)!.results;
  if (!row) throw noSuchRun(id);
  if (row.deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${id}`);
}

/** Gives a run a state, whichever it had, a time it ended at and a name, as far as they are given. Throws where it is deleted. */
export async function setRun(
  db: D1Database,
  id: string,
  {
    state,
    ended,
    name,
  }: { state?: RunState | undefined; ended?: number | undefined; name?: string | undefined },
  who: string,
): Promise<FoundRun> {
  const ends = "coalesce(?3, state) IN ('finished', 'failed', 'killed')";
  const results = await db.batch<Row & MoreMetrics>([
    db
      .prepare(
        `UPDATE runs SET state = coalesce(?3, state), name = coalesce(?5, name), error = iif(${ends}, error, ''),
           ended = CASE WHEN ${ends} THEN max(started, coalesce(?4, ended, ${now})) END,
           heartbeat = ${now}, rev = rev + 1, touched = max(${now}, touched + 1)
         WHERE workspace = ?1 AND id = ?2 AND deleted IS NULL
           AND (coalesce(?3, state) <> state OR coalesce(?5, name) <> name OR ${ends} AND coalesce(?4, ended) IS NOT ended)`,
      )
      .bind(workspace, id, state ?? null, ended ?? null, name ?? null),
    logChange(db, {
      who,
      what: "run.set",
      subject: id,
      digest: await digestOf({ state, ended, name }),
    }),
    ...selectOne(db, id),
  ]);
  const found = runFrom(results);
  if (!found) throw noSuchRun(id);
  if (found[0].deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${id}`);
  return toRun(...found);
}

/** Notes that a run was heard of. Not a change: it is not logged and no cursor moves. */
export async function beat(db: D1Database, id: string): Promise<void> {
  const { meta } = await db
    .prepare(`UPDATE runs SET heartbeat = ${now} WHERE workspace = ? AND id = ?`)
    .bind(workspace, id)
    .run();
  if (!meta.changes) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `run not found: ${shown(id)}`);
}

/** Deletes a run, or takes it back; what is so already stays as it is. */
export async function deleteRun(
  db: D1Database,
  id: string,
  remove: boolean,
  who: string,
): Promise<FoundRun> {
  const what = remove ? "run.delete" : "run.restore";
  await db.batch([
    db
      .prepare(
        `UPDATE runs SET deleted = ${remove ? now : "NULL"}, rev = rev + 1, touched = max(${now}, touched + 1)
         WHERE workspace = ? AND id = ? AND deleted IS ${remove ? "" : "NOT"} NULL`,
      )
      .bind(workspace, id),
    logChange(db, { who, what, subject: id, digest: await digestOf(what) }),
  ]);
  return selectRun(db, id);
}

/** Removes a deleted run for good, with its points, lines and files; the contents of its files are collected later. */
export async function purgeRun(db: D1Database, id: string, who: string): Promise<void> {
  const { no, deleted } = await selectRun(db, id);
  if (!deleted) throw new ApiError("INVALID_STATE", `run is not deleted: ${id}`);
  // A run restored meanwhile stays whole: each statement looks again.
  const gone = "(SELECT no FROM runs WHERE no = ? AND deleted IS NOT NULL)";
  await db.batch([
    retireSegments(db, gone, [no]),
    // A block of settled runs that it stands in cannot look it up any more.
    db
      .prepare(
        `UPDATE run_blocks SET dead = json_insert(dead, '$[#]', ?1)
         WHERE EXISTS (SELECT 1 FROM runs WHERE no = ?1 AND deleted IS NOT NULL AND block < 0
           AND (-block = run_blocks.no OR -block IN (SELECT c.value FROM json_each(covers) AS c)))`,
      )
      .bind(no),
    ...[
      "tail",
      "segments",
      "receipts",
      "more_metrics",
      "console",
      "files",
      "run_datasets",
      "run_models",
    ].map((table) => db.prepare(`DELETE FROM ${table} WHERE run = ${gone}`).bind(no)),
    db.prepare("DELETE FROM runs WHERE no = ? AND deleted IS NOT NULL").bind(no),
    logChange(db, { who, what: "run.purge", subject: id, digest: await digestOf("run.purge") }),
  ]);
}
