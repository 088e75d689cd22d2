import * as v from "valibot";
import { TextsSchema } from "./config.ts";
import { LoggedModelId } from "./logged-model.ts";
import { text } from "./parse.ts";

const name = v.pipe(text(500), v.minLength(1));

/** A named input of a run, told from others of its name by its digest, and in what part the run read it. */
export const Dataset = v.strictObject({
  name,
  digest: v.pipe(text(36), v.minLength(1)),
  /** what its source is: local, s3, code, … */
  type: text(36),
  /** how to find it, in the words of its type; so are schema and profile, "" where they are not known */
  source: text(65_535),
  schema: v.optional(text(1_048_575), ""),
  profile: v.optional(text(16_777_215), ""),
  tags: v.optional(TextsSchema, {}),
});
export type Dataset = v.InferOutput<typeof Dataset>;

/** What a run read and made: datasets, and logged models by id. */
export const RunLinks = v.strictObject({
  datasets: v.optional(v.pipe(v.array(Dataset), v.maxLength(1_000)), []),
  models: v.optional(
    v.pipe(
      v.array(
        v.strictObject({
          role: v.picklist(["input", "output"]),
          model: LoggedModelId,
          step: v.optional(v.pipe(v.number(), v.safeInteger()), 0),
        }),
      ),
      v.maxLength(1_000),
    ),
    [],
  ),
});
export type RunLinks = v.InferOutput<typeof RunLinks>;
