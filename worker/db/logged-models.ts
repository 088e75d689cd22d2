import type { Tags } from "../../wire/config.ts";
import {
  maxModelPoints,
  type LoggedModel,
  type ModelPoint,
  type ModelState,
} from "../../wire/logged-model.ts";
import { workspace } from "../env.ts";
import { digestOf, logChange, now } from "./events.ts";
import type { Selection } from "./models.ts";
import { pageOf, type Order } from "./page.ts";

interface Row extends Omit<LoggedModel, "params" | "tags" | "points"> {
  params: string;
  tags: string;
}

const columns =
  "id, experiment, name, type, state, location, run, json(params) AS params, json(tags) AS tags, created, updated, deleted";

const toLoggedModel = (row: Row, points: ModelPoint[] = []): LoggedModel => ({
  id: row.id,
  experiment: row.experiment,
  name: row.name,
  type: row.type,
  state: row.state,
  location: row.location,
  run: row.run,
  params: JSON.parse(row.params),
  tags: JSON.parse(row.tags),
  points,
  created: row.created,
  updated: row.updated,
  deleted: row.deleted,
});

/** The last two statements of a batch that ends with a logged model. */
const selectOne = (db: D1Database, id: string): D1PreparedStatement[] => [
  db
    .prepare(`SELECT ${columns} FROM logged_models WHERE workspace = ? AND id = ?`)
    .bind(workspace, id),
  pointsOf(db, [id]),
];

/** Returns what selectOne found. */
function loggedModelFrom(results: D1Result[]): LoggedModel | null {
  const [row, points] = results.slice(-2);
  const [found] = row!.results as Row[];
  return found ? toLoggedModel(found, pointsFrom(points!).get(found.id)) : null;
}

/** Returns the logged model of an id, deleted or not, or null. */
export async function findLoggedModel(db: D1Database, id: string): Promise<LoggedModel | null> {
  return loggedModelFrom(await db.batch(selectOne(db, id)));
}

type StoredPoint = [
  key: string,
  value: number | null,
  time: number,
  step: number,
  run: string,
  dataset: string | null,
  digest: string | null,
];

/** The statement that selects points of logged models. */
const pointsOf = (db: D1Database, models: string[]): D1PreparedStatement =>
  db
    .prepare(
      `SELECT model, json(points) AS points FROM (SELECT no, model, points, sum(count) OVER (PARTITION BY model ORDER BY no DESC) AS seen
         FROM model_points WHERE model IN (SELECT value FROM json_each(?))) WHERE seen <= ? ORDER BY no`,
    )
    .bind(JSON.stringify(models), maxModelPoints);

/** Returns what pointsOf selected, by model. */
function pointsFrom({ results }: D1Result): Map<string, ModelPoint[]> {
  const found = new Map<string, ModelPoint[]>();
  for (const { model, points } of results as { model: string; points: string }[]) {
    const list = found.get(model) ?? [];
    list.push(...(JSON.parse(points) as StoredPoint[]).map(toPoint));
    found.set(model, list);
  }
  return found;
}

const toPoint = ([key, value, time, step, run, name, digest]: StoredPoint): ModelPoint => ({
  key,
  value: value ?? NaN,
  time,
  step,
  run,
  dataset: name === null ? null : { name, digest: digest ?? "" },
});

/** The expressions that logged models are ordered by. */
export const loggedModelOrder = {
  id: "id",
  name: "name",
  type: "type",
  state: "CASE state WHEN 'pending' THEN 1 WHEN 'ready' THEN 2 ELSE 3 END",
  experiment: "experiment",
  location: "location",
  run: "run",
  created: "created",
  updated: "updated",
} as const;

/** Orders logged models by the latest value of a metric, on a dataset or on any. */
export const byMetric = (
  key: string,
  dataset: { name?: string | undefined; digest?: string | undefined },
  descending: boolean,
): Order => ({
  by: `(SELECT p.value ->> 1 FROM model_points, json_each(points) AS p WHERE model = logged_models.id AND p.value ->> 0 = ?
    AND (? IS NULL OR p.value ->> 5 = ?) AND (? IS NULL OR p.value ->> 6 = ?)
    ORDER BY p.value ->> 2 DESC, p.value ->> 3 DESC, p.value ->> 4 LIMIT 1)`,
  bound: [
    key,
    dataset.name ?? null,
    dataset.name ?? null,
    dataset.digest ?? null,
    dataset.digest ?? null,
  ],
  descending,
  nullable: true,
});

