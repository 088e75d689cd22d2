import { ApiError } from "../../wire/error.ts";
import type { Model, ModelVersion, Stage } from "../../wire/model.ts";
import { workspace } from "../env.ts";
import { digestOf, logChange, now } from "./events.ts";
import { maxAttempts } from "./experiments.ts";
import { pageOf, type Order, type PageKey } from "./page.ts";

/** A registered model with its row's number, which a change of its name leaves as it is. */
export interface FoundModel extends Model {
  no: number;
  /** the greatest number that was given to a version */
  last: number;
}

interface ModelRow extends Omit<FoundModel, "tags" | "aliases"> {
  tags: string;
  aliases: string;
}

const modelColumns =
  "no, name, note, json(tags) AS tags, json(aliases) AS aliases, last, created, updated";

const toModel = ({
  no,
  name,
  note,
  tags,
  aliases,
  last,
  created,
  updated,
}: ModelRow): FoundModel => ({
  no,
  name,
  note,
  tags: JSON.parse(tags),
  aliases: JSON.parse(aliases),
  last,
  created,
  updated,
});

/** A version with its model's row number. */
export interface FoundVersion extends ModelVersion {
  no: number;
}

type VersionRow = Omit<FoundVersion, "tags" | "aliases"> & { tags: string; aliases: string };

const versionColumns = `models.no, models.name AS model, number, source, location, run, built, link, stage, versions.note, json(versions.tags) AS tags,
  (SELECT json_group_array(key) FROM json_each(models.aliases) WHERE value = number) AS aliases, versions.created, versions.updated`;
const versionTables = "versions JOIN models ON models.no = versions.model";

const toVersion = (row: VersionRow): FoundVersion => ({
  no: row.no,
  model: row.model,
  number: row.number,
  source: row.source,
  location: row.location,
  run: row.run,
  built: row.built,
  link: row.link,
  stage: row.stage,
  note: row.note,
  tags: JSON.parse(row.tags),
  aliases: JSON.parse(row.aliases),
  created: row.created,
  updated: row.updated,
});

/** Returns the registered model of a name, or null. */
export async function findModel(db: D1Database, name: string): Promise<FoundModel | null> {
  const row = await db
    .prepare(`SELECT ${modelColumns} FROM models WHERE workspace = ? AND name = ?`)
    .bind(workspace, name)
    .first<ModelRow>();
  return row && toModel(row);
}

/** Which models or versions to select, in pages. */
export interface Selection<T> {
  order: Order[];
  after: PageKey | undefined;
  limit: number;
  test?: ((item: T) => boolean) | undefined;
}

/** The expressions that models are ordered by. */
export const modelOrder = { name: "name", updated: "updated" } as const;

/** Returns a page of the registered models. */
export const selectModels = (db: D1Database, selection: Selection<FoundModel>) =>
  pageOf<ModelRow, FoundModel>(db, {
    columns: modelColumns,
    from: "models",
    where: "workspace = ?",
    bound: [workspace],
    itemsOf: (rows) => rows.map(toModel),
    ...selection,
  });

/** Creates a registered model; returns false where the name is taken. */
export async function createModel(
  db: D1Database,
  { name, note, tags }: Pick<Model, "name" | "note" | "tags">,
  who: string,
): Promise<boolean> {
  const [insert] = await db.batch([
    db
      .prepare(
        `INSERT INTO models (workspace, name, note, tags, aliases, created, updated)
         VALUES (?, ?, ?, jsonb(?), jsonb('{}'), ${now}, ${now}) ON CONFLICT DO NOTHING`,
      )
      .bind(workspace, name, note, JSON.stringify(tags)),
    logChange(db, {
      who,
      what: "model.create",
      subject: name,
      digest: await digestOf({ name, note, tags }),
    }),
  ]);
  return insert!.meta.changes > 0;
}

/** Changes the note of a registered model. */
export async function describeModel(
  db: D1Database,
  { no, name }: FoundModel,
  note: string,
  who: string,
): Promise<void> {
  await db.batch([
    db.prepare(`UPDATE models SET note = ?, updated = ${now} WHERE no = ?`).bind(note, no),
    logChange(db, {
      who,
      what: "model.patch",
      subject: name,
      digest: await digestOf({ note }),
    }),
  ]);
}

