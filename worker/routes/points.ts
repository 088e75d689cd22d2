import { Hono, type Context } from "hono";
import { RE2JS } from "re2js";
import * as v from "valibot";
import { formatCursor, parseCursor } from "../../wire/cursor.ts";
import { ApiError, shown } from "../../wire/error.ts";
import { parse } from "../../wire/parse.ts";
import { arrowType, pointsFromIPC } from "../../wire/point-ipc.ts";
import { pointsFromJSON } from "../../wire/point.ts";
import { readBytes, readJSON } from "../body.ts";
import { keepAnswer, openAnswer } from "../db/answers.ts";
import { readBuckets } from "../db/buckets.ts";
import { fullTail } from "../db/compact.ts";
import { digestOf } from "../db/events.ts";
import { lotRangeOf, readPoints, type PointRun, type PointSelection } from "../db/points.ts";
import { selectMetricKeys, selectPointRuns, selectRun } from "../db/runs.ts";
import { appendPoints } from "../db/tail.ts";
import { keysWithin, readWindows } from "../db/windows.ts";
import type { App } from "../env.ts";
import { inflated, type Piece } from "../gzip.ts";
import { route } from "../route.ts";
import { formatOf, isKnown, json, parseRange, table, tableHeaders } from "./answer.ts";
import { encodeBlocks } from "./blocks.ts";
import { compactLater } from "./compact-later.ts";
import { arrowPieces } from "./points-arrow.ts";
import { bucketBlocks, pointBlocks, wideBlocks } from "./points-blocks.ts";
import { count, list, number, parseSender, SenderQuery, text, time } from "./query.ts";
import { namedExperiments } from "./runs.ts";

const PointsQuery = v.strictObject({
  experiment: v.optional(list),
  run: v.optional(list),
  key: v.optional(list),
  prefix: v.optional(list),
  regex: v.optional(text),
  from: v.optional(number),
  to: v.optional(number),
  timeFrom: v.optional(time),
  timeTo: v.optional(time),
  since: v.optional(text),
  until: v.optional(text),
  buckets: v.optional(count(100_000)),
  layout: v.optional(v.pipe(text, v.picklist(["long", "wide"], "expected long or wide"))),
});
type PointsQuery = v.InferOutput<typeof PointsQuery>;

export const points = new Hono<App>()
  .post(
    "/runs/:run/points",
    route({
      right: "writer",
      summary:
        "Append points to a run, all or none. With writer and seq a retry changes nothing and answers the same",
      query: SenderQuery,
      body: {
        "application/json":
          'an array of {key, step, time?, value}; values may be "NaN", "Infinity", "-Infinity"',
        [arrowType]: "an Arrow IPC stream of key, step, time? and value",
      },
      answers: {
        200: "{accepted: how many}",
        409: "the run is closed or deleted, or seq was used for other points",
        413: "too many points or bytes",
      },
    }),
    async (c) => {
      const { writer, seq } = parseSender(c);
      const isArrow = c.req.header("content-type")?.startsWith(arrowType);
      const points = isArrow
        ? pointsFromIPC(await readBytes(c))
        : pointsFromJSON(await readJSON(c));
      if (points.step.length) {
        const { no, tail } = await appendPoints(c.env.DB, c.req.param("run"), writer, seq, points);
        if (tail >= fullTail) compactLater(c, no);
      } else await selectRun(c.env.DB, c.req.param("run"));
      return json(c, { accepted: points.step.length });
    },
  )
  .on(
    "GET",
    ["/points.arrow", "/points.csv", "/points.json", "/points.parquet"],
    route({
      right: "reader",
      summary:
        "Every point of runs (run, experiment: id or name; may repeat), by run, key and step. Of keys (key, prefix: may repeat; regex: RE2), steps from–to, times timeFrom–timeTo (ms or ISO 8601), accepted since and until a cursor; those with until never change. buckets=n: at most n buckets of a series, first, last, min, max and counts of each. layout=wide: one run, a column for each key. .csv and .parquet answer HEAD and Range",
      query: PointsQuery,
      answers: { 206: "the range asked for", 304: "as it was" },
    }),
    async (c) => {
      const query = parse(PointsQuery, c.req.queries(), "query");
      const selection = selectionOf(query);
      const runs = await selectedRuns(c.env.DB, query);
      if (query.layout === "wide") checkWide(query, runs);
      const cursor = formatCursor(
        runs.map(({ no, touched }) => [no, touched]),
        selection.since,
      );
      const changed = runs.filter((run) => {
        const { after, upTo } = lotRangeOf(run, selection);
        return upTo > after;
      });
      const isPinned = selection.until !== undefined;
      const options = {
        cursor: isPinned ? query.until! : cursor,
        version: await versionOf(c, changed, selection),
        isPinned,
      };
      const make = () => encode(c, changed, query, selection, options.cursor);
      const isFile = ["csv", "parquet"].includes(formatOf(c));
      if (isFile && (c.req.method === "HEAD" || c.req.header("range") !== undefined))
        return file(c, make, options);
      const answer = table(c, make(), options);
      if (isFile) answer.headers.set("accept-ranges", "bytes");
      return answer;
    },
  );

