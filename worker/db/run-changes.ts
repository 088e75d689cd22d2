import type { FieldChange } from "../../wire/bulk.ts";
import type { Tags } from "../../wire/config.ts";
import { now } from "./events.ts";

/** What a field of a run held, or comes to hold, as JSON; of tags only those that change, null for none. */
export type FieldValue = string | number | null | TagsChange | [experiment: string, number: number];
type TagsChange = Record<string, string | null>;

/** A run as a statement found it; one that was purged has no rev. */
export interface FoundField {
  no: number;
  rev: number | null;
  value: string | number | null;
}

/** A run that changes, if nothing else changed it since it was read. */
export interface FieldWrite {
  no: number;
  rev: number;
  from: FieldValue;
  to: FieldValue;
}

interface Field {
  /** SQL: what a run has there; ?2 is the change's JSON */
  read: string;
  /** SQL: about how many bytes that is, read without reading it */
  size: string;
  /** SQL: what is needed to take a change back; `bulk` is its JSON, `before` that of what was there */
  readBack: (bulk: string, before: string) => string;
  /** SQL: the assignment of a JSON value */
  write: (to: string) => string;
}

const isStill =
  (column: string): Field["readBack"] =>
  (bulk) =>
    `${column} IS (${bulk} ->> '$')`;

const changedTags = (change: string) =>
  `(SELECT json_group_object(key, value) FROM json_each(tags) WHERE key IN (SELECT key FROM json_each(${change})))`;

const plain = (column: string, size: string): Field => ({
  read: column,
  size,
  readBack: isStill(column),
  write: (to) => `${column} = ${to} ->> '$'`,
});

const fields: Record<FieldChange["field"], Field> = {
  tags: {
    read: changedTags("?2"),
    size: "octet_length(tags)",
    readBack: changedTags,
    write: (to) => `tags = jsonb_patch(tags, ${to})`,
  },
  note: plain("note", "octet_length(note)"),
  archived: plain("archived", "0"),
  deleted: plain("deleted", "0"),
  experiment: {
    read: "json_array(experiment, number)",
    size: "0",
    // [the last number of the experiment it came from, whether its own is free there], if it still is where it went
    readBack: (bulk, before) => `CASE WHEN experiment IS (${bulk} ->> '$') THEN json_array(
      (SELECT max(number) FROM runs AS last WHERE last.experiment = ${before} ->> 0),
      NOT EXISTS (SELECT 1 FROM runs AS taken WHERE taken.experiment = ${before} ->> 0 AND taken.number = ${before} ->> 1)) END`,
    write: (to) => `experiment = ${to} ->> 0, number = ${to} ->> 1,
      moved_from = CASE WHEN experiment IN (SELECT value FROM json_each(moved_from)) THEN moved_from
        ELSE json_insert(coalesce(moved_from, '[]'), '$[#]', experiment) END`,
  },
};

/** The SQL that reads a field for a change, and that says how large it is. */
export const readOf = ({ field }: FieldChange): Pick<Field, "read" | "size"> => fields[field];

/** Reads runs, given as JSON of [no, before], for taking back a change that made them `to`. */
export const selectForUndo = (
  db: D1Database,
  { field }: FieldChange,
  to: FieldValue,
  before: [no: number, from: FieldValue][],
): D1PreparedStatement =>
  db
    .prepare(
      `SELECT each.value ->> 0 AS no, rev, ${fields[field].readBack("?2", "(each.value -> 1)")} AS value
       FROM json_each(?1) AS each LEFT JOIN runs ON runs.no = each.value ->> 0 ORDER BY each.key`,
    )
    .bind(
      JSON.stringify(before.map(([no, from]) => (field === "experiment" ? [no, from] : [no]))),
      JSON.stringify(to),
    );

/** Bound values may have 2 MB; a run's own are less than a third of that. */
const maxBound = 1_400_000;

/** The statements that write a field of runs, each with how many it must change for all of them to be as they were read. */
export function writeFields(
  db: D1Database,
  { field }: FieldChange,
  writes: FieldWrite[],
): [D1PreparedStatement, number][] {
  const update = (to: string) =>
    `UPDATE runs SET ${fields[field].write(to)}, rev = rev + 1, touched = max(${now}, touched + 1)
     FROM json_each(?1) AS each WHERE runs.no = each.value ->> 0 AND rev = each.value ->> 1`;
  const [first] = writes;
  if (!first) return [];
  if (writes.every(({ to }) => to === first.to)) {
    const rows = JSON.stringify(writes.map(({ no, rev }) => [no, rev]));
    return [[db.prepare(update("?2")).bind(rows, JSON.stringify(first.to)), writes.length]];
  }
  return packed(writes.map(({ no, rev, to }) => JSON.stringify([no, rev, to]))).map((rows) => [
    db.prepare(update("(each.value -> 2)")).bind(`[${rows.join()}]`),
    rows.length,
  ]);
}

