import { ApiError } from "../../wire/error.ts";
import type { Points } from "../../wire/point.ts";
import { workspace } from "../env.ts";
import { digestOf, logChange, now } from "./events.ts";
import { noSuchRun } from "./runs.ts";
import {
  appendBatch,
  checkAppended,
  planAppend,
  type AppendCondition,
  type Append,
} from "./tail.ts";

/** What is logged to a run at once, whether it goes on or has ended: all of it is stored, or nothing. */
export interface Log {
  points?: Points | undefined;
  /** params to set: JSON of an object of texts and numbers, which keep their digits */
  params?: string | undefined;
  /** tags to set; null takes one away */
  tags?: Record<string, string | null> | undefined;
  name?: string | undefined;
  note?: string | undefined;
  /** the run it belongs to; "" for none */
  parent?: string | undefined;
}

interface Row {
  no: number;
  state: string;
  deleted: number | null;
  tail: number;
  digest: string | null;
  params: string | null;
}

/** What came of a log: the run's row number and the points in its tail, or the params that stood in its way. */
export interface LogOutcome {
  no: number;
  tail: number;
  /** the run's params as they are stored, JSON, where one of them was to get another value and so nothing was stored */
  conflicting: string | null;
}

/** Whether none of the params to set, the JSON of a parameter, has another value in the row of `runs`. */
const areFree = (param: string) =>
  `NOT EXISTS (SELECT 1 FROM json_each(${param}) AS sent WHERE runs.params -> sent.fullkey <> ${param} -> sent.fullkey)`;

/** Stores what is logged, in one batch. Throws where the run is unknown or deleted; the same again changes nothing. */
export async function logToRun(
  db: D1Database,
  run: string,
  { points, params, tags = {}, name, note, parent }: Log,
  who: string,
): Promise<LogOutcome> {
  const condition: AppendCondition = params
    ? { sql: areFree("?6"), bound: [params] }
    : { sql: "true", bound: [] };
  const append: Append | undefined = points && (await planAppend(db, run, points, { condition }));
  const tagsText = JSON.stringify(tags);
  const hasFields = [params, name, note, parent].some((field) => field !== undefined);
  const fields =
    hasFields || tagsText !== "{}"
      ? [
          db
            .prepare(
              `UPDATE runs SET params = jsonb_patch(params, ?3), tags = jsonb_patch(tags, ?4), name = coalesce(?5, name),
                 note = coalesce(?6, note), parent = iif(?7 IS NULL, parent, nullif(?7, '')), rev = rev + 1, touched = max(${now}, touched + 1)
               WHERE workspace = ?1 AND id = ?2 AND deleted IS NULL AND ${areFree("?3")}
                 AND (jsonb_patch(params, ?3) <> params OR jsonb_patch(tags, ?4) <> tags OR coalesce(?5, name) <> name
                   OR coalesce(?6, note) <> note OR ?7 IS NOT NULL AND nullif(?7, '') IS NOT parent)`,
            )
            .bind(
              workspace,
              run,
              params ?? "{}",
              tagsText,
              name ?? null,
              note ?? null,
              parent ?? null,
            ),
          logChange(db, {
            who,
            what: "run.patch",
            subject: run,
            digest: await digestOf([params, tags, name, note, parent]),
          }),
        ]
      : [];
  const [outcome, appended] = (
    await appendBatch<Row>(db, run, [
      ...fields,
      ...(append?.statements ?? []),
      db
        .prepare(
          `SELECT no, state, deleted, tail, CASE WHEN NOT ${areFree("?3")} THEN json(params) END AS params
           FROM runs WHERE workspace = ?1 AND id = ?2`,
        )
        .bind(workspace, run, params ?? "{}"),
    ])
  )
    .slice(-2)
    .map(({ results }) => results[0])
    .toReversed();
  if (!outcome) throw noSuchRun(run);
  const { no, tail, deleted, params: conflicting } = outcome;
  if (deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${run}`);
  if (append && conflicting === null) checkAppended(appended, append);
  return { no, tail, conflicting };
}