/** Gives a registered model another name; returns false where that is taken. */
export async function renameModel(
  db: D1Database,
  { no, name }: FoundModel,
  next: string,
  who: string,
): Promise<boolean> {
  const [update] = await db.batch([
    db
      .prepare(
        `UPDATE models SET name = ?1, updated = ${now} WHERE no = ?2
         AND NOT EXISTS (SELECT 1 FROM models WHERE workspace = ?3 AND name = ?1 AND no <> ?2)`,
      )
      .bind(next, no, workspace),
    logChange(db, {
      who,
      what: "model.rename",
      subject: name,
      digest: await digestOf({ name: next }),
    }),
    db
      .prepare(
        `UPDATE versions SET updated = models.updated FROM models WHERE versions.model = ?1 AND models.no = ?1 AND models.name = ?2`,
      )
      .bind(no, next),
  ]);
  return update!.meta.changes > 0;
}

/** Sets tags of a registered model, and takes those away that are null; what is so already stays as it is. */
export async function tagModel(
  db: D1Database,
  { no, name }: FoundModel,
  patch: Record<string, string | null>,
  who: string,
): Promise<void> {
  await db.batch([
    patchTags(db, "models", "no = ?", [no], patch),
    logChange(db, { who, what: "model.tag", subject: name, digest: await digestOf(patch) }),
  ]);
}

/** The statement that changes the tags of one row; JSON's merge patch takes away what is null. */
function patchTags(
  db: D1Database,
  table: "models" | "versions",
  where: string,
  bound: number[],
  patch: Record<string, string | null>,
): D1PreparedStatement {
  const body = JSON.stringify(patch);
  return db
    .prepare(
      `UPDATE ${table} SET tags = jsonb_patch(tags, ?) WHERE ${where} AND json(tags) <> json(jsonb_patch(tags, ?))`,
    )
    .bind(body, ...bound, body);
}

/** Points an alias to a version, or takes it away (null); returns false where there is no such version. */
export async function aliasModel(
  db: D1Database,
  { no, name }: FoundModel,
  alias: string,
  number: number | null,
  who: string,
): Promise<boolean> {
  const patch = JSON.stringify({ [alias]: number });
  const isThere =
    number === null
      ? "?2 = ?2"
      : "EXISTS (SELECT 1 FROM versions WHERE model = ?2 AND number = ?3)";
  const bound = number === null ? [patch, no] : [patch, no, number];
  const [, , seen] = await db.batch([
    db
      .prepare(
        `UPDATE models SET aliases = jsonb_patch(aliases, ?1) WHERE no = ?2 AND ${isThere}
         AND json(aliases) <> json(jsonb_patch(aliases, ?1))`,
      )
      .bind(...bound),
    logChange(db, {
      who,
      what: number === null ? "alias.delete" : "alias.set",
      subject: `${name}@${alias}`,
      digest: await digestOf({ alias, number }),
    }),
    db.prepare("SELECT 1 FROM versions WHERE model = ? AND number = ?").bind(no, number ?? 0),
  ]);
  return number === null || seen!.results.length > 0;
}

/** Removes a registered model with its versions. */
export async function deleteModel(
  db: D1Database,
  { no, name }: FoundModel,
  who: string,
): Promise<void> {
  await db.batch([
    db.prepare("DELETE FROM versions WHERE model = ?").bind(no),
    db.prepare("DELETE FROM models WHERE no = ?").bind(no),
    logChange(db, {
      who,
      what: "model.delete",
      subject: name,
      digest: await digestOf("model.delete"),
    }),
  ]);
}

/** Returns a version of a registered model, or null. */
export async function findVersion(
  db: D1Database,
  name: string,
  number: number,
): Promise<FoundVersion | null> {
  const row = await db
    .prepare(
      `SELECT ${versionColumns} FROM ${versionTables} WHERE models.workspace = ? AND name = ? AND number = ?`,
    )
    .bind(workspace, name, number)
    .first<VersionRow>();
  return row && toVersion(row);
}

/** The expressions that versions are ordered by. */
export const versionOrder = {
  name: "models.name",
  number: "number",
  created: "versions.created",
  updated: "versions.updated",
} as const;

/** Returns a page of the versions, of the models of some names or of all. */
export const selectVersions = (
  db: D1Database,
  { names, ...selection }: Selection<FoundVersion> & { names?: string[] | undefined },
) =>
  pageOf<VersionRow, FoundVersion>(db, {
    columns: versionColumns,
    from: versionTables,
    where: `versions.workspace = ?${names ? " AND models.name IN (SELECT value FROM json_each(?))" : ""}`,
    bound: [workspace, ...(names ? [JSON.stringify(names)] : [])],
    itemsOf: (rows) => rows.map(toVersion),
    ...selection,
  });