/** Returns a page of the logged models of experiments (ids), of a name or of any, deleted ones left out. */
export const selectLoggedModels = (
  db: D1Database,
  {
    experiments,
    name,
    ...selection
  }: Selection<LoggedModel> & { experiments: string[]; name?: string | undefined },
) =>
  pageOf<Row, LoggedModel>(db, {
    columns,
    from: "logged_models",
    where: `workspace = ? AND experiment IN (SELECT value FROM json_each(?)) AND deleted IS NULL${name === undefined ? "" : " AND name = ?"}`,
    bound: [workspace, JSON.stringify(experiments), ...(name === undefined ? [] : [name])],
    itemsOf: async (rows) => {
      const ids = rows.map(({ id }) => id);
      const points = rows.length ? pointsFrom(await pointsOf(db, ids).all()) : undefined;
      return rows.map((row) => toLoggedModel(row, points?.get(row.id)));
    },
    ...selection,
  });

/** What is told of a new logged model. */
export type NewLoggedModel = Pick<
  LoggedModel,
  "id" | "experiment" | "name" | "type" | "location" | "run" | "params" | "tags"
>;

/** Notes that a model is being built, and returns it; its files come next. */
export async function createLoggedModel(
  db: D1Database,
  { id, experiment, name, type, location, run, params, tags }: NewLoggedModel,
  who: string,
): Promise<LoggedModel> {
  const results = await db.batch([
    db
      .prepare(
        `INSERT INTO logged_models (workspace, id, experiment, name, type, state, location, run, params, tags, created, updated)
         VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, jsonb(?), jsonb(?), ${now}, ${now})`,
      )
      .bind(
        workspace,
        id,
        experiment,
        name,
        type,
        location,
        run,
        JSON.stringify(params),
        JSON.stringify(tags),
      ),
    await logLogged(db, "logged-model.create", id, { name, type, run, params, tags }, who),
    ...selectOne(db, id),
  ]);
  return loggedModelFrom(results)!;
}

/** Says how the upload of a logged model's files ended, and returns the model; null where there is none. */
export async function finishLoggedModel(
  db: D1Database,
  id: string,
  state: ModelState,
  who: string,
): Promise<LoggedModel | null> {
  const results = await db.batch([
    db
      .prepare(
        `UPDATE logged_models SET state = ?, updated = ${now} WHERE workspace = ? AND id = ?`,
      )
      .bind(state, workspace, id),
    await logLogged(db, "logged-model.finish", id, { state }, who),
    ...selectOne(db, id),
  ]);
  return loggedModelFrom(results);
}

/** Adds params to a logged model; one that is set keeps its value. Returns what stands there now. */
export async function addModelParams(
  db: D1Database,
  id: string,
  params: Tags,
  who: string,
): Promise<Tags> {
  const [, , row] = await db.batch<{ params: string }>([
    db
      .prepare(
        `UPDATE logged_models SET params = jsonb_patch(jsonb_patch(params, ?1), params) WHERE workspace = ?2 AND id = ?3
         AND EXISTS (SELECT 1 FROM json_each(?1) AS p WHERE p.key NOT IN (SELECT key FROM json_each(params)))`,
      )
      .bind(JSON.stringify(params), workspace, id),
    await logLogged(db, "logged-model.params", id, params, who),
    db
      .prepare("SELECT json(params) AS params FROM logged_models WHERE workspace = ? AND id = ?")
      .bind(workspace, id),
  ]);
  return JSON.parse(row!.results[0]?.params ?? "{}");
}

/** Sets tags of a logged model, and takes those away that are null; what is so already stays as it is. */
export async function tagLoggedModel(
  db: D1Database,
  id: string,
  patch: Record<string, string | null>,
  who: string,
): Promise<void> {
  const body = JSON.stringify(patch);
  await db.batch([
    db
      .prepare(
        `UPDATE logged_models SET tags = jsonb_patch(tags, ?1) WHERE workspace = ?2 AND id = ?3
         AND json(tags) <> json(jsonb_patch(tags, ?1))`,
      )
      .bind(body, workspace, id),
    await logLogged(db, "logged-model.tag", id, patch, who),
  ]);
}

/** Deletes a logged model; its files stay. */
export async function deleteLoggedModel(db: D1Database, id: string, who: string): Promise<void> {
  await db.batch([
    db
      .prepare(
        `UPDATE logged_models SET deleted = ${now}, updated = ${now} WHERE workspace = ? AND id = ? AND deleted IS NULL`,
      )
      .bind(workspace, id),
    await logLogged(db, "logged-model.delete", id, "logged-model.delete", who),
  ]);
}

