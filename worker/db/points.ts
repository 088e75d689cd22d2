import { deflateRawSync, inflateRawSync } from "node:zlib";
import { Buffer } from "node:buffer";
import type { Cursor } from "../../wire/cursor.ts";
import { seenUpTo } from "../../wire/cursor.ts";
import { ApiError, shown } from "../../wire/error.ts";
import {
  concatPoints,
  emptyPoints,
  fillTimes,
  sortPoints,
  takePoints,
  type Points,
} from "../../wire/point.ts";
import { summarize } from "../../wire/summary.ts";
import { workspace } from "../env.ts";
import { digestOf, now } from "./events.ts";
import type { FoundRun } from "./runs.ts";
import { mergedMetrics, summariesToText } from "./summaries.ts";

// A D1 row holds at most 2 MB; the rest of the row is small.
const maxBody = 1_900_000;
// A row that cannot be read any more would take its whole experiment with it: new keys end here, some 40,000 of them.
const maxMetrics = 3_000_000;

/**
 * Appends one request's points to a run, exactly once: the same writer and sequence number again change nothing.
 * Throws where the run is unknown, deleted or closed, and where the number was used for other points.
 */
export async function appendPoints(
  db: D1Database,
  run: string,
  writer: string,
  seq: number,
  sent: Points,
  received = Date.now(),
): Promise<void> {
  const digest = await digestOf(packColumns(sent));
  const points = fillTimes(sent, received);
  const body = packBody(points);
  const summaries = summariesToText(summarize(points));
  const size = Math.max(body.length, Buffer.byteLength(summaries));
  if (size > maxBody)
    throw new ApiError(
      "REQUEST_TOO_LARGE",
      `points are too large: ${size} bytes packed, limit ${maxBody}`,
    );
  const [, , outcome] = await db.batch<{
    state: string;
    deleted: number | null;
    digest: string | null;
  }>([
    db
      .prepare(
        `UPDATE runs SET metrics = ${mergedMetrics("?1")}, points = points + ?2, heartbeat = ${now}, touched = max(${now}, touched + 1)
         WHERE workspace = ?3 AND id = ?4 AND deleted IS NULL AND state IN ('running', 'scheduled')
         AND NOT EXISTS (SELECT 1 FROM tail WHERE tail.run = runs.no AND writer = ?5 AND seq = ?6)
         AND (length(metrics) < ${maxMetrics} OR NOT EXISTS
           (SELECT 1 FROM json_each(?1) AS d WHERE d.key NOT IN (SELECT o.key FROM json_each(runs.metrics) AS o)))`,
      )
      .bind(summaries, points.step.length, workspace, run, writer, seq),
    db
      .prepare(
        `INSERT INTO tail (workspace, run, writer, seq, at, count, digest, body)
         SELECT workspace, no, ?, ?, touched, ?, ?, ? FROM runs WHERE id = ? AND changes() = 1`,
      )
      .bind(writer, seq, points.step.length, digest, body, run),
    db
      .prepare(
        `SELECT state, deleted, tail.digest FROM runs LEFT JOIN tail ON run = no AND writer = ? AND seq = ?
         WHERE runs.workspace = ? AND id = ?`,
      )
      .bind(writer, seq, workspace, run),
  ]);
  checkAppended(outcome!.results[0], digest, { run, writer, seq });
}

