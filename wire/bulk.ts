import * as v from "valibot";
import { TagsPatch } from "./config.ts";
import { ExperimentRef, Id } from "./experiment.ts";
import { Name, text } from "./parse.ts";

/** How many runs one request changes at most. */
export const maxBulk = 10_000;

/** What is done to each of many runs: one thing at a time. */
export type RunsChange =
  /** null takes a tag away */
  | { tags: Record<string, string | null> }
  /** the tag `group`, by which tables and charts are grouped; null takes runs out of theirs */
  | { group: string | null }
  | { note: string }
  /** whether lists leave the runs out */
  | { archived: boolean }
  | { deleted: boolean }
  /** the id or name of the experiment they move to, where they get new numbers */
  | { experiment: string };

/** A change as it is carried out: a field of the run and what it becomes. */
export type FieldChange =
  | { field: "tags"; to: Record<string, string | null> }
  | { field: "note"; to: string }
  | { field: "archived" | "deleted"; to: boolean }
  | { field: "experiment"; to: string };

const changes = v.partial(
  v.strictObject({
    tags: TagsPatch,
    group: v.nullable(Name),
    note: text(100_000),
    archived: v.boolean(),
    deleted: v.boolean(),
    experiment: ExperimentRef,
  }),
);

const namesOf = (change: object) =>
  Object.entries(change).flatMap(([name, to]) => (to === undefined ? [] : [name]));

/** A change at the door. A group is a tag like any other from here on. */
const ChangeSchema = v.pipe(
  changes,
  v.check(
    (change) => namesOf(change).length === 1,
    `expected one of ${Object.keys(changes.entries).join(", ")}`,
  ),
  v.transform((change): FieldChange => {
    const [field] = namesOf(change);
    const to = change[field as keyof typeof change];
    return (
      field === "group" ? { field: "tags", to: { group: to } } : { field, to }
    ) as FieldChange;
  }),
);

/** Which runs: by their ids, or by experiments (ids or names) and a filter. */
export type RunsRef = string[] | { experiment?: string | string[]; where?: string };

const FilterSchema = v.pipe(
  v.strictObject({
    experiment: v.optional(
      v.pipe(
        v.union([ExperimentRef, v.array(ExperimentRef)]),
        v.transform((named) => [named].flat()),
      ),
    ),
    where: v.optional(text(100_000)),
  }),
  v.check(
    ({ experiment, where }) => experiment !== undefined || where !== undefined,
    "expected an experiment or a filter",
  ),
);

export const Bulk = v.strictObject({
  /** under the same id, the same request again changes nothing; defaults to a new one */
  id: v.optional(Id),
  runs: v.union([
    v.pipe(
      v.array(Id),
      v.check((ids) => ids.length <= maxBulk, `expected at most ${maxBulk} runs`),
    ),
    FilterSchema,
  ]),
  change: ChangeSchema,
});

/** What a change of many runs came to. */
export interface BulkOutcome {
  changed: number;
  /** how many were so already */
  unchanged: number;
  /** the token that takes it back, until `expires` (ms since 1970) */
  undo: string;
  expires: number;
}

/** What taking a change back came to. */
export interface UndoOutcome {
  restored: number;
  /** runs that somebody changed in the same place since: they, or those of their tags, stay as they are */
  changedSince: number;
}
