import { workspace, type Stores } from "../env.ts";
import { mergeSorted, sortLots, type LotPoints } from "../lot-points.ts";
import { cutSegments, segmentRows } from "../segment.ts";
import { now } from "./events.ts";
import { takeBack } from "./objects.ts";
import {
  expectChanges,
  insertStretch,
  isOvertaken,
  putSegment,
  readSegment,
  retireSegments,
  segmentOf,
  selectSegments,
  type SegmentRow,
} from "./segments.ts";
import { anonymous, pointsOf, selectTail, type TailRow } from "./tail.ts";

/** From this many points on a run's tail is made into a segment. */
export const fullTail = 100_000;
/** This many stretches of about one size are merged into one. */
const fan = 8;
/** More points than this are not merged: it would take a Worker too long. */
const maxMerge = 8_000_000;

/**
 * Makes the tail of a run into segments, and merges these where that pays: all of them where the run has ended. Others
 * may do the same at the same time: who comes second with a part of it looks again. Readers see each point once throughout.
 * A tail of fewer points than `least` waits, unless the run has ended: points may come as fast as they are compacted.
 */
export async function compactRun(stores: Stores, run: number, { least = 1 } = {}): Promise<void> {
  for (let overtaken = 0; ;) {
    const row = await stores.DB.prepare("SELECT state, tail FROM runs WHERE no = ?")
      .bind(run)
      .first<{ state: string; tail: number }>();
    if (!row) return;
    const hasEnded = row.state !== "running" && row.state !== "scheduled";
    const isDue = row.tail >= (hasEnded ? 1 : least);
    try {
      if (
        !(isDue && (await compactTail(stores, run, hasEnded))) &&
        !(await mergeRun(stores, run, hasEnded))
      )
        return;
    } catch (error) {
      if (!isOvertaken(error) || ++overtaken === maxOvertaken) throw error;
    }
  }
}

/** Each time another has done what was to be done; if there is no end of it, something else is wrong. */
const maxOvertaken = 20;

/** Moves the oldest rows of a run's tail, up to a segment's worth, into a stretch. Returns whether there were any. */
async function compactTail(
  { DB, FILES }: Stores,
  run: number,
  hasEnded: boolean,
): Promise<boolean> {
  const all = [{ run, after: 0, upTo: Number.MAX_SAFE_INTEGER }];
  const { results: rows } = await selectTail(DB, all, segmentRows).all<TailRow>();
  if (!rows.length) return false;
  const points = sortLots(rows.map(pointsOf));
  await replace({ DB, FILES }, run, [points], hasEnded, [
    DB.prepare("DELETE FROM tail WHERE run = ? AND at IN (SELECT value FROM json_each(?))").bind(
      run,
      JSON.stringify(rows.map(({ at }) => at)),
    ),
    expectChanges(DB, rows.length),
    DB.prepare("UPDATE runs SET tail = tail - ? WHERE no = ?").bind(points.step.length, run),
    ...planReceipts(rows).map(({ writer, first, last, digests }) =>
      DB.prepare(
        "INSERT INTO receipts (workspace, run, writer, first, last, digests) VALUES (?, ?, ?, ?, ?, ?)",
      ).bind(workspace, run, writer, first, last, digests),
    ),
  ]);
  return true;
}

/** Stores points as a stretch and runs, with the rows of its segments, the statements that take away what they replace. */
async function replace(
  { DB, FILES }: Stores,
  run: number,
  chunks: AsyncIterable<LotPoints> | Iterable<LotPoints>,
  hasEnded: boolean,
  statements: D1PreparedStatement[],
): Promise<void> {
  const stored: Omit<SegmentRow, "stretch" | "part">[] = [];
  // Of a run that goes on they are merged again.
  for await (const points of cutSegments(chunks))
    stored.push(await putSegment(FILES, run, points, hasEnded));
  try {
    await DB.batch([...statements, ...insertStretch(DB, stored)]);
  } catch (error) {
    // Of any other failure it is not known whether it happened; what is not needed is collected later.
    if (isOvertaken(error)) await takeBack(FILES, stored);
    throw error;
  }
}

