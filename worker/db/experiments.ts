import { ApiError, shown } from "../../wire/error.ts";
import type { Experiment, ExperimentPatch, NewExperiment } from "../../wire/experiment.ts";
import { isId, newId } from "../../wire/id.ts";
import { toJSON } from "../../wire/json.ts";
import type * as v from "valibot";
import { workspace } from "../env.ts";
import { digestOf, logChange, now } from "./events.ts";
import { patchTags } from "./tags.ts";

type Parsed = v.InferOutput<typeof NewExperiment>;

const columns = `id, name, hypothesis, metric, direction, conclusion, note, json(tags) AS tags, created, archived, rev, digest,
  (SELECT count(*) FROM runs WHERE runs.experiment = experiments.id AND runs.archived IS NULL AND runs.deleted IS NULL) AS runs`;

interface Row extends Omit<Experiment, "tags"> {
  tags: string;
  rev: number;
  digest: string;
}

function toExperiment({ rev: _, digest: __, ...row }: Row): Experiment {
  return { ...row, tags: JSON.parse(row.tags) };
}

/** Returns the experiments, newest first. */
export async function selectExperiments(
  db: D1Database,
  { archived = false } = {},
): Promise<Experiment[]> {
  const { results } = await db
    .prepare(
      `SELECT ${columns} FROM experiments WHERE workspace = ? AND (? OR archived IS NULL) ORDER BY created DESC, id DESC`,
    )
    .bind(workspace, archived ? 1 : 0)
    .all<Row>();
  return results.map(toExperiment);
}

/** Returns the experiment of an id or a name; throws where there is none. */
export async function selectExperiment(db: D1Database, idOrName: string): Promise<Experiment> {
  return toExperiment(await selectRow(db, idOrName));
}

async function selectRow(db: D1Database, idOrName: string): Promise<Row> {
  const row = await findRow(db, idOrName);
  if (!row)
    throw new ApiError("RESOURCE_DOES_NOT_EXIST", `experiment not found: ${shown(idOrName)}`);
  return row;
}

function findRow(db: D1Database, idOrName: string): Promise<Row | null> {
  return db
    .prepare(
      `SELECT ${columns} FROM experiments WHERE workspace = ? AND ${isId(idOrName) ? "id" : "name"} = ?`,
    )
    .bind(workspace, idOrName)
    .first<Row>();
}

/** The statement that creates an experiment, unless its id or its name is taken, or the run it is for exists. */
export function insertExperiment(
  db: D1Database,
  id: string,
  experiment: Parsed,
  digest: string,
  forRun: string | null = null,
): D1PreparedStatement {
  const { name, hypothesis, metric, direction, conclusion, note, tags } = experiment;
  return db
    .prepare(
      `INSERT INTO experiments (workspace, id, name, hypothesis, metric, direction, conclusion, note, tags, created, digest)
       SELECT ?, ?, ?, ?, ?, ?, ?, ?, jsonb(?), ${now}, ? WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = ?)
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
      digest,
      forRun,
    );
}

/** Creates an experiment; the same request again answers the same and changes nothing. */
export async function createExperiment(
  db: D1Database,
  experiment: Parsed,
  who: string,
): Promise<Experiment> {
  const digest = await digestOf(experiment);
  const id = experiment.id ?? newId();
  await db.batch([
    insertExperiment(db, id, experiment, digest),
    logChange(db, { who, what: "experiment.create", subject: id, digest }),
  ]);
  const row = await findRow(db, id);
  if (row?.digest === digest) return toExperiment(row);
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
): Promise<Experiment> {
  const digest = await digestOf(patch);
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const row = await selectRow(db, idOrName);
    const next = { ...row, ...patch, tags: toJSON(patchTags(JSON.parse(row.tags), patch.tags)) };
    if (toJSON(next) === toJSON(row)) return toExperiment(row);
    const [update] = await db
      .batch([
        db
          .prepare(
            `UPDATE experiments SET name = ?, hypothesis = ?, metric = ?, direction = ?, conclusion = ?, note = ?,
             tags = jsonb(?), rev = rev + 1 WHERE id = ? AND rev = ?`,
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

/** Archives an experiment, or takes it back into use; what is so already stays as it is. */
export async function archiveExperiment(
  db: D1Database,
  idOrName: string,
  archive: boolean,
  who: string,
): Promise<Experiment> {
  const { id } = await selectExperiment(db, idOrName);
  const what = archive ? "experiment.archive" : "experiment.restore";
  await db.batch([
    db
      .prepare(
        `UPDATE experiments SET archived = ${archive ? now : "NULL"}, rev = rev + 1 WHERE id = ? AND archived IS ${archive ? "" : "NOT"} NULL`,
      )
      .bind(id),
    logChange(db, { who, what, subject: id, digest: await digestOf(what) }),
  ]);
  return selectExperiment(db, id);
}
