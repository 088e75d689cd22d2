import { Hono } from "hono";
import { parse } from "../../wire/parse.ts";
import { RunLinks } from "../../wire/run-links.ts";
import { readJSON } from "../body.ts";
import { linkRun, selectLinks } from "../db/datasets.ts";
import { selectRun } from "../db/runs.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { json } from "./answer.ts";

export const runLinks = new Hono<App>()
  .get(
    "/runs/:run/links",
    route({
      right: "reader",
      summary: "The datasets that a run read, the models it read and made",
    }),
    async (c) => {
      const { no } = await selectRun(c.env.DB, c.req.param("run"));
      const { datasets = [], models = [] } = (await selectLinks(c.env.DB, [no])).get(no) ?? {};
      return json(c, {
        datasets: datasets.map(({ tags, ...dataset }) => ({
          ...dataset,
          tags: Object.fromEntries(tags.map(({ key, value }) => [key, value])),
        })),
        models,
      });
    },
  )
  .post(
    "/runs/:run/links",
    route({
      right: "writer",
      summary: "Note datasets that a run read, models it read or made; what it has already stays",
      body: RunLinks,
    }),
    async (c) => {
      const { datasets, models } = parse(RunLinks, await readJSON(c));
      const links = {
        datasets: datasets.map(({ tags, ...dataset }) => ({
          ...dataset,
          tags: Object.entries(tags).map(([key, value]) => ({ key, value })),
        })),
        models,
      };
      await linkRun(c.env.DB, c.req.param("run"), links, c.get("visitor").who);
      return json(c, {});
    },
  );
