import { Hono } from "hono";
import { selectLinks } from "../db/datasets.ts";
import { selectRun } from "../db/runs.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { json } from "./answer.ts";

export const datasets = new Hono<App>().get(
  "/runs/:run/datasets",
  route({ right: "reader", summary: "The datasets that a run read, with the tags it gave them" }),
  async (c) => {
    const { no } = await selectRun(c.env.DB, c.req.param("run"));
    const links = await selectLinks(c.env.DB, [no]);
    const read = links.get(no)?.datasets ?? [];
    return json(
      c,
      read.map(({ tags, ...dataset }) => ({
        ...dataset,
        tags: Object.fromEntries(tags.map(({ key, value }) => [key, value])),
      })),
    );
  },
);
