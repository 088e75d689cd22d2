import * as v from "valibot";
import { TextsSchema, type Tags } from "./config.ts";
import { ExperimentRef, Id } from "./experiment.ts";
import { maybeNumber } from "./json.ts";
import { Name, text } from "./parse.ts";
import { Time } from "./time.ts";

/** How far the upload of a logged model's files is. */
export const modelStates = ["pending", "ready", "failed"] as const;
export type ModelState = (typeof modelStates)[number];

/** A point of a metric that was logged of a model. */
export interface ModelPoint {
  key: string;
  /** NaN is kept; infinite values are the greatest and the least finite number */
  value: number;
  /** ms since 1970 */
  time: number;
  step: number;
  /** the id of the run that logged it; "" where none did */
  run: string;
  /** the dataset it was measured on; null where none was named */
  dataset: { name: string; digest: string } | null;
}

/** A model that a run built, or that somebody told of; registered or not. */
export interface LoggedModel {
  /** m- and 32 hex digits, or letters, digits, - and _ where it comes from elsewhere */
  id: string;
  /** the id of its experiment */
  experiment: string;
  name: string;
  /** what kind of model it is, in its builder's words */
  type: string;
  state: ModelState;
  /** where its files are, as a URI */
  location: string;
  /** the id of the run that built it; null where none was named */
  run: string | null;
  params: Tags;
  tags: Tags;
  points: ModelPoint[];
  /** times in ms since 1970 */
  created: number;
  updated: number;
  deleted: number | null;
}

/** Ids become parts of paths. */
export const LoggedModelId = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][\w-]{0,127}$/, "expected letters, digits, - and _"),
);

/** A value at the door: a number, or the word of one that JSON lacks. */
const Value = v.pipe(
  v.union([v.number(), v.picklist(["NaN", "Infinity", "-Infinity"])]),
  v.transform((value) => maybeNumber(value)!),
);

/** So many points of a logged model are kept at hand; its runs have all of them. */
export const maxModelPoints = 10_000;

/** A logged model from elsewhere, whole. */
export const WholeLoggedModel = v.strictObject({
  id: LoggedModelId,
  experiment: ExperimentRef,
  name: v.optional(text(500), ""),
  type: v.optional(text(500), ""),
  state: v.picklist(modelStates),
  run: v.optional(v.nullable(Id), null),
  params: v.optional(TextsSchema, {}),
  tags: v.optional(TextsSchema, {}),
  points: v.optional(
    v.pipe(
      v.array(
        v.strictObject({
          key: Name,
          value: Value,
          time: Time,
          step: v.pipe(v.number(), v.safeInteger()),
          run: v.optional(v.union([Id, v.literal("")]), ""),
          dataset: v.optional(
            v.nullable(v.strictObject({ name: text(500), digest: text(36) })),
            null,
          ),
        }),
      ),
      v.maxLength(maxModelPoints),
    ),
    [],
  ),
  created: Time,
  updated: Time,
  deleted: v.optional(v.nullable(Time), null),
});
export type WholeLoggedModel = v.InferInput<typeof WholeLoggedModel>;