/** Returns what is to be remembered of rows: for each writer its unbroken ranges of numbers. */
export function planReceipts(
  rows: Pick<TailRow, "writer" | "seq" | "digest">[],
): { writer: string; first: number; last: number; digests: string }[] {
  const receipts: { writer: string; first: number; last: number; digests: string }[] = [];
  const sorted = rows
    .filter(({ writer }) => !writer.startsWith(anonymous))
    .sort((a, b) => (a.writer < b.writer ? -1 : a.writer > b.writer ? 1 : a.seq - b.seq));
  for (const { writer, seq, digest } of sorted) {
    const last = receipts.at(-1);
    const short = digest.slice(0, 16);
    if (last?.writer === writer && last.last === seq - 1) {
      last.last = seq;
      last.digests += short;
    } else receipts.push({ writer, first: seq, last: seq, digests: short });
  }
  return receipts;
}

/** Merges some stretches of a run into one, as planned. Returns whether it did. */
async function mergeRun({ DB, FILES }: Stores, run: number, hasEnded: boolean): Promise<boolean> {
  const all = [{ run, after: 0, upTo: Number.MAX_SAFE_INTEGER }];
  const { results: rows } = await selectSegments(DB, all).all<SegmentRow>();
  const stretches = [...Map.groupBy(rows, ({ stretch }) => stretch).values()];
  const chosen = planMerge(stretches, hasEnded);
  if (!chosen) return false;
  const keyLists = new Map<string, string[]>();
  const sources = chosen.map((segments) => readStretch(FILES, segments, keyLists));
  const old = chosen.flat();
  const objects = JSON.stringify(old.map(({ object }) => object));
  await replace({ DB, FILES }, run, mergeSorted(sources), hasEnded, [
    retireSegments(DB, "? AND object IN (SELECT value FROM json_each(?))", [run, objects]),
    DB.prepare(
      "DELETE FROM segments WHERE run = ? AND object IN (SELECT value FROM json_each(?))",
    ).bind(run, objects),
    expectChanges(DB, old.length),
  ]);
  return true;
}

/**
 * Returns the stretches to merge. Of a run that goes on, those of one size where there are several, so that each point is
 * merged a few times only; of one that has ended all, unless they are too many points or stand in order already.
 */
export function planMerge<S extends { rows: number }>(
  stretches: S[][],
  hasEnded: boolean,
): S[][] | undefined {
  const sizeOf = (stretch: S[]) => stretch.reduce((n, { rows }) => n + rows, 0);
  const total = stretches.reduce((n, stretch) => n + sizeOf(stretch), 0);
  if (hasEnded && total <= maxMerge) return stretches.length > 1 ? stretches : undefined;
  const tier = (stretch: S[]) =>
    Math.max(0, Math.floor(Math.log(sizeOf(stretch) / fullTail) / Math.log(fan)));
  const tiers = Map.groupBy(stretches, tier);
  for (const [, chosen] of [...tiers].sort(([a], [b]) => a - b)) {
    const some = chosen.slice(0, fan);
    const rows = some.reduce((n, stretch) => n + sizeOf(stretch), 0);
    if (some.length === fan && rows <= maxMerge) return some;
  }
  return undefined;
}

/** Reads the segments of a stretch, one behind the other. */
async function* readStretch(
  bucket: R2Bucket,
  segments: SegmentRow[],
  keyLists: Map<string, string[]>,
): AsyncGenerator<LotPoints> {
  for (const row of segments) yield* readSegment(bucket, row, segmentOf(row, keyLists));
}

/**
 * Compacts runs whose tail is full, has waited for an hour, or will not grow as the run has ended: what was to happen
 * after a request and did not. Returns how many runs it looked at.
 */
export async function compactDue(
  stores: Stores,
  { idle = 3_600_000, most = 100 } = {},
): Promise<number> {
  const { results } = await stores.DB.prepare(
    `SELECT no FROM (SELECT no, tail, heartbeat, state NOT IN ('running', 'scheduled') AS ended FROM runs)
     WHERE tail > 0 AND (tail >= ?1 OR ended OR heartbeat < ${now} - ?2)
     OR ended AND (SELECT count(DISTINCT stretch) > 1 AND sum(rows) <= ?3 FROM segments WHERE run = no)
     ORDER BY tail DESC LIMIT ?4`,
  )
    .bind(fullTail, idle, maxMerge, most)
    .all<{ no: number }>();
  for (const { no } of results) await compactRun(stores, no);
  return results.length;
}