async function logLogged(
  db: D1Database,
  what: string,
  subject: string,
  asked: unknown,
  who: string,
): Promise<D1PreparedStatement> {
  return logChange(db, { who, what, subject, digest: await digestOf(asked) });
}

/** Returns those of some ids that no logged model has. */
export async function unknownModels(db: D1Database, ids: string[]): Promise<string[]> {
  const { results } = await db
    .prepare(
      "SELECT DISTINCT value AS id FROM json_each(?) WHERE value NOT IN (SELECT id FROM logged_models WHERE workspace = ?)",
    )
    .bind(JSON.stringify(ids), workspace)
    .all<{ id: string }>();
  return results.map(({ id }) => id);
}

/** Adds points to logged models, by id; told again, they change nothing. */
export async function addModelPoints(
  db: D1Database,
  points: Map<string, ModelPoint[]>,
): Promise<void> {
  const statements = Array.from(points, async ([model, list]) => {
    const body = JSON.stringify(list.map(storedPoint));
    return db
      .prepare(
        "INSERT INTO model_points (workspace, model, digest, count, points) VALUES (?, ?, ?, ?, jsonb(?)) ON CONFLICT DO NOTHING",
      )
      .bind(workspace, model, await digestOf(body), list.length, body);
  });
  await db.batch(await Promise.all(statements));
}

const storedPoint = ({ key, value, time, step, run, dataset }: ModelPoint): StoredPoint => [
  key,
  Number.isNaN(value) ? null : Math.min(Math.max(value, -Number.MAX_VALUE), Number.MAX_VALUE),
  time,
  step,
  run,
  dataset?.name ?? null,
  dataset?.digest ?? null,
];

/**
 * Adds what is not here of a logged model from elsewhere: itself, params, tags, points, and the state in which its upload
 * ended. What is here stays as it is.
 */
export async function addLoggedModel(
  db: D1Database,
  model: Omit<LoggedModel, "deleted"> & { deleted: number | null },
  who: string,
): Promise<LoggedModel> {
  const { id, experiment, name, type, state, location, run, created, updated, deleted } = model;
  const added = (column: string, of: string) =>
    `jsonb_patch(jsonb_patch(${column}, ${of}), ${column})`;
  const digest = await digestOf({ ...model, points: model.points.length });
  const results = await db.batch([
    db
      .prepare(
        `INSERT INTO logged_models (workspace, id, experiment, name, type, state, location, run, params, tags, created, updated, deleted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, jsonb(?9), jsonb(?10), ?11, ?12, ?13)
         ON CONFLICT (id) DO UPDATE SET params = ${added("params", "?9")}, tags = ${added("tags", "?10")}, state = iif(state = 'pending', ?6, state)
         WHERE workspace = ?1 AND (json(params) <> json(${added("params", "?9")}) OR json(tags) <> json(${added("tags", "?10")})
           OR state = 'pending' AND ?6 <> 'pending')`,
      )
      .bind(
        workspace,
        id,
        experiment,
        name,
        type,
        state,
        location,
        run,
        JSON.stringify(model.params),
        JSON.stringify(model.tags),
        created,
        updated,
        deleted,
      ),
    logChange(db, { who, what: "logged-model.add", subject: id, digest }),
    ...selectOne(db, id),
  ]);
  const there = loggedModelFrom(results)!;
  const textOf = (point: ModelPoint) => JSON.stringify(storedPoint(point));
  const held = new Set(there.points.map(textOf));
  const news = model.points.filter((point) => !held.has(textOf(point)));
  if (!news.length) return there;
  await addModelPoints(db, new Map([[id, news]]));
  return (await findLoggedModel(db, id))!;
}

/** Returns a page of all logged models of experiments (ids), or of all, deleted ones too, by id. */
export const selectAllLoggedModels = (
  db: D1Database,
  {
    experiments,
    after,
    limit,
  }: { experiments: string[] | undefined; after: string | undefined; limit: number },
) =>
  pageOf<Row, LoggedModel>(db, {
    columns,
    from: "logged_models",
    where: `workspace = ?${experiments ? " AND experiment IN (SELECT value FROM json_each(?))" : ""}`,
    bound: [workspace, ...(experiments ? [JSON.stringify(experiments)] : [])],
    itemsOf: async (rows) => {
      const ids = rows.map(({ id }) => id);
      const points = rows.length ? pointsFrom(await pointsOf(db, ids).all()) : undefined;
      return rows.map((row) => toLoggedModel(row, points?.get(row.id)));
    },
    order: [{ by: loggedModelOrder.id }],
    after: after === undefined ? undefined : [after],
    limit,
  });