/** Returns the latest version at each stage of some models, by model's name, the stages in the order they were reached. */
export async function selectLatest(
  db: D1Database,
  models: FoundModel[],
): Promise<Map<string, FoundVersion[]>> {
  const ofStage = (extreme: "min" | "max") =>
    `(SELECT ${extreme}(number) FROM versions AS w WHERE w.model = versions.model AND w.stage = versions.stage)`;
  const { results } = await db
    .prepare(
      `SELECT ${versionColumns} FROM ${versionTables} WHERE versions.model IN (SELECT value FROM json_each(?))
       AND number = ${ofStage("max")} ORDER BY versions.model, ${ofStage("min")}`,
    )
    .bind(JSON.stringify(models.map(({ no }) => no)))
    .all<VersionRow>();
  return Map.groupBy(results.map(toVersion), ({ model }) => model);
}

/** What is told of a new version. */
export type NewVersion = Pick<
  ModelVersion,
  "source" | "location" | "run" | "built" | "link" | "note" | "tags"
>;

/** Adds a version to a registered model, under the next number; null where the model is gone meanwhile. */
export async function createVersion(
  db: D1Database,
  model: FoundModel,
  { source, location, run, built, link, note, tags }: NewVersion,
  who: string,
): Promise<FoundVersion | null> {
  const digest = await digestOf({ source, location, run, built, link, note, tags });
  const body = JSON.stringify(tags);
  const { no } = model;
  let { name, last } = model;
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const number = last + 1;
    const [, insert, , version, meanwhile] = await db.batch([
      db
        .prepare(`UPDATE models SET last = ?, updated = ${now} WHERE no = ? AND last = ?`)
        .bind(number, no, last),
      db
        .prepare(
          `INSERT INTO versions (workspace, model, number, source, location, run, built, link, stage, note, tags, created, updated)
           SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'None', ?9, jsonb(?10), updated, updated FROM models WHERE no = ?2 AND changes() = 1`,
        )
        .bind(workspace, no, number, source, location, run, built, link, note, body),
      logChange(db, { who, what: "version.create", subject: `${name}/${number}`, digest }),
      db
        .prepare(
          `SELECT ${versionColumns} FROM ${versionTables} WHERE models.no = ? AND number = ?`,
        )
        .bind(no, number),
      db.prepare("SELECT name, last FROM models WHERE no = ?").bind(no),
    ]);
    if (insert!.meta.changes) return toVersion((version!.results as VersionRow[])[0]!);
    const [current] = meanwhile!.results as Pick<FoundModel, "name" | "last">[];
    if (!current) return null;
    ({ name, last } = current);
  }
  throw new ApiError("TEMPORARILY_UNAVAILABLE", `model is being changed by others: ${name}`);
}

/** Changes the note of a version. */
export async function describeVersion(
  db: D1Database,
  version: FoundVersion,
  note: string,
  who: string,
): Promise<void> {
  await db.batch([
    db
      .prepare(`UPDATE versions SET note = ?, updated = ${now} WHERE model = ? AND number = ?`)
      .bind(note, version.no, version.number),
    await logVersion(db, version, "version.patch", { note }, who),
  ]);
}

/** Moves a version to a stage; with `archive`, the versions that were at that stage are archived. */
export async function stageVersion(
  db: D1Database,
  version: FoundVersion,
  { stage, archive }: { stage: Stage; archive: boolean },
  who: string,
): Promise<void> {
  const { no, number } = version;
  await db.batch([
    db
      .prepare(`UPDATE versions SET stage = ?, updated = ${now} WHERE model = ? AND number = ?`)
      .bind(stage, no, number),
    await logVersion(db, version, "version.stage", { stage, archive }, who),
    db
      .prepare(
        "UPDATE models SET updated = versions.updated FROM versions WHERE no = ?1 AND versions.model = ?1 AND number = ?2",
      )
      .bind(no, number),
    ...(archive
      ? [
          db
            .prepare(
              `UPDATE versions SET stage = 'Archived', updated = moved.updated FROM versions AS moved
               WHERE moved.model = ?1 AND moved.number = ?3 AND versions.model = ?1 AND versions.stage = ?2 AND versions.number <> ?3`,
            )
            .bind(no, stage, number),
        ]
      : []),
  ]);
}

