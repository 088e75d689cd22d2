import type * as v from "valibot";
import { flattenParams, type Params } from "../../wire/config.ts";
import { ApiError, shown } from "../../wire/error.ts";
import type { NewExperiment } from "../../wire/experiment.ts";
import { isId, newId } from "../../wire/id.ts";
import { toJSON } from "../../wire/json.ts";
import { wordsFromId } from "../../wire/run-name.ts";
import { isStalled, type Finish, type NewRun, type Run, type RunPatch } from "../../wire/run.ts";
import { workspace } from "../env.ts";
import { digestOf, logChange, now } from "./events.ts";
import { insertExperiment, maxAttempts } from "./experiments.ts";
import type { PointRun } from "./points.ts";
import { retireSegments } from "./segments.ts";
import { summariesFromText } from "./summaries.ts";
import { patchTags } from "./tags.ts";

const columns = `no, id, experiment, number, name, state, json(params) AS params, json(tags) AS tags, note, parent, source, error,
  json(metrics) AS metrics, points, lines, started, ended, heartbeat, archived, deleted, touched, rev, digest, ${now} AS now`;

interface Row extends Omit<Run, "params" | "tags" | "metrics" | "stalled"> {
  no: number;
  params: string;
  tags: string;
  metrics: string;
  touched: number;
  rev: number;
  digest: string;
  now: number;
}

/** A run with its place in the stream of changes. */
export interface FoundRun extends Run {
  no: number;
  touched: number;
}

function toRun({ rev: _, digest: __, now: at, ...row }: Row, more: MoreMetrics[] = []): FoundRun {
  return {
    ...row,
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
  const [row, more] = await db.batch<Row & MoreMetrics>([
    db.prepare(`SELECT ${columns} FROM runs WHERE workspace = ? AND id = ?`).bind(workspace, id),
    db
      .prepare(`${moreMetrics} = (SELECT no FROM runs WHERE workspace = ? AND id = ?)`)
      .bind(workspace, id),
  ]);
  if (!row!.results[0]) throw noSuchRun(id);
  return toRun(row!.results[0], more!.results);
}

const noSuchRun = (id: string) =>
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

/** Returns the runs of the given row numbers, newest first. */
export async function selectRunsByNumber(db: D1Database, numbers: number[]): Promise<FoundRun[]> {
  const list = JSON.stringify(numbers);
  const [rows, more] = await db.batch<Row & MoreMetrics>([
    db
      .prepare(
        `SELECT ${columns} FROM runs WHERE no IN (SELECT value FROM json_each(?)) ORDER BY started DESC, no DESC`,
      )
      .bind(list),
    db.prepare(`${moreMetrics} IN (SELECT value FROM json_each(?))`).bind(list),
  ]);
  const moreOf = Map.groupBy(more!.results, ({ run }) => run);
  return rows!.results.map((row) => toRun(row, moreOf.get(row.no)));
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
): Promise<Run> {
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
  const byName = isId(run.experiment)
    ? []
    : [
        insertExperiment(db, experimentId, experiment, await digestOf(experiment), id),
        logChange(db, {
          who,
          what: "experiment.create",
          subject: experimentId,
          digest: await digestOf(experiment),
        }),
      ];
  await db.batch([
    ...byName,
    db
      .prepare(
        `INSERT INTO runs (workspace, id, experiment, number, name, state, params, tags, note, parent, source, metrics, started, heartbeat, touched, digest)
         SELECT ?1, ?2, e.id, n, coalesce(?3, ?13 || '-' || n), ?4, jsonb(?5), jsonb(?6), ?7, ?8, ?9,
           jsonb('{}'), coalesce(?10, ${now}), ${now}, ${now}, ?11
         FROM (SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM runs WHERE experiment = experiments.id) AS n
           FROM experiments WHERE workspace = ?1 AND ${isId(run.experiment) ? "id" : "name"} = ?12) AS e
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
  ]);
  const row = await findRow(db, id);
  if (!row)
    throw new ApiError("RESOURCE_DOES_NOT_EXIST", `experiment not found: ${shown(run.experiment)}`);
  if (row.digest !== digest)
    throw new ApiError("RESOURCE_ALREADY_EXISTS", `run already exists with other content: ${id}`);
  return selectRun(db, id);
}

/** Changes a run's name, note and tags, and adds params; a param that is set keeps its value. What is so already stays as it is. */
export async function patchRun(
  db: D1Database,
  id: string,
  patch: v.InferOutput<typeof RunPatch>,
  who: string,
): Promise<Run> {
  const digest = await digestOf(toJSON(patch));
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const row = await selectRow(db, id);
    const { name = row.name, note = row.note } = patch;
    const tags = toJSON(patchTags(JSON.parse(row.tags), patch.tags));
    const before = flattenParams(JSON.parse(row.params));
    const params = toJSON(addParams(before, patch.params ?? {}));
    if (name === row.name && note === row.note && tags === row.tags && params === toJSON(before))
      return selectRun(db, id);
    const [update] = await db.batch([
      db
        .prepare(
          `UPDATE runs SET name = ?, note = ?, tags = jsonb(?), params = jsonb(?), rev = rev + 1, touched = max(${now}, touched + 1)
           WHERE no = ? AND rev = ?`,
        )
        .bind(name, note, tags, params, row.no, row.rev),
      logChange(db, { who, what: "run.patch", subject: id, digest }),
    ]);
    if (update!.meta.changes) return selectRun(db, id);
  }
  throw new ApiError("TEMPORARILY_UNAVAILABLE", `run is being changed by others: ${id}`);
}

function addParams(params: Params, added: Params): Params {
  for (const [key, value] of Object.entries(added))
    if (Object.hasOwn(params, key) && !Object.is(params[key], value))
      throw new ApiError(
        "RESOURCE_ALREADY_EXISTS",
        `param is already set: ${key} = ${shown(params[key])}, not ${shown(value)}`,
      );
  return { ...params, ...added };
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
export async function resumeRun(db: D1Database, id: string, who: string): Promise<Run> {
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
): Promise<Run> {
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
    ...["tail", "segments", "receipts", "more_metrics", "console", "files"].map((table) =>
      db.prepare(`DELETE FROM ${table} WHERE run = ${gone}`).bind(no),
    ),
    db.prepare("DELETE FROM runs WHERE no = ? AND deleted IS NOT NULL").bind(no),
    logChange(db, { who, what: "run.purge", subject: id, digest: await digestOf("run.purge") }),
  ]);
}
