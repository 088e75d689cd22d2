import { testOf } from "../../wire/comparison.ts";
import type { Field } from "../../wire/field.ts";
import type { Filter } from "../../wire/filter.ts";
import { ApiError } from "../../wire/error.ts";
import { workspace } from "../env.ts";
import { digestOf, logChange, now } from "./events.ts";
import { noSuchRun } from "./runs.ts";

/** A named input of runs, told from others of its name by its digest. */
interface Dataset {
  name: string;
  digest: string;
  /** what its source is: local, s3, code, … */
  type: string;
  /** how to find it, in the words of its type; so are schema and profile, "" where they are not known */
  source: string;
  schema: string;
  profile: string;
}

/** A dataset as a run read it. */
export interface RunDataset extends Dataset {
  tags: { key: string; value: string }[];
}

/** A logged model that a run read or made, and at which step. */
interface RunModel {
  role: "input" | "output";
  model: string;
  step: number;
}

/** What a run read and made, in the order it said so. */
export interface RunLinks {
  datasets: RunDataset[];
  models: RunModel[];
}

/**
 * Notes what a run read and made. A dataset stands once per experiment, name and digest, as it was first described; what
 * a run has already stays as it is. Throws where the run is unknown or deleted.
 */
export async function linkRun(
  db: D1Database,
  run: string,
  { datasets, models }: RunLinks,
  who: string,
): Promise<void> {
  const [datasetsText, modelsText] = [JSON.stringify(datasets), JSON.stringify(models)];
  const open = "runs.workspace = ?1 AND runs.id = ?2 AND runs.deleted IS NULL";
  const [row] = (
    await db.batch<{ deleted: number | null }>([
      db
        .prepare(
          `INSERT INTO datasets (workspace, experiment, name, digest, type, source, schema, profile, created)
           SELECT ?1, experiment, value ->> 'name', value ->> 'digest', value ->> 'type', value ->> 'source',
             value ->> 'schema', value ->> 'profile', ${now}
           FROM runs, json_each(?3) WHERE ${open} ORDER BY json_each.key ON CONFLICT DO NOTHING`,
        )
        .bind(workspace, run, datasetsText),
      db
        .prepare(
          `INSERT INTO run_datasets (workspace, run, dataset, tags)
           SELECT ?1, runs.no, datasets.no, value -> 'tags' FROM runs, json_each(?3)
           JOIN datasets ON datasets.experiment = runs.experiment AND datasets.name = value ->> 'name' AND datasets.digest = value ->> 'digest'
           WHERE ${open} ORDER BY json_each.key ON CONFLICT DO NOTHING`,
        )
        .bind(workspace, run, datasetsText),
      db
        .prepare(
          `INSERT INTO run_models (workspace, run, role, model, step)
           SELECT ?1, runs.no, value ->> 'role', value ->> 'model', value ->> 'step' FROM runs, json_each(?3)
           WHERE ${open} ORDER BY json_each.key ON CONFLICT DO NOTHING`,
        )
        .bind(workspace, run, modelsText),
      db
        .prepare(`UPDATE runs SET rev = rev + 1, touched = max(${now}, touched + 1) WHERE ${open}`)
        .bind(workspace, run),
      logChange(db, {
        who,
        what: "run.link",
        subject: run,
        digest: await digestOf([datasetsText, modelsText]),
      }),
      db.prepare("SELECT deleted FROM runs WHERE workspace = ? AND id = ?").bind(workspace, run),
    ])
  ).at(-1)!.results;
  if (!row) throw noSuchRun(run);
  if (row.deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${run}`);
}

/** Returns what runs read and made, by their row numbers; runs that read and made nothing are left out. */
export async function selectLinks(db: D1Database, runs: number[]): Promise<Map<number, RunLinks>> {
  if (!runs.length) return new Map();
  const wanted = JSON.stringify(runs);
  const [datasets, models] = await db.batch<Dataset & RunModel & { run: number; tags: string }>([
    db
      .prepare(
        `SELECT run, name, digest, datasets.type, source, schema, profile, tags FROM json_each(?) AS wanted
         CROSS JOIN run_datasets ON run = wanted.value JOIN datasets ON datasets.no = dataset ORDER BY run_datasets.no`,
      )
      .bind(wanted),
    db
      .prepare(
        `SELECT run, role, model, step FROM json_each(?) AS wanted CROSS JOIN run_models ON run = wanted.value ORDER BY run_models.no`,
      )
      .bind(wanted),
  ]);
  const links = new Map<number, RunLinks>();
  const of = (run: number): RunLinks => {
    const known = links.get(run) ?? { datasets: [], models: [] };
    links.set(run, known);
    return known;
  };
  for (const { run, tags, name, digest, type, source, schema, profile } of datasets!.results)
    of(run).datasets.push({ name, digest, type, source, schema, profile, tags: JSON.parse(tags) });
  for (const { run, role, model, step } of models!.results)
    of(run).models.push({ role, model, step });
  return links;
}

/** A dataset of an experiment, and as what its runs read it; null where a run did not say. */
export interface DatasetUse {
  experiment: string;
  name: string;
  digest: string;
  context: string | null;
}

/** Returns which datasets the runs of experiments read, and as what, each once; at most `most`. */
export async function selectDatasetUses(
  db: D1Database,
  experiments: string[],
  contextTag: string,
  most = 1000,
): Promise<DatasetUse[]> {
  const { results } = await db
    .prepare(
      `SELECT DISTINCT experiment, name, digest,
         (SELECT value ->> 'value' FROM json_each(run_datasets.tags) WHERE value ->> 'key' = ?) AS context
       FROM json_each(?) AS wanted CROSS JOIN datasets ON experiment = wanted.value
       JOIN run_datasets ON dataset = datasets.no LIMIT ?`,
    )
    .bind(contextTag, JSON.stringify(experiments), most)
    .all<DatasetUse>();
  return results;
}

/** Returns the row numbers of the runs of experiments that read a dataset for which `test` holds. */
async function selectDatasetRuns(
  db: D1Database,
  experiments: string[],
  test: (dataset: Omit<RunDataset, "type" | "source" | "schema" | "profile">) => boolean,
): Promise<number[]> {
  const { results } = await db
    .prepare(
      `SELECT run, name, digest, tags FROM json_each(?) AS wanted CROSS JOIN datasets ON experiment = wanted.value
       JOIN run_datasets ON dataset = datasets.no`,
    )
    .bind(JSON.stringify(experiments))
    .all<{ run: number; name: string; digest: string; tags: string }>();
  return results
    .filter(({ name, digest, tags }) => test({ name, digest, tags: JSON.parse(tags) }))
    .map(({ run }) => run);
}

/** The tag of a run's use of a dataset that says as what it read it: MLflow's word. */
export const contextTag = "mlflow.data.context";

/**
 * Returns a filter in which what it asks of datasets is put as which runs, by their row numbers: those that read a dataset
 * for which the clause holds. Like a missing value, none at all makes a comparison false, and IS NULL true.
 */
export async function withoutDatasets(
  db: D1Database,
  experiments: string[],
  filter: Filter,
): Promise<Filter> {
  if (filter.type === "contains") return filter;
  if (filter.type === "not")
    return { type: "not", filter: await withoutDatasets(db, experiments, filter.filter) };
  if (filter.type !== "compare") {
    const filters: Filter[] = [];
    for (const part of filter.filters) filters.push(await withoutDatasets(db, experiments, part));
    return { type: filter.type, filters };
  }
  const { field, operator } = filter;
  if (field.kind !== "datasets") return filter;
  const test = testOf(operator === "IS NULL" ? { operator: "IS NOT NULL", values: [] } : filter);
  const values = await selectDatasetRuns(db, experiments, ({ name, digest, tags }) => {
    const context = tags.find(({ key }) => key === contextTag)?.value;
    const value = { name, digest, context }[field.key];
    return value !== undefined && test(value);
  });
  const isIn: Filter = { ...filter, field: rowNumber, operator: "IN", values };
  return operator === "IS NULL" ? { type: "not", filter: isIn } : isIn;
}

/** A run's row number, which no filter can be written of. */
export const rowNumber: Field = { kind: "plain", key: "no" };
