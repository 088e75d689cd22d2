import { ApiError, shown } from "../../wire/error.ts";
import type { Experiment, ExperimentPatch, NewExperiment } from "../../wire/experiment.ts";
import { defaultExperiment, isExperimentId, newId } from "../../wire/id.ts";
import { toJSON } from "../../wire/json.ts";
import type * as v from "valibot";
import { workspace } from "../env.ts";
import { digestOf, logChange, now } from "./events.ts";
import { patchTags } from "./tags.ts";

type Parsed = v.InferOutput<typeof NewExperiment>;

const stored =
  "id, name, hypothesis, metric, direction, conclusion, note, json(tags) AS tags, created, archived, updated, artifacts, rev, digest";
const columns = `${stored},
  (SELECT count(*) FROM runs WHERE runs.experiment = experiments.id AND runs.archived IS NULL AND runs.deleted IS NULL) AS runs`;

/** What is stored of an experiment; its runs are not counted. */
export interface StoredExperiment extends Omit<Experiment, "runs"> {
  /** when it was last changed, in ms since 1970 */
  updated: number;
  /** where the files of its runs lie, if not here: a URI */
  artifacts: string | null;
}

/** An experiment with what doors know of it besides. */
export interface FoundExperiment extends StoredExperiment {
  runs: number;
}

/** A row, with or without the count of runs. */
type Row<E extends StoredExperiment = FoundExperiment> = Omit<E, "tags"> & {
  tags: string;
  rev: number;
  digest: string;
};

/** Returns a found experiment as it is shown. */
export function experimentOf({
  updated: _,
  artifacts: __,
  ...experiment
}: FoundExperiment): Experiment {
  return experiment;
}

function toExperiment<E extends StoredExperiment>({ rev: _, digest: __, ...row }: Row<E>): E {
  return { ...row, tags: JSON.parse(row.tags) } as unknown as E;
}

/** Returns all experiments, the archived ones too, in no order. */
export async function listExperiments(db: D1Database): Promise<StoredExperiment[]> {
  const { results } = await db
    .prepare(`SELECT ${stored} FROM experiments WHERE workspace = ?`)
    .bind(workspace)
    .all<Row<StoredExperiment>>();
  return results.map((row) => toExperiment<StoredExperiment>(row));
}

/** Returns the experiments, newest first. */
export async function selectExperiments(
  db: D1Database,
  { archived = false } = {},
): Promise<FoundExperiment[]> {
  const { results } = await db
    .prepare(
      `SELECT ${columns} FROM experiments WHERE workspace = ? AND (? OR archived IS NULL) ORDER BY created DESC, id DESC`,
    )
    .bind(workspace, archived ? 1 : 0)
    .all<Row>();
  return results.map((row) => toExperiment<FoundExperiment>(row));
}

/** Returns the experiment of an id or a name; throws where there is none. */
export async function selectExperiment(db: D1Database, idOrName: string): Promise<FoundExperiment> {
  return toExperiment<FoundExperiment>(await selectRow(db, idOrName));
}

async function selectRow(db: D1Database, idOrName: string): Promise<Row> {
  const row = await findRow(db, idOrName);
  if (!row)
    throw new ApiError("RESOURCE_DOES_NOT_EXIST", `experiment not found: ${shown(idOrName)}`);
  return row;
}

function findRow(db: D1Database, idOrName: string): Promise<Row | null> {
  return selectOne(db, idOrName).first<Row>();
}

const selectOne = (db: D1Database, idOrName: string): D1PreparedStatement =>
  db
    .prepare(
      `SELECT ${columns} FROM experiments WHERE workspace = ? AND ${isExperimentId(idOrName) ? "id" : "name"} = ?`,
    )
    .bind(workspace, idOrName);

/** Returns the experiment of an id, if there is one. The default one is made when it is first asked for; where its name is taken, that one stands for it. */
export const findExperiment = (
  db: D1Database,
  id: string,
  who: string,
): Promise<StoredExperiment | undefined> => findBy(db, "id", id, who);

/** Returns the experiment of a name, if there is one; the default one is made when it is first asked for. */
export const findNamedExperiment = (
  db: D1Database,
  name: string,
  who: string,
): Promise<StoredExperiment | undefined> => findBy(db, "name", name, who);

async function findBy(
  db: D1Database,
  field: "id" | "name",
  value: string,
  who: string,
): Promise<StoredExperiment | undefined> {
  const row = await db
    .prepare(`SELECT ${stored} FROM experiments WHERE workspace = ? AND ${field} = ?`)
    .bind(workspace, value)
    .first<Row<StoredExperiment>>();
  if (row) return toExperiment<StoredExperiment>(row);
  return value === defaultExperiment[field] ? makeDefault(db, who) : undefined;
}

/** Makes the default experiment, and returns it, or the one that has its name. */
async function makeDefault(db: D1Database, who: string): Promise<StoredExperiment> {
  const { id, name } = defaultExperiment;
  const created = `coalesce((SELECT min(created) - 1 FROM experiments), ${now})`; // to MLflow it was always there
  const experiment: Parsed = {
    name,
    hypothesis: "",
    metric: null,
    direction: "min",
    conclusion: "",
    note: "",
    tags: {},
  };
  const digest = await digestOf(experiment);
  const results = await db.batch<Row<StoredExperiment>>([
    insertExperiment(db, id, experiment, digest, { created }),
    logChange(db, { who, what: "experiment.create", subject: id, digest }),
    db
      .prepare(
        `SELECT ${stored} FROM experiments WHERE workspace = ? AND (id = ? OR name = ?) ORDER BY id = ? DESC LIMIT 1`,
      )
      .bind(workspace, id, name, id),
  ]);
  return toExperiment<StoredExperiment>(results.at(-1)!.results[0]!);
}

