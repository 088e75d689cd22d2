import { Hono, type Context } from "hono";
import * as v from "valibot";
import { formatCursor, parseCursor } from "../../wire/cursor.ts";
import { ApiError } from "../../wire/error.ts";
import { parse } from "../../wire/parse.ts";
import { parseOrder } from "../../wire/order.ts";
import { rowsWhere } from "../../wire/predicate.ts";
import { parseWhere } from "../../wire/query.ts";
import { runColumns } from "../../wire/run-columns.ts";
import { Finish, NewRun, RunPatch, type Run } from "../../wire/run.ts";
import { runsTable } from "../../wire/runs-table.ts";
import { sortedRows } from "../../wire/sort.ts";
import { readJSON } from "../body.ts";
import { selectExperiment, selectExperiments } from "../db/experiments.ts";
import {
  beat,
  createRun,
  deleteRun,
  finishRun,
  patchRun,
  purgeRun,
  resumeRun,
  selectRun,
  selectRuns,
  type FoundRun,
} from "../db/runs.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { formatOf, json, table } from "./answer.ts";
import { compactLater } from "./compact-later.ts";
import { blocksOf, encodeBlocks } from "./blocks.ts";
import { count, list, text } from "./query.ts";

const RunsQuery = v.strictObject({
  experiment: v.optional(list),
  where: v.optional(text),
  order: v.optional(text),
  columns: v.optional(list),
  limit: v.optional(count(1_000_000)),
  archived: v.optional(v.pipe(text, v.picklist(["true", "false"]))),
  since: v.optional(text),
});

export const runs = new Hono<App>()
  .on(
    "GET",
    ["/runs.arrow", "/runs.csv", "/runs.json", "/runs.parquet"],
    route({
      right: "reader",
      summary:
        "Runs as a table, newest first. experiment: id or name, may repeat. columns: names, by comma or repeated. archived=true: with the archived ones. since: the cursor of an earlier answer (header x-assay-cursor, and Arrow schema metadata), for what changed",
      query: RunsQuery,
    }),
    async (c) => {
      const query = parse(RunsQuery, c.req.queries(), "query");
      // What the limit cut off would lie behind the cursor and never be told.
      if (query.since !== undefined && query.limit !== undefined)
        throw new ApiError("INVALID_PARAMETER_VALUE", "since and limit do not go together");
      const since = query.since === undefined ? undefined : parseCursor(query.since);
      const { ids, nameOf } = await namedExperiments(c.env.DB, query.experiment);
      const found = await selectRuns(c.env.DB, {
        experiments: ids,
        archived: query.archived === "true",
        since,
      });
      const cursor = formatCursor(
        found.map(({ no, touched }) => [no, touched]),
        since,
      );
      const columns = runsTable(arranged(found, query, nameOf), {
        columns: query.columns?.flatMap((names) => names.split(",")),
        experimentName: nameOf,
      });
      return table(c, encodeBlocks(formatOf(c), blocksOf(columns), { cursor }), { cursor });
    },
  )
  .post(
    "/runs",
    route({
      right: "writer",
      summary: "Start a run; an experiment named for the first time is created",
      body: NewRun,
      answers: {
        201: "created, or created before by the same request",
        409: "the id was used for another run",
      },
    }),
    async (c) => {
      const run = parse(NewRun, await readJSON(c));
      return answerRun(c, await createRun(c.env.DB, run, c.get("visitor").who), 201);
    },
  )
  .get("/runs/:run", route({ right: "reader", summary: "A run, deleted or not" }), async (c) => {
    return answerRun(c, await selectRun(c.env.DB, c.req.param("run")));
  })
  .patch(
    "/runs/:run",
    route({
      right: "writer",
      summary: "Change name, note and tags (null takes a tag away); add params, which are set once",
      body: RunPatch,
    }),
    async (c) => {
      const patch = parse(RunPatch, await readJSON(c));
      return answerRun(
        c,
        await patchRun(c.env.DB, c.req.param("run"), patch, c.get("visitor").who),
      );
    },
  )
  .post(
    "/runs/:run/finish",
    route({ right: "writer", summary: "End a run as finished, failed or killed", body: Finish }),
    async (c) => {
      const finish = parse(Finish, await readJSON(c));
      const run = await finishRun(c.env.DB, c.req.param("run"), finish, c.get("visitor").who);
      if (run.points) compactLater(c, run.no);
      return answerRun(c, run);
    },
  )
  .post(
    "/runs/:run/resume",
    route({ right: "writer", summary: "Set a run that ended going again" }),
    async (c) => {
      return answerRun(c, await resumeRun(c.env.DB, c.req.param("run"), c.get("visitor").who));
    },
  )
  .post(
    "/runs/:run/heartbeat",
    route({ right: "writer", summary: "Say that a run is still going" }),
    async (c) => {
      await beat(c.env.DB, c.req.param("run"));
      return json(c, {});
    },
  )
  .delete(
    "/runs/:run",
    route({ right: "writer", summary: "Delete a run; it can be restored" }),
    async (c) => {
      return answerRun(
        c,
        await deleteRun(c.env.DB, c.req.param("run"), true, c.get("visitor").who),
      );
    },
  )
  .post(
    "/runs/:run/restore",
    route({ right: "writer", summary: "Take a deleted run back" }),
    async (c) => {
      return answerRun(
        c,
        await deleteRun(c.env.DB, c.req.param("run"), false, c.get("visitor").who),
      );
    },
  )
  .post(
    "/runs/:run/purge",
    route({ right: "admin", summary: "Remove a deleted run for good" }),
    async (c) => {
      await purgeRun(c.env.DB, c.req.param("run"), c.get("visitor").who);
      return json(c, {});
    },
  );

function answerRun(c: Context, { ...run }: Run | FoundRun, status: 200 | 201 = 200): Response {
  return json(c, { ...run, no: undefined, touched: undefined }, status);
}

/** Returns the ids of the named experiments (undefined for all) and how to name one. */
export async function namedExperiments(db: D1Database, idsOrNames: string[] | undefined) {
  const found = idsOrNames
    ? await Promise.all(idsOrNames.map((idOrName) => selectExperiment(db, idOrName)))
    : await selectExperiments(db, { archived: true });
  const names = new Map(found.map(({ id, name }) => [id, name]));
  return {
    ids: idsOrNames && found.map(({ id }) => id),
    nameOf: (id: string) => names.get(id) ?? id,
  };
}

function arranged(
  found: FoundRun[],
  { where, order, limit }: v.InferOutput<typeof RunsQuery>,
  nameOf: (id: string) => string,
): FoundRun[] {
  const filter = where === undefined ? undefined : parseWhere(where);
  const terms = order === undefined ? [] : parseOrder(order);
  const columns = runColumns(found, { experimentName: nameOf });
  const rows = sortedRows(terms, columns, filter && rowsWhere(filter, columns));
  return Array.from(limit === undefined ? rows : rows.subarray(0, limit), (row) => found[row]!);
}
