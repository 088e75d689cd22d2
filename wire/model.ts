import * as v from "valibot";
import { TextsSchema, type Tags } from "./config.ts";
import { Id } from "./experiment.ts";
import { LoggedModelId } from "./logged-model.ts";
import { text } from "./parse.ts";
import { Time } from "./time.ts";

/** The stages a version can be in. */
export const stages = ["None", "Staging", "Production", "Archived"] as const;
export type Stage = (typeof stages)[number];

/** A registered model: a name under which versions are kept. */
export interface Model {
  name: string;
  note: string;
  tags: Tags;
  /** movable names of versions: alias to number */
  aliases: Record<string, number>;
  /** times in ms since 1970 */
  created: number;
  updated: number;
}

/** A numbered version of a registered model. */
export interface ModelVersion {
  /** the model's name */
  model: string;
  number: number;
  /** where it was said to come from, as a URI */
  source: string;
  /** where its files are, as a URI */
  location: string;
  /** the id of the run it came from; null where none was named */
  run: string | null;
  /** the id of the logged model it was made of; null where none was named */
  built: string | null;
  /** a web address of the run, where that lies elsewhere */
  link: string;
  stage: Stage;
  note: string;
  tags: Tags;
  /** the aliases that point to it */
  aliases: string[];
  created: number;
  updated: number;
}

const number = v.pipe(v.number(), v.safeInteger(), v.minValue(1));

/** The name of a registered model, as MLflow's clients can say it. */
const ModelName = v.pipe(text(256), v.regex(/^[^/:]+$/, "expected a name without / and :"));

/** So many versions come in one request, as where the files of each are is looked up. */
export const maxVersions = 50;

/** A registered model from elsewhere, whole. */
export const WholeModel = v.strictObject({
  name: ModelName,
  note: v.optional(text(100_000), ""),
  tags: v.optional(TextsSchema, {}),
  aliases: v.optional(
    v.array(v.strictObject({ alias: v.pipe(text(256), v.minLength(1)), number })),
    [],
  ),
  created: Time,
  updated: Time,
  versions: v.optional(
    v.pipe(
      v.array(
        v.strictObject({
          number,
          source: v.optional(text(10_000), ""),
          run: v.optional(v.nullable(Id), null),
          built: v.optional(v.nullable(LoggedModelId), null),
          link: v.optional(text(10_000), ""),
          stage: v.optional(v.picklist(stages), "None"),
          note: v.optional(text(100_000), ""),
          tags: v.optional(TextsSchema, {}),
          created: Time,
          updated: Time,
        }),
      ),
      v.maxLength(maxVersions),
    ),
    [],
  ),
});
export type WholeModel = v.InferInput<typeof WholeModel>;
