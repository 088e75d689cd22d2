import { Hono } from "hono";
import * as v from "valibot";
import { endOfStream } from "../../wire/arrow.ts";
import { formatCursor, parseCursor, seenUpTo } from "../../wire/cursor.ts";
import { ApiError } from "../../wire/error.ts";
import { toJSON } from "../../wire/json.ts";
import { parse } from "../../wire/parse.ts";
import { arrowType, pointsBatch, pointsFromIPC, pointsHead } from "../../wire/point-ipc.ts";
import { pointsFromJSON, takePoints, type Points } from "../../wire/point.ts";
import { csvField, csvNumber } from "../../wire/table.ts";
import { readBytes, readJSON } from "../body.ts";
import { appendPoints, readPoints } from "../db/points.ts";
import { selectRun, selectRuns, type FoundRun } from "../db/runs.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { formatOf, json, table, type Format } from "./answer.ts";
import { list, number, parseSender, SenderQuery, text } from "./query.ts";
import { namedExperiments } from "./runs.ts";

const PointsQuery = v.strictObject({
  experiment: v.optional(list),
  run: v.optional(list),
  key: v.optional(list),
  from: v.optional(number),
  to: v.optional(number),
  since: v.optional(text),
});

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
      if (points.step.length) await appendPoints(c.env.DB, c.req.param("run"), writer, seq, points);
      else await selectRun(c.env.DB, c.req.param("run"));
      return json(c, { accepted: points.step.length });
    },
  )
  .on(
    "GET",
    ["/points.arrow", "/points.csv", "/points.json"],
    route({
      right: "reader",
      summary:
        "Every point of runs (run, experiment: id or name; may repeat), by run, key and step; of some keys, steps from–to, or since a cursor",
      query: PointsQuery,
    }),
    async (c) => {
      const query = parse(PointsQuery, c.req.queries(), "query");
      const since = query.since === undefined ? undefined : parseCursor(query.since);
      const runs = await selectPointRuns(c.env.DB, query);
      const changed = since
        ? runs.filter(({ no, touched }) => touched > seenUpTo(since, no))
        : runs;
      const cursor = formatCursor(
        runs.map(({ no, touched }) => [no, touched]),
        since,
      );
      const found = readPoints(c.env.DB, changed, {
        keys: query.key,
        from: query.from,
        to: query.to,
        since,
      });
      return table(c, encode(formatOf(c), changed, found, cursor), cursor);
    },
  );

/** The runs asked for; a deleted run is still read when it is named itself. */
async function selectPointRuns(
  db: D1Database,
  { experiment, run }: v.InferOutput<typeof PointsQuery>,
): Promise<FoundRun[]> {
  if (!experiment && !run)
    throw new ApiError("INVALID_PARAMETER_VALUE", "missing run or experiment");
  const byId = await Promise.all((run ?? []).map((id) => selectRun(db, id)));
  const { ids } = await namedExperiments(db, experiment ?? []);
  const held = experiment ? await selectRuns(db, { experiments: ids }) : [];
  const named = new Set(byId.map(({ id }) => id));
  return [
    ...byId.filter(({ id }, i) => byId.findIndex((other) => other.id === id) === i),
    ...held.filter(({ id }) => !named.has(id)),
  ];
}

type Found = AsyncIterable<{ run: number; points: Points }>;

function encode(
  format: Format,
  runs: FoundRun[],
  found: Found,
  cursor: string,
): AsyncIterable<Uint8Array> {
  if (format === "arrow") return arrowPieces(runs, found, cursor);
  return textPieces(format === "csv" ? csvRows(runs, found) : jsonRows(runs, found));
}

/** Record batches of up to 64k rows; what a run's end leaves over waits for the next run, so that batches stay large. */
async function* arrowPieces(
  runs: FoundRun[],
  found: Found,
  cursor: string,
): AsyncGenerator<Uint8Array> {
  const keys = [...new Set(runs.flatMap(({ metrics }) => Object.keys(metrics)))].sort();
  const keyAt = new Map(keys.map((key, k) => [key, k]));
  yield* pointsHead(
    runs.map(({ id }) => id),
    keys,
    cursor,
  );
  let waiting: { run: number; points: Points }[] = [];
  let size = 0;
  for await (const { run, points } of found)
    for (let at = 0; at < points.step.length; at += maxRows) {
      const length = Math.min(maxRows, points.step.length - at);
      waiting.push({
        run,
        points:
          length === points.step.length
            ? points
            : takePoints(
                points,
                Uint32Array.from({ length }, (_, i) => at + i),
              ),
      });
      size += length;
      if (size < maxRows / 4) continue;
      yield batch(waiting, size, keyAt);
      [waiting, size] = [[], 0];
    }
  yield batch(waiting, size, keyAt); // an empty one if need be: some readers fail on a stream without any
  yield endOfStream;
}

const maxRows = 65_536;

function batch(
  lots: { run: number; points: Points }[],
  size: number,
  keyAt: Map<string, number>,
): Uint8Array {
  const [run, key] = [new Int32Array(size), new Int32Array(size)];
  const [step, time, value] = [
    new Float64Array(size),
    new Float64Array(size),
    new Float64Array(size),
  ];
  let at = 0;
  for (const { run: number, points } of lots) {
    const places = points.keys.map((name) => keyAt.get(name)!);
    run.fill(number, at, at + points.step.length);
    for (let i = 0; i < points.key.length; i++) key[at + i] = places[points.key[i]!]!;
    step.set(points.step, at);
    time.set(points.time, at);
    value.set(points.value, at);
    at += points.step.length;
  }
  return pointsBatch(run, key, { step, time, value });
}

async function* textPieces(rows: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const text of rows) yield encoder.encode(text);
}

async function* csvRows(runs: FoundRun[], found: Found): AsyncGenerator<string> {
  yield "run,key,step,time,value\r\n";
  for await (const { run, points } of found) {
    const heads = points.keys.map((key) => `${runs[run]!.id},${csvField(key)},`);
    yield* chunks(points, (i) => {
      const time = new Date(points.time[i]!).toISOString();
      return `${heads[points.key[i]!]}${csvNumber(points.step[i]!)},${time},${csvNumber(points.value[i]!)}\r\n`;
    });
  }
}

async function* jsonRows(runs: FoundRun[], found: Found): AsyncGenerator<string> {
  let separator = "[";
  for await (const { run, points } of found) {
    const heads = points.keys.map(
      (key) => `{"run":"${runs[run]!.id}","key":${JSON.stringify(key)},"step":`,
    );
    yield* chunks(points, (i) => {
      const row = `${separator}${heads[points.key[i]!]}${toJSON(points.step[i])},"time":${points.time[i]},"value":${toJSON(points.value[i])}}`;
      separator = ",\n";
      return row;
    });
  }
  yield separator === "[" ? "[]\n" : "]\n";
}

function* chunks({ step }: Points, row: (i: number) => string, most = 8192): Generator<string> {
  for (let at = 0; at < step.length; at += most) {
    let text = "";
    for (let i = at; i < Math.min(at + most, step.length); i++) text += row(i);
    yield text;
  }
}