function selectionOf(query: PointsQuery): PointSelection {
  const { from, to, timeFrom, timeTo, since, until, buckets, layout } = query;
  if (from !== undefined && to !== undefined && from > to)
    throw invalid(`invalid range of steps: from ${from} to ${to}`);
  if (timeFrom !== undefined && timeTo !== undefined && timeFrom > timeTo)
    throw invalid(`invalid range of times: from ${timeFrom} to ${timeTo}`);
  if (buckets !== undefined && buckets < 2)
    throw invalid(`invalid buckets: ${buckets} (expected 2 or more)`);
  if (buckets !== undefined && layout === "wide")
    throw invalid("buckets and layout=wide do not go together");
  return {
    key: keyTest(query),
    // No step lies beyond these, and widths of buckets stay numbers.
    from: from === undefined ? undefined : Math.max(from, -Number.MAX_SAFE_INTEGER),
    to: to === undefined ? undefined : Math.min(to, Number.MAX_SAFE_INTEGER),
    timeFrom,
    timeTo,
    since: since === undefined ? undefined : parseCursor(since),
    until: until === undefined ? undefined : parseCursor(until, "until"),
  };
}

/** Whether a key is one of those named, begins as one of the prefixes, or matches. */
function keyTest({ key, prefix, regex }: PointsQuery): PointSelection["key"] {
  if (!key && !prefix && regex === undefined) return undefined;
  const keys = new Set(key);
  const pattern = regex === undefined ? undefined : compile(regex);
  return (name) =>
    keys.has(name) ||
    (prefix?.some((begin) => name.startsWith(begin)) ?? false) ||
    (pattern?.matcher(name).find() ?? false);
}

/** RE2 takes time linear in the text, whatever the pattern; the platform's own does not. */
function compile(regex: string): RE2JS {
  try {
    return RE2JS.compile(regex);
  } catch (error) {
    throw invalid(`invalid regex: ${shown(regex)} (${(error as Error).message})`);
  }
}

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** The runs asked for; a deleted run is still read when it is named itself. */
async function selectedRuns(
  db: D1Database,
  { experiment, run }: Pick<PointsQuery, "experiment" | "run">,
): Promise<PointRun[]> {
  if (!experiment && !run) throw invalid("missing run or experiment");
  const experiments = await namedExperiments(db, experiment ?? []);
  return selectPointRuns(db, { experiments: experiments.map(({ id }) => id), runs: run ?? [] });
}

function checkWide({ experiment }: PointsQuery, runs: PointRun[]): void {
  if (runs.length === 1 && !experiment) return;
  throw invalid("layout=wide takes one run, named by run");
}

/** A name for the rows that a request answers with: they follow from what is asked and from what each run had accepted. */
async function versionOf(
  c: Context,
  runs: PointRun[],
  { since, until }: PointSelection,
): Promise<string> {
  const { pathname, searchParams } = new URL(c.req.url);
  searchParams.sort();
  const held = runs.map((run) => {
    const { after, upTo } = lotRangeOf(run, { since, until });
    return [run.id, after, upTo];
  });
  return (await digestOf([pathname, searchParams.toString(), held])).slice(0, 32);
}

async function* encode(
  c: Context<App>,
  runs: PointRun[],
  query: PointsQuery,
  selection: PointSelection,
  cursor: string,
): AsyncGenerator<Piece> {
  const format = formatOf(c);
  const ids = runs.map(({ id }) => id);
  const all = await selectMetricKeys(
    c.env.DB,
    runs.map(({ no }) => no),
  );
  const keys = selection.key ? all.filter(selection.key) : all;
  if (query.buckets !== undefined) {
    const series = readBuckets(c.env, runs, selection, query.buckets);
    yield* encodeBlocks(format, bucketBlocks(ids, keys, series), { cursor });
  } else if (query.layout === "wide") {
    const [run] = runs;
    const held = run ? await keysWithin(c.env, run, selection) : [];
    const windows = run ? readWindows(c.env, run, selection) : nothing();
    yield* encodeBlocks(format, wideBlocks(held, windows), { cursor });
  } else {
    const parts = readPoints(c.env, runs, selection);
    if (format === "arrow") yield* arrowPieces(ids, keys, parts, cursor);
    else yield* encodeBlocks(format, pointBlocks(ids, keys, parts), { cursor });
  }
}

async function* nothing(): AsyncGenerator<never> {}

/** Answers with the size, or with a range, of an answer that is kept for the purpose. */
async function file(
  c: Context<App>,
  make: () => AsyncIterable<Piece>,
  options: { cursor: string; version: string; isPinned: boolean },
): Promise<Response> {
  const { version } = options;
  const headers = tableHeaders(c, options);
  headers.set("etag", `"${version}"`);
  headers.set("accept-ranges", "bytes");
  if (isKnown(c, version)) return new Response(null, { status: 304, headers });
  const size = await keepAnswer(c.env.FILES, version, () => inflated(make()));
  const condition = c.req.header("if-range");
  const isSame = condition === undefined || condition.includes(version);
  const range = isSame ? parseRange(c, size) : undefined;
  headers.set("content-length", String(range?.length ?? size));
  if (range)
    headers.set(
      "content-range",
      `bytes ${range.offset}-${range.offset + range.length - 1}/${size}`,
    );
  const isEmpty = c.req.method === "HEAD" || size === 0;
  return new Response(isEmpty ? null : await openAnswer(c.env.FILES, version, range), {
    status: range ? 206 : 200,
    headers,
    // What is sent is the bytes that were counted.
    encodeBody: "manual",
  });
}
