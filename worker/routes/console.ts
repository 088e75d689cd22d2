import { Hono } from "hono";
import * as v from "valibot";
import { NewLines } from "../../wire/console.ts";
import { parse } from "../../wire/parse.ts";
import { readJSON } from "../body.ts";
import { appendLines, selectLines } from "../db/console.ts";
import { selectRun } from "../db/runs.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { json } from "./answer.ts";
import { count, parseSender, SenderQuery } from "./query.ts";

const LinesQuery = v.strictObject({
  after: v.optional(count(Number.MAX_SAFE_INTEGER)),
  limit: v.optional(count(10_000)),
  tail: v.optional(count(10_000)),
});

/** The console of a run: what it printed, line by line. */
export const consoleLines = new Hono<App>()
  .post(
    "/runs/:run/console",
    route({
      right: "writer",
      summary:
        "Append console lines: texts, or {text, stream?: out | err, time?}. With writer and seq a retry changes nothing",
      query: SenderQuery,
      body: NewLines,
      answers: { 200: "{accepted: how many}" },
    }),
    async (c) => {
      const { writer, seq } = parseSender(c);
      const lines = parse(NewLines, await readJSON(c), "lines");
      if (lines.length) await appendLines(c.env.DB, c.req.param("run"), writer, seq, lines);
      else await selectRun(c.env.DB, c.req.param("run"));
      return json(c, { accepted: lines.length });
    },
  )
  .get(
    "/runs/:run/console",
    route({
      right: "reader",
      summary:
        "Console lines after line number `after`, up to `limit`; or the last `tail`. The answer's `next` is the `after` of the next call",
      query: LinesQuery,
    }),
    async (c) => {
      const query = parse(LinesQuery, c.req.queries(), "query");
      const { lines, total } = await selectLines(c.env.DB, c.req.param("run"), query);
      const { after = 0, tail } = query;
      const next = lines.at(-1)?.n ?? (tail === undefined ? Math.min(after, total) : total);
      return json(c, { lines, total, next });
    },
  );