/** Throws unless the row of an append says that exactly this was appended, now or before. */
export function checkAppended(
  row: { state: string; deleted: number | null; digest: string | null } | undefined,
  digest: string,
  { run, writer, seq }: { run: string; writer: string; seq: number },
): void {
  if (!row) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `run not found: ${shown(run)}`);
  if (row.digest === digest) return;
  if (row.digest)
    throw new ApiError(
      "RESOURCE_ALREADY_EXISTS",
      `seq was used for other content: ${seq} of writer ${writer}`,
    );
  if (row.deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${run}`);
  if (row.state === "running" || row.state === "scheduled")
    throw new ApiError("REQUEST_TOO_LARGE", `run has too many metrics to take new ones: ${run}`);
  throw new ApiError("INVALID_STATE", `run is closed: ${run} (${row.state})`);
}

/** Which points of a run to read. */
export interface PointSelection {
  keys?: string[] | undefined;
  /** the least and greatest step */
  from?: number | undefined;
  to?: number | undefined;
  since?: Cursor | undefined;
}

/**
 * Reads the points of runs, run by run in the order given, each run's sorted by key and step. It reads exactly what the
 * runs held when they were selected (`touched`), so what is appended meanwhile waits for the next cursor.
 */
export async function* readPoints(
  db: D1Database,
  runs: Pick<FoundRun, "no" | "touched">[],
  { since, ...selection }: PointSelection,
): AsyncGenerator<{ run: number; points: Points }> {
  for (const [at, { no, touched }] of runs.entries()) {
    const lots: Points[] = [];
    for await (const body of readBodies(db, no, since ? seenUpTo(since, no) : 0, touched))
      lots.push(selectFrom(unpackBody(body), selection));
    if (lots.length) yield { run: at, points: sortPoints(concatPoints(lots)) };
  }
}

/** Reads a run's rows in pages of some MB, as a Worker has little memory. */
async function* readBodies(
  db: D1Database,
  run: number,
  after: number,
  upTo: number,
): AsyncGenerator<string> {
  for (let at = after; ;) {
    const { results } = await db
      .prepare(
        "SELECT at, body FROM tail WHERE run = ? AND at > ? AND at <= ? ORDER BY at LIMIT 64",
      )
      .bind(run, at, upTo)
      .all<{ at: number; body: string }>();
    for (const { body } of results) yield body;
    if (results.length < 64) return;
    at = results.at(-1)!.at;
  }
}

function selectFrom(
  points: Points,
  { keys, from = -Infinity, to = Infinity }: PointSelection,
): Points {
  if (!keys && from === -Infinity && to === Infinity) return points;
  const wanted = keys && points.keys.map((key) => keys.includes(key));
  const places: number[] = [];
  for (let i = 0; i < points.step.length; i++) {
    const step = points.step[i]!;
    if ((!wanted || wanted[points.key[i]!]) && step >= from && step <= to) places.push(i);
  }
  return takePoints(points, Uint32Array.from(places));
}

/**
 * The columns of a request as bytes: counts of points, keys and bytes of the keys' JSON, that JSON padded to 8 bytes,
 * then step, time, value (float64) and key (uint32).
 */
function packColumns({ keys, key, step, time, value }: Points): Uint8Array {
  const names = new TextEncoder().encode(JSON.stringify(keys));
  const start = 16 + ((names.length + 7) & ~7);
  const bytes = new Uint8Array(start + step.length * 28);
  new Uint32Array(bytes.buffer, 0, 3).set([step.length, keys.length, names.length]);
  bytes.set(names, 16);
  for (const [i, column] of [step, time, value].entries())
    new Float64Array(bytes.buffer, start + i * 8 * step.length, step.length).set(column);
  new Uint32Array(bytes.buffer, start + 24 * step.length, step.length).set(key);
  return bytes;
}

// D1 passes blobs as arrays of numbers, ten times slower than text: bytes travel as base64.
const packBody = (points: Points): string =>
  deflateRawSync(packColumns(points), { level: 1 }).toString("base64");

function unpackBody(body: string): Points {
  const inflated = inflateRawSync(Buffer.from(body, "base64"));
  const bytes = inflated.byteOffset % 8 ? new Uint8Array(inflated) : inflated;
  const [count, , namesLength] = new Uint32Array(bytes.buffer, bytes.byteOffset, 3) as unknown as [
    number,
    number,
    number,
  ];
  const keys: string[] = JSON.parse(new TextDecoder().decode(bytes.subarray(16, 16 + namesLength)));
  const start = bytes.byteOffset + 16 + ((namesLength + 7) & ~7);
  const points = emptyPoints(keys, count);
  for (const [i, column] of [points.step, points.time, points.value].entries())
    column.set(new Float64Array(bytes.buffer, start + i * 8 * count, count));
  points.key.set(new Uint32Array(bytes.buffer, start + 24 * count, count));
  return points;
}
