import type { Tags } from "../../wire/config.ts";

/** What MLflow keeps in tags and we in fields of their own: MLflow's name of each. */
const fields = {
  name: "mlflow.runName",
  note: "mlflow.note.content",
  parent: "mlflow.parentRunId",
  source: "mlflow.source.name",
} as const;

/** What the tags of an MLflow run say. */
export interface TaggedFields {
  name: string;
  note: string;
  parent: string | null;
  source: string;
  /** those that say none of these */
  tags: Tags;
}

/** Parts MLflow's tags of a run into our fields and tags; the inverse of tagsFromFields. What it was run from stays a tag, too. */
export function fieldsFromTags(all: Tags): TaggedFields {
  const { [fields.name]: name, [fields.note]: note, [fields.parent]: parent, ...tags } = all;
  const source = tags[fields.source] ?? "";
  return { name: name ?? "", note: note ?? "", source, parent: parent || null, tags };
}

/** Returns the tags by which MLflow knows a run's fields and tags; empty fields have none. */
export function tagsFromFields({ tags, ...run }: TaggedFields): Tags {
  const named = Object.entries(fields).map(
    ([field, tag]) => [tag, run[field as keyof typeof fields] ?? ""] as const,
  );
  return { ...Object.fromEntries(named.filter(([, value]) => value !== "")), ...tags };
}

/** The name of an MLflow tag that says what we keep as a note, of experiments too. */
export const noteTag = fields.note;

/** The name of an MLflow tag that says a trace's name. */
export const nameTag = "mlflow.traceName";

/** The tag by which an imported experiment keeps its MLflow id, so that links and scripts that hold it still make sense. */
export const experimentIdTag = "mlflow.experimentId";