/** The statement that creates an experiment, unless its id or its name is taken, or the run it is for exists. */
export function insertExperiment(
  db: D1Database,
  id: string,
  experiment: Parsed,
  digest: string,
  {
    forRun = null,
    artifacts = null,
    created = now,
  }: { forRun?: string | null; artifacts?: string | null; created?: string } = {},
): D1PreparedStatement {
  const { name, hypothesis, metric, direction, conclusion, note, tags } = experiment;
  return db
    .prepare(
      `INSERT INTO experiments (workspace, id, name, hypothesis, metric, direction, conclusion, note, tags, created, updated, artifacts, digest)
       SELECT ?, ?, ?, ?, ?, ?, ?, ?, jsonb(?), ${created}, ${now}, ?, ? WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = ?)
       ON CONFLICT DO NOTHING`,
    )
    .bind(
      workspace,
      id,
      name,
      hypothesis,
      metric,
      direction,
      conclusion,
      note,
      toJSON(tags),
      artifacts,
      digest,
      forRun,
    );
}

/** Creates an experiment; the same request again answers the same and changes nothing. */
export async function createExperiment(
  db: D1Database,
  experiment: Parsed,
  who: string,
  artifacts: string | null = null,
): Promise<FoundExperiment> {
  const digest = await digestOf(experiment);
  const id = experiment.id ?? newId();
  const results = await db.batch<Row>([
    insertExperiment(db, id, experiment, digest, {
      artifacts,
      ...(experiment.created === undefined ? {} : { created: String(experiment.created) }),
    }),
    logChange(db, { who, what: "experiment.create", subject: id, digest }),
    selectOne(db, id),
  ]);
  const row = results.at(-1)!.results[0];
  if (row?.digest === digest) return toExperiment<FoundExperiment>(row);
  if (row)
    throw new ApiError(
      "RESOURCE_ALREADY_EXISTS",
      `experiment already exists with other content: ${id}`,
    );
  throw new ApiError(
    "RESOURCE_ALREADY_EXISTS",
    `experiment name already taken: ${experiment.name}`,
  );
}

/** How often a change is tried anew where others were quicker: each time, at least one of them got through. */
export const maxAttempts = 100;

/** Changes what is given and leaves the rest; what is so already stays as it is. */
export async function patchExperiment(
  db: D1Database,
  idOrName: string,
  patch: v.InferOutput<typeof ExperimentPatch>,
  who: string,
): Promise<FoundExperiment> {
  const digest = await digestOf(patch);
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const row = await selectRow(db, idOrName);
    const next = { ...row, ...patch, tags: toJSON(patchTags(JSON.parse(row.tags), patch.tags)) };
    if (toJSON(next) === toJSON(row)) return toExperiment<FoundExperiment>(row);
    const [update] = await db
      .batch([
        db
          .prepare(
            `UPDATE experiments SET name = ?, hypothesis = ?, metric = ?, direction = ?, conclusion = ?, note = ?,
             tags = jsonb(?), updated = ${now}, rev = rev + 1 WHERE id = ? AND rev = ?`,
          )
          .bind(
            next.name,
            next.hypothesis,
            next.metric,
            next.direction,
            next.conclusion,
            next.note,
            next.tags,
            row.id,
            row.rev,
          ),
        logChange(db, { who, what: "experiment.patch", subject: row.id, digest }),
      ])
      .catch((error: Error) => {
        if (!/UNIQUE constraint failed/.test(error.message)) throw error;
        throw new ApiError(
          "RESOURCE_ALREADY_EXISTS",
          `experiment name already taken: ${next.name}`,
        );
      });
    if (update!.meta.changes) return selectExperiment(db, row.id);
  }
  throw new ApiError(
    "TEMPORARILY_UNAVAILABLE",
    `experiment is being changed by others: ${shown(idOrName)}`,
  );
}

/**
 * Archives an experiment, or takes it back into use; what is so already stays as it is. `withRuns` deletes its runs with
 * it, and takes those back that were deleted with it.
 */
export async function archiveExperiment(
  db: D1Database,
  idOrName: string,
  archive: boolean,
  who: string,
  { withRuns = false } = {},
): Promise<FoundExperiment> {
  const { id } = await selectExperiment(db, idOrName);
  const what = archive ? "experiment.archive" : "experiment.restore";
  // Deleted with it are those that were at the very same time.
  const at = "(SELECT archived FROM experiments WHERE id = ?1)";
  const setRuns = (deleted: string, which: string) =>
    db
      .prepare(
        `UPDATE runs SET deleted = ${deleted}, rev = rev + 1, touched = max(${now}, touched + 1)
         WHERE experiment = ?1 AND deleted ${which}`,
      )
      .bind(id);
  await db.batch([
    ...(withRuns && !archive ? [setRuns("NULL", `= ${at}`)] : []),
    db
      .prepare(
        `UPDATE experiments SET archived = ${archive ? now : "NULL"}, updated = ${now}, rev = rev + 1 WHERE id = ? AND archived IS ${archive ? "" : "NOT"} NULL`,
      )
      .bind(id),
    logChange(db, { who, what, subject: id, digest: await digestOf(what) }),
    ...(withRuns && archive ? [setRuns(at, "IS NULL")] : []),
  ]);
  return selectExperiment(db, id);
}
