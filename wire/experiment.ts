import * as v from "valibot";
import { TagsPatch, TagsSchema, type Tags } from "./config.ts";
import { isExperimentId, isId } from "./id.ts";
import { Name, text } from "./parse.ts";
import { Time } from "./time.ts";

/** A question under study; holds runs. */
export interface Experiment {
  id: string;
  name: string;
  /** what we expect to find; defaults to "" */
  hypothesis: string;
  /** the metric that decides; defaults to null */
  metric: string | null;
  /** whether less or more of that metric is better; defaults to min */
  direction: "min" | "max";
  /** what was found; defaults to "" */
  conclusion: string;
  note: string;
  tags: Tags;
  /** when it was created, in ms since 1970 */
  created: number;
  /** when it was archived, in ms since 1970; null while it is in use */
  archived: number | null;
  /** how many runs it holds, archived and deleted ones left out */
  runs: number;
}

export const Id = v.pipe(
  v.string(),
  v.check((id) => isId(id), "expected 32 lower-case hex digits"),
);

/** An experiment, by id or name. Paths hold either, and "." and ".." never arrive in one. */
export const ExperimentRef = v.pipe(
  Name,
  v.check((name) => name !== "." && name !== "..", "expected a name that a URL can hold"),
);

// A name that looks like an id could never be reached.
const ExperimentName = v.pipe(
  ExperimentRef,
  v.check((name) => !isExperimentId(name), "expected a name, not an id"),
);

const described = {
  hypothesis: text(10_000),
  metric: v.nullable(Name),
  direction: v.picklist(["min", "max"]),
  conclusion: text(10_000),
  note: text(100_000),
};

export const NewExperiment = v.strictObject({
  id: v.optional(Id),
  name: ExperimentName,
  hypothesis: v.optional(described.hypothesis, ""),
  metric: v.optional(described.metric, null),
  direction: v.optional(described.direction, "min"),
  conclusion: v.optional(described.conclusion, ""),
  note: v.optional(described.note, ""),
  tags: v.optional(TagsSchema, {}),
  created: v.optional(Time),
});
export type NewExperiment = v.InferInput<typeof NewExperiment>;

export const ExperimentPatch = v.partial(
  v.strictObject({ name: ExperimentName, ...described, tags: TagsPatch }),
);
export type ExperimentPatch = v.InferInput<typeof ExperimentPatch>;
