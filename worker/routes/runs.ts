import { Hono, type Context } from "hono";
import * as v from "valibot";
import { parseCursor } from "../../wire/cursor.ts";
import { ApiError } from "../../wire/error.ts";
import { parseExactly } from "../../wire/json.ts";
import { parse } from "../../wire/parse.ts";
import { parseOrder } from "../../wire/order.ts";
import { parseWhere } from "../../wire/query.ts";
import type { Experiment } from "../../wire/experiment.ts";
import { Finish, NewRun, RunPatch } from "../../wire/run.ts";
import { readJSON, readWithParams } from "../body.ts";
import { digestOf } from "../db/events.ts";
import { selectExperiment, selectExperiments } from "../db/experiments.ts";
import {
  beat,
  createRun,
  deleteRun,
  finishRun,
  patchRun,
  purgeRun,
  resumeRun,
  runOf,
  selectRun,
  type FoundRun,
} from "../db/runs.ts";
import { selectKeys } from "../db/keys.ts";
import { enough } from "../db/run-blocks.ts";
import { findRuns } from "../db/runs-table.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { formatOf, json, table } from "./answer.ts";
import { compactLater } from "./compact-later.ts";
import { encodeBlocks } from "./blocks.ts";
import { count, list, text } from "./query.ts";
import { formatPlace, keyBlocks, parsePlace, runBlocks, runFields } from "./runs-blocks.ts";
import { settleLater } from "./settle-later.ts";
import { tableFile } from "./table-file.ts";

const RunsQuery = v.strictObject({
  experiment: v.optional(list),
  where: v.optional(text),
  order: v.optional(text),
  columns: v.optional(list),
  limit: v.optional(count(1_000_000)),
  after: v.optional(text),
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
        "Runs as a table, newest first. experiment: id or name, may repeat. where: a filter. columns: names, by comma or repeated; * is every one there is. archived=true: with the archived ones. limit and after: a page, and the place it begins behind (header x-assay-next of the page before). since: the cursor of an earlier answer (header x-assay-cursor, and Arrow schema metadata), for what changed. .csv and .parquet answer HEAD and Range",
      query: RunsQuery,
    }),
    async (c) => {
      const query = parse(RunsQuery, c.req.queries(), "query");
      // What the limit cut off would lie behind the cursor and never be told.
      if (query.since !== undefined && (query.limit ?? query.after) !== undefined)
        throw new ApiError(
          "INVALID_PARAMETER_VALUE",
          `since and ${query.limit === undefined ? "after" : "limit"} do not go together`,
        );
      const experiments = await namedExperiments(c.env.DB, query.experiment);
      const order = query.order === undefined ? [] : parseOrder(query.order);
      const found = await findRuns(c.env, {
        experiments,
        order,
        filter: query.where === undefined ? undefined : parseWhere(query.where),
        limit: query.limit,
        after: query.after === undefined ? undefined : parsePlace(query.after, order.length),
        archived: query.archived === "true",
        since: query.since === undefined ? undefined : parseCursor(query.since),
      });
      if (found.loose >= enough) settleLater(c, experiments);
      const { cursor, next } = found;
      const columns = query.columns?.flatMap((names) => names.split(","));
      const fields = await runFields(c.env, experiments, columns);
      const { pathname } = new URL(c.req.url);
      const version = (await digestOf([pathname, fields, found.version])).slice(0, 32);
      const make = () => encodeBlocks(formatOf(c), runBlocks(found, fields), { cursor });
      const answer = await tableFile(c, make, { cursor, version });
      if (next) answer.headers.set("x-assay-next", formatPlace(next));
      return answer;
    },
  )
  .on(
    "GET",
    ["/keys.arrow", "/keys.csv", "/keys.json", "/keys.parquet"],
    route({
      right: "reader",
      summary:
        "The params, metrics and tags that the runs of experiments have (id or name, may repeat; all where left out): kind, key, type, how many runs have it, the least and greatest of its numbers, when it was last seen",
      query: v.strictObject({ experiment: v.optional(list) }),
    }),
    async (c) => {
      const { experiment } = parse(
        v.strictObject({ experiment: v.optional(list) }),
        c.req.queries(),
        "query",
      );
      const experiments = await namedExperiments(c.env.DB, experiment);
      const keys = await selectKeys(
        c.env,
        experiments.map(({ id }) => id),
      );
      return table(c, encodeBlocks(formatOf(c), keyBlocks(keys), {}));
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
      const run = parse(NewRun, await readWithParams(c));
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
      const patch = parse(RunPatch, await readWithParams(c));
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

function answerRun(c: Context, run: FoundRun, status: 200 | 201 = 200): Response {
  return json(c, { ...runOf(run), params: parseExactly(run.paramsText) }, status);
}

/** Returns the experiments of ids or names; all where none is named, archived ones too. */
export const namedExperiments = (
  db: D1Database,
  idsOrNames: string[] | undefined,
): Promise<Experiment[]> =>
  idsOrNames
    ? Promise.all(idsOrNames.map((idOrName) => selectExperiment(db, idOrName)))
    : selectExperiments(db, { archived: true });