/** Divides texts, in their order, so that none of the parts is too large to be bound. */
function packed(texts: string[]): string[][] {
  const parts: string[][] = [];
  let size = Infinity;
  for (const text of texts) {
    // three bytes a character at most, and then most of them are as long in JSON
    const bytes = text.length * 3;
    if (size + bytes > maxBound) {
      parts.push([]);
      size = 0;
    }
    parts.at(-1)!.push(text);
    size += bytes;
  }
  return parts;
}

/** Plans what a change does to the runs found: those that are so already, or are gone, are left out. `at` is the time, in ms. */
export function planChange(
  change: FieldChange,
  found: FoundField[],
  { at, lastNumber }: { at: number; lastNumber: number },
): FieldWrite[] {
  const writes: FieldWrite[] = [];
  for (const { no, rev, value } of found) {
    if (rev === null) continue;
    const number = lastNumber + writes.length + 1;
    const step = stepOf(change, value, { at, number });
    if (step) writes.push({ no, rev, ...step });
  }
  return writes;
}

/** Returns what a field holds and what it becomes, or undefined where that is the same. */
function stepOf(
  change: FieldChange,
  value: FoundField["value"],
  { at, number }: { at: number; number: number },
): Pick<FieldWrite, "from" | "to"> | undefined {
  if (change.field === "tags") {
    const tags = JSON.parse(value as string) as Tags;
    const had = Object.entries(change.to)
      .filter(([name, text]) => tagOf(tags, name) !== text)
      .map(([name]) => [name, tagOf(tags, name)] as const);
    return had.length ? { from: Object.fromEntries(had), to: change.to } : undefined;
  }
  if (change.field === "experiment") {
    const from = JSON.parse(value as string) as [string, number];
    return from[0] === change.to ? undefined : { from, to: [change.to, number] };
  }
  if (change.field === "note")
    return value === change.to ? undefined : { from: value, to: change.to };
  return (value !== null) === change.to ? undefined : { from: value, to: change.to ? at : null };
}

/** What taking a change back does: what is written, and how many runs get back all that the change took. */
export interface UndoPlan {
  writes: FieldWrite[];
  restored: number;
}

/** Plans how runs, found as selectForUndo reads them, get back what they had `before`, where nobody changed it since. */
export function planUndo(
  { field }: FieldChange,
  to: FieldValue,
  before: [no: number, from: FieldValue][],
  found: FoundField[],
): UndoPlan {
  const writes: FieldWrite[] = [];
  let restored = 0;
  const numbers = field === "experiment" ? freeNumbers(before, found) : undefined;
  for (const [i, { no, rev, value }] of found.entries()) {
    const from = before[i]![1];
    if (rev === null || value === null || value === 0) continue;
    if (field === "tags") {
      const tags = JSON.parse(value as string) as Tags;
      const had = Object.entries(from as TagsChange);
      const back = had.filter(([name]) => tagOf(tags, name) === (to as TagsChange)[name]);
      if (back.length) writes.push({ no, rev, from: value, to: Object.fromEntries(back) });
      if (back.length === had.length) restored++;
      continue;
    }
    const back: FieldValue = numbers ? [(from as [string, number])[0], numbers.get(no)!] : from;
    writes.push({ no, rev, from: value, to: back });
    restored++;
  }
  return { writes, restored };
}

/** A tag may be named "constructor", which every object has. */
const tagOf = (tags: Tags, name: string): string | null =>
  Object.hasOwn(tags, name) ? tags[name]! : null;

/** Returns the numbers that runs get in the experiments they came from: their own where it is free, else one after the last. */
function freeNumbers(
  before: [no: number, from: FieldValue][],
  found: FoundField[],
): Map<number, number> {
  const numbers = new Map<number, number>();
  const last = new Map<string, number>();
  const moving = found.flatMap(({ no, value }, i) => {
    if (typeof value !== "string") return [];
    const [experiment, number] = before[i]![1] as [string, number];
    const [greatest, isFree] = JSON.parse(value) as [number | null, 0 | 1];
    last.set(experiment, Math.max(last.get(experiment) ?? 0, greatest ?? 0, number));
    return [{ no, experiment, number, isFree }];
  });
  for (const { no, experiment, number, isFree } of moving) {
    const next = last.get(experiment)! + 1;
    numbers.set(no, isFree ? number : next);
    if (!isFree) last.set(experiment, next);
  }
  return numbers;
}
