import * as v from "valibot";
import { ParamsSchema, TagsPatch, TagsSchema, type Params, type Tags } from "./config.ts";
import { ExperimentRef, Id } from "./experiment.ts";
import { Name, text } from "./parse.ts";
import type { Summary } from "./summary.ts";
import { Time } from "./time.ts";

export type RunState = "running" | "scheduled" | "finished" | "failed" | "killed";
/** The states a run can end in. */
const endStates = ["finished", "failed", "killed"] as const;
export type EndState = (typeof endStates)[number];

/** One execution. */
export interface Run {
  id: string;
  /** the id of its experiment */
  experiment: string;
  /** its place in the experiment, from 1; a run's colour is chosen by it */
  number: number;
  name: string;
  state: RunState;
  params: Params;
  tags: Tags;
  note: string;
  /** the id of the run it belongs to; null for most */
  parent: string | null;
  /** what started it, for example a script's path */
  source: string;
  /** what ended it, where it failed */
  error: string;
  /** a summary of each metric, by key */
  metrics: Record<string, Summary>;
  /** how many points it has */
  points: number;
  /** how many console lines it has */
  lines: number;
  /** times in ms since 1970; null where it has not happened */
  started: number;
  ended: number | null;
  /** when it was last heard of, by the server's clock */
  heartbeat: number;
  deleted: number | null;
  /** whether it says it is running and yet has been silent for a minute */
  stalled: boolean;
}

/** How long a running run may be silent, in ms, before it is shown as stalled: four missed heartbeats. */
export const stalledAfter = 60_000;

/** Whether a run says it is running and yet has not been heard of; `now` is the server's clock in ms. */
export const isStalled = (
  { state, heartbeat }: Pick<Run, "state" | "heartbeat">,
  now: number,
): boolean => state === "running" && now - heartbeat > stalledAfter;

export const NewRun = v.strictObject({
  id: v.optional(Id),
  experiment: ExperimentRef,
  name: v.optional(Name),
  state: v.optional(v.picklist(["running", "scheduled"]), "running"),
  params: v.optional(ParamsSchema, {}),
  tags: v.optional(TagsSchema, {}),
  note: v.optional(text(100_000), ""),
  parent: v.optional(v.nullable(Id), null),
  source: v.optional(text(2_000), ""),
  started: v.optional(Time),
});
export type NewRun = v.InferInput<typeof NewRun>;

export const RunPatch = v.partial(
  v.strictObject({ name: Name, note: text(100_000), tags: TagsPatch, params: ParamsSchema }),
);
export type RunPatch = v.InferInput<typeof RunPatch>;

export const Finish = v.strictObject({
  state: v.picklist(endStates),
  error: v.optional(text(100_000), ""),
  ended: v.optional(Time),
});
export type Finish = v.InferInput<typeof Finish>;
