import { Buffer } from "node:buffer";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { ApiError, shown } from "../../wire/error.ts";
import { emptyPoints, fillTimes, type Points } from "../../wire/point.ts";
import { summarize } from "../../wire/summary.ts";
import { workspace } from "../env.ts";
import type { LotPoints } from "../lot-points.ts";
import { digestOf, now } from "./events.ts";
import { mergeInto, tooManyMetrics } from "./summaries.ts";

// A D1 row holds at most 2 MB; the rest of the row is small.
const maxBody = 1_900_000;

/** Senders that name no writer get one that nobody can name, so their requests need no remembering. */
export const anonymous = "~";

/** The writer of points that come without a sender: its numbers come from what is sent, and its requests are remembered for a day. */
export const forgotten = "mlflow";

interface Outcome {
  no: number;
  state: string;
  deleted: number | null;
  digest: string | null;
  tail: number;
}

/** Who sent points, and which of theirs these are. */
export interface Sender {
  writer: string;
  seq: number;
}

/** What else must hold for points to be taken: SQL on the row of `runs`, with what it binds, from ?6 on. */
export interface AppendCondition {
  sql: string;
  bound: unknown[];
}

/** Runs that ended take no more points, unless they are set going again. */
const isOpen: AppendCondition = { sql: "state IN ('running', 'scheduled')", bound: [] };

/** An append, to be made in one batch; the last statement answers with its outcome, for checkAppended. */
export interface Append extends Sender {
  run: string;
  digest: string;
  statements: D1PreparedStatement[];
}

/**
 * Returns the statements that append one request's points to a run, exactly once, unless it is deleted or `condition`
 * fails. Without a sender the same points are the same request.
 */
export async function planAppend(
  db: D1Database,
  run: string,
  sent: Points,
  {
    sender,
    received = Date.now(),
    condition = isOpen,
  }: { sender?: Sender; received?: number; condition?: AppendCondition } = {},
): Promise<Append> {
  const digest = await digestOf(packColumns(sent));
  const { writer, seq } = sender ?? { writer: forgotten, seq: parseInt(digest.slice(0, 13), 16) };
  const points = fillTimes(sent, received);
  const body = packBody(points);
  if (body.length > maxBody)
    throw new ApiError(
      "REQUEST_TOO_LARGE",
      `points are too large: ${body.length} bytes packed, limit ${maxBody}`,
    );
  const count = points.step.length;
  const statements = [
    ...mergeInto(db, summarize(points), {
      run: "(SELECT no FROM runs AS it WHERE it.workspace = ?1 AND it.id = ?2)",
      sets: `points = points + ?5, tail = tail + ?5, heartbeat = ${now}, touched = max(${now}, touched + 1)`,
      accepts: `runs.workspace = ?1 AND runs.id = ?2 AND deleted IS NULL AND ?5 > 0 AND ${condition.sql}
        AND NOT EXISTS (SELECT 1 FROM tail AS t WHERE t.run = runs.no AND t.writer = ?3 AND t.seq = ?4)
        AND NOT EXISTS (SELECT 1 FROM receipts AS t WHERE t.run = runs.no AND t.writer = ?3 AND t.first <= ?4 AND t.last >= ?4)`,
      bound: [workspace, run, writer, seq, count, ...condition.bound],
    }),
    db
      .prepare(
        `INSERT INTO tail (workspace, run, writer, seq, at, count, digest, body)
         SELECT workspace, no, ?, ?, touched, ?, ?, ? FROM runs WHERE id = ? AND changes() = 1`,
      )
      .bind(writer, seq, count, digest, body, run),
    db
      .prepare(
        `SELECT no, state, deleted, runs.tail, coalesce(t.digest,
           (SELECT substr(digests, 1 + 16 * (?2 - first), 16) FROM receipts AS r
            WHERE r.run = no AND r.writer = ?1 AND first <= ?2 AND last >= ?2)) AS digest
         FROM runs LEFT JOIN tail AS t ON t.run = no AND t.writer = ?1 AND t.seq = ?2
         WHERE runs.workspace = ?3 AND id = ?4`,
      )
      .bind(writer, seq, workspace, run),
  ];
  return { run, writer, seq, digest, statements };
}

/** Makes a batch that appends points; where a run has too many metrics to take new ones, the error says so. */
export const appendBatch = <T>(
  db: D1Database,
  run: string,
  statements: D1PreparedStatement[],
): Promise<D1Result<T>[]> =>
  db.batch<T>(statements).catch((error: Error) => {
    if (!tooManyMetrics.test(error.message)) throw error;
    throw new ApiError("REQUEST_TOO_LARGE", `run has too many metrics to take new ones: ${run}`);
  });

/**
 * Appends one request's points to a run, exactly once: the same writer and sequence number again change nothing.
 * Throws where the run is unknown, deleted or closed, and where the number was used for other points. Returns the run's
 * row number and how many points its tail has by now.
 */
export async function appendPoints(
  db: D1Database,
  run: string,
  writer: string,
  seq: number,
  sent: Points,
  received = Date.now(),
): Promise<{ no: number; tail: number }> {
  const append = await planAppend(db, run, sent, { sender: { writer, seq }, received });
  const results = await appendBatch<Outcome>(db, run, append.statements);
  const [outcome] = results.at(-1)!.results;
  checkAppended(outcome, append);
  return outcome!;
}

/** Throws unless the row of an append says that exactly this was appended, now or before. */
export function checkAppended(
  row: Pick<Outcome, "state" | "deleted" | "digest"> | undefined,
  { run, writer, seq, digest }: Omit<Append, "statements">,
): void {
  if (!row) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `run not found: ${shown(run)}`);
  if (row.digest && digest.startsWith(row.digest)) return; // of what is compacted only the beginning is kept
  if (row.digest)
    throw new ApiError(
      "RESOURCE_ALREADY_EXISTS",
      `seq was used for other content: ${seq} of writer ${writer}`,
    );
  if (row.deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${run}`);
  throw new ApiError("INVALID_STATE", `run is closed: ${run} (${row.state})`);
}

/** A range of lots of a run: those after `after`, up to `upTo`. */
export interface LotRange {
  run: number;
  after: number;
  upTo: number;
}

/** One request's points as they stand in the tail. */
export interface TailRow {
  run: number;
  at: number;
  writer: string;
  seq: number;
  digest: string;
  body: string;
}

/** The statement that reads the tail of runs, by run and lot, up to the row that makes it `most` points. */
export const selectTail = (db: D1Database, ranges: LotRange[], most: number): D1PreparedStatement =>
  db
    .prepare(
      `SELECT run, at, writer, seq, digest, body FROM (
         SELECT tail.run, at, writer, seq, digest, body, count, sum(count) OVER (ORDER BY r.key, at) AS total
         FROM json_each(?) AS r CROSS JOIN tail ON tail.run = r.value ->> 'run'
         WHERE at > r.value ->> 'after' AND at <= r.value ->> 'upTo')
       WHERE total - count < ? ORDER BY total`,
    )
    .bind(JSON.stringify(ranges), most);

/** Returns the points of a tail row. */
export function pointsOf({ at, body }: TailRow): LotPoints {
  const points = unpackBody(body);
  return { ...points, lot: new Float64Array(points.step.length).fill(at) };
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
