import { Hono } from "hono";
import type * as v from "valibot";
import { Bulk, maxBulk, type FieldChange } from "../../wire/bulk.ts";
import { ApiError } from "../../wire/error.ts";
import { newId } from "../../wire/id.ts";
import { parse } from "../../wire/parse.ts";
import { parseWhere } from "../../wire/query.ts";
import { readJSON } from "../body.ts";
import { beginBulk, carryOut, isBulkBegun, undoBulk } from "../db/bulk.ts";
import { digestOf } from "../db/events.ts";
import { selectExperiment } from "../db/experiments.ts";
import { selectNumbers } from "../db/runs.ts";
import { findRuns } from "../db/runs-table.ts";
import type { App, Stores } from "../env.ts";
import { route } from "../route.ts";
import { json } from "./answer.ts";
import { namedExperiments } from "./runs.ts";

export const bulk = new Hono<App>()
  .post(
    "/runs/bulk",
    route({
      right: "writer",
      summary:
        "Change up to 10,000 runs alike, named by ids or by experiment and where: one of tags (null takes one away), group (the tag of that name), note, archived, deleted, experiment (to move to). Under the same id the request may be sent again, and goes on where it was",
      body: Bulk,
      answers: {
        200: "changed, or changed before by the same request: {changed, unchanged, undo, expires}",
        404: "a run or an experiment is not there, and nothing changed",
        409: "the id was used for another change, or the change was undone half way",
        410: "the change was left half way for an hour",
        503: "half way: send it again to go on",
      },
    }),
    async (c) => {
      const { id = newId(), runs, change } = parse(Bulk, await readJSON(c));
      const digest = await digestOf({ id, runs, change });
      // Who sends a request again means the runs that its first try meant, whatever a filter would find by now.
      if (!(await isBulkBegun(c.env.DB, id, digest)))
        await beginBulk(c.env.DB, id, digest, {
          change: await settled(c.env.DB, change),
          runs: await numbersOf(c.env, runs, change),
        });
      return json(c, await carryOut(c.env, id, c.get("visitor").who));
    },
  )
  .post(
    "/undo/:undo",
    route({
      right: "writer",
      summary:
        "Take a change of many runs back, within an hour: each gets what it had, but for what somebody changed since",
      answers: {
        200: "taken back, or taken back before: {restored, changedSince}",
        410: "the hour is over",
        503: "half way: send it again to go on",
      },
    }),
    async (c) => json(c, await undoBulk(c.env, c.req.param("undo"), c.get("visitor").who)),
  );

/** An experiment that is moved to is held by its id, as its name may change before a request is sent again. */
async function settled(db: D1Database, change: FieldChange): Promise<FieldChange> {
  if (change.field !== "experiment") return change;
  return { ...change, to: (await selectExperiment(db, change.to)).id };
}

/** Returns the numbers of the runs meant. A filter finds what lists show; to take back what they hide, that as well. */
async function numbersOf(
  stores: Stores,
  runs: v.InferOutput<typeof Bulk>["runs"],
  change: FieldChange,
): Promise<number[]> {
  if (Array.isArray(runs)) return selectNumbers(stores.DB, runs);
  const isTakenBack = (change.field === "archived" || change.field === "deleted") && !change.to;
  const { numbers } = await findRuns(stores, {
    experiments: await namedExperiments(stores.DB, runs.experiment),
    filter: runs.where === undefined ? undefined : parseWhere(runs.where),
    archived: isTakenBack,
    deleted: isTakenBack && change.field === "deleted",
  });
  if (numbers.length > maxBulk)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `too many runs: ${numbers.length}, limit ${maxBulk}`,
    );
  return numbers.toSorted((a, b) => a - b);
}