/** Sets tags of a version, and takes those away that are null; what is so already stays as it is. */
export async function tagVersion(
  db: D1Database,
  version: FoundVersion,
  patch: Record<string, string | null>,
  who: string,
): Promise<void> {
  await db.batch([
    patchTags(db, "versions", "model = ? AND number = ?", [version.no, version.number], patch),
    await logVersion(db, version, "version.tag", patch, who),
  ]);
}

/** Removes a version and the aliases that point to it. */
export async function deleteVersion(
  db: D1Database,
  version: FoundVersion,
  who: string,
): Promise<void> {
  const { no, number } = version;
  await db.batch([
    db
      .prepare(
        `UPDATE models SET updated = ${now}, aliases = jsonb_patch(aliases,
           (SELECT json_group_object(key, NULL) FROM json_each(models.aliases) WHERE value = ?2)) WHERE no = ?1`,
      )
      .bind(no, number),
    db.prepare("DELETE FROM versions WHERE model = ? AND number = ?").bind(no, number),
    await logVersion(db, version, "version.delete", "version.delete", who),
  ]);
}

async function logVersion(
  db: D1Database,
  { model, number }: FoundVersion,
  what: string,
  asked: unknown,
  who: string,
): Promise<D1PreparedStatement> {
  return logChange(db, {
    who,
    what,
    subject: `${model}/${number}`,
    digest: await digestOf(asked),
  });
}

/** A registered model from elsewhere, and where the files of its versions are. */
export type GivenModel = Pick<
  Model,
  "name" | "note" | "tags" | "aliases" | "created" | "updated"
> & {
  versions: (Omit<ModelVersion, "model" | "aliases"> & { location: string })[];
};

/**
 * Adds what is not here of a registered model: itself, versions beyond the last number given to one, aliases, tags, a
 * note. What is here stays as it is.
 */
export async function addModel(
  db: D1Database,
  { name, note, tags, aliases, created, updated, versions }: GivenModel,
  who: string,
): Promise<void> {
  const digest = await digestOf({ name, note, tags, aliases, versions });
  const [tagsText, aliasesText] = [JSON.stringify(tags), JSON.stringify(aliases)];
  const stands = "json_each.value IN (SELECT number FROM versions WHERE model = no)";
  const added = (column: string, of: string) =>
    `jsonb_patch(jsonb_patch(${column}, ${of}), ${column})`;
  const nextAliases = added(
    "aliases",
    `(SELECT json_group_object(key, value) FROM json_each(?3) WHERE ${stands})`,
  );
  await db.batch([
    db
      .prepare(
        `INSERT INTO models (workspace, name, note, tags, aliases, created, updated)
         VALUES (?, ?, ?, jsonb(?), jsonb('{}'), ?, ?) ON CONFLICT DO NOTHING`,
      )
      .bind(workspace, name, note, tagsText, created, updated),
    logChange(db, { who, what: "model.create", subject: name, digest }),
    db
      .prepare(
        `INSERT INTO versions (workspace, model, number, source, location, run, built, link, stage, note, tags, created, updated)
         SELECT ?1, no, value ->> 'number', value ->> 'source', value ->> 'location', value ->> 'run', value ->> 'built', value ->> 'link',
           value ->> 'stage', value ->> 'note', jsonb(value -> 'tags'), value ->> 'created', value ->> 'updated'
         FROM models, json_each(?3) WHERE models.workspace = ?1 AND name = ?2 AND value ->> 'number' > last ON CONFLICT DO NOTHING`,
      )
      .bind(workspace, name, JSON.stringify(versions)),
    db
      .prepare(
        `UPDATE models SET last = max(last, (SELECT coalesce(max(number), 0) FROM versions WHERE model = no)),
           aliases = ${nextAliases}, tags = ${added("tags", "?4")}, note = iif(note = '', ?5, note)
         WHERE workspace = ?1 AND name = ?2 AND (last < (SELECT coalesce(max(number), 0) FROM versions WHERE model = no)
           OR json(aliases) <> json(${nextAliases}) OR json(tags) <> json(${added("tags", "?4")}) OR note = '' AND ?5 <> '')`,
      )
      .bind(workspace, name, aliasesText, tagsText, note),
    logChange(db, { who, what: "model.add", subject: name, digest }),
  ]);
}
