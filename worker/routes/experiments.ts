import { Hono } from "hono";
import { ExperimentPatch, NewExperiment, type Experiment } from "../../wire/experiment.ts";
import { parse } from "../../wire/parse.ts";
import type { Column } from "../../wire/table.ts";
import { readJSON } from "../body.ts";
import {
  archiveExperiment,
  createExperiment,
  experimentOf,
  patchExperiment,
  selectExperiment,
  selectExperiments,
} from "../db/experiments.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { formatOf, json, table } from "./answer.ts";
import { blocksOf, encodeBlocks } from "./blocks.ts";

export const experiments = new Hono<App>()
  .get(
    "/experiments",
    route({
      right: "reader",
      summary: "List the experiments, newest first; ?archived=true with the archived ones",
    }),
    async (c) => {
      const found = await selectExperiments(c.env.DB, {
        archived: c.req.query("archived") === "true",
      });
      return json(c, found.map(experimentOf));
    },
  )
  .on(
    "GET",
    ["/experiments.arrow", "/experiments.csv", "/experiments.json", "/experiments.parquet"],
    route({ right: "reader", summary: "The experiments as a table" }),
    async (c) => {
      const columns = experimentsTable(
        await selectExperiments(c.env.DB, { archived: c.req.query("archived") === "true" }),
      );
      return table(c, encodeBlocks(formatOf(c), blocksOf(columns), {}));
    },
  )
  .post(
    "/experiments",
    route({
      right: "writer",
      summary: "Create an experiment",
      body: NewExperiment,
      answers: {
        201: "created, or created before by the same request",
        409: "the id or the name is taken",
      },
    }),
    async (c) => {
      const experiment = parse(NewExperiment, await readJSON(c));
      const created = await createExperiment(c.env.DB, experiment, c.get("visitor").who);
      return json(c, experimentOf(created), 201);
    },
  )
  .get(
    "/experiments/:experiment",
    route({ right: "reader", summary: "An experiment, by id or name" }),
    async (c) => {
      return json(c, experimentOf(await selectExperiment(c.env.DB, c.req.param("experiment"))));
    },
  )
  .patch(
    "/experiments/:experiment",
    route({
      right: "writer",
      summary: "Change an experiment; a tag set to null is taken away",
      body: ExperimentPatch,
    }),
    async (c) => {
      const patch = parse(ExperimentPatch, await readJSON(c));
      return json(
        c,
        experimentOf(
          await patchExperiment(c.env.DB, c.req.param("experiment"), patch, c.get("visitor").who),
        ),
      );
    },
  )
  .delete(
    "/experiments/:experiment",
    route({ right: "writer", summary: "Archive an experiment; its runs stay as they are" }),
    async (c) => {
      return json(
        c,
        experimentOf(
          await archiveExperiment(c.env.DB, c.req.param("experiment"), true, c.get("visitor").who),
        ),
      );
    },
  )
  .post(
    "/experiments/:experiment/restore",
    route({ right: "writer", summary: "Take an archived experiment back into use" }),
    async (c) => {
      return json(
        c,
        experimentOf(
          await archiveExperiment(c.env.DB, c.req.param("experiment"), false, c.get("visitor").who),
        ),
      );
    },
  );

function experimentsTable(found: Experiment[]): Column[] {
  const column = (name: keyof Experiment, type: Column["type"]): Column => ({
    name,
    type,
    values: found.map((e) => e[name]),
  });
  return [
    column("id", "utf8"),
    column("name", "utf8"),
    column("hypothesis", "utf8"),
    column("metric", "utf8"),
    column("direction", "utf8"),
    column("conclusion", "utf8"),
    column("runs", "float64"),
    column("created", "timestamp"),
    column("archived", "timestamp"),
  ];
}
