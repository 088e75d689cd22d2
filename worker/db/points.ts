import { seenUpTo, type Cursor } from "../../wire/cursor.ts";
import { takePoints, type Points } from "../../wire/point.ts";
import type { Stores } from "../env.ts";
import type { Fragment } from "../gzip.ts";
import {
  mergeSorted,
  sortLots,
  spansOf,
  takeLots,
  type LotPoints,
  type Span,
} from "../lot-points.ts";
import { decodeGroup, storedFragments, type Group, type Segment } from "../segment.ts";
import { readBytes } from "./objects.ts";
import { planExtents, readLots, segmentOf, selectSegments, type SegmentRow } from "./segments.ts";
import { pointsOf, selectTail, type LotRange, type TailRow } from "./tail.ts";

/** Which points of a run to read. */
export interface PointSelection {
  /** whether a key is wanted */
  key?: ((key: string) => boolean) | undefined;
  /** the least and greatest step, and time in ms */
  from?: number | undefined;
  to?: number | undefined;
  timeFrom?: number | undefined;
  timeTo?: number | undefined;
  /** what was accepted after one cursor, and up to another */
  since?: Cursor | undefined;
  until?: Cursor | undefined;
}

/** A run whose points are read, as it was found. */
export interface PointRun {
  no: number;
  id: string;
  touched: number;
  /** how many points it has, and how many of them in its tail */
  points: number;
  tail: number;
}

/** Points of one run, sorted: as they are stored, or decoded already. */
export interface Part {
  /** the run's place among those asked for */
  run: number;
  rows: number;
  keys: string[];
  spans: Pick<Span, "key" | "rows">[];
  stored?: Record<"step" | "time" | "value", Fragment>;
  decode(): Points;
}

/** The lots of a run that a selection takes; none where `upTo` is not above `after`. */
export const lotRangeOf = (
  { no, touched }: Pick<PointRun, "no" | "touched">,
  { since, until }: Pick<PointSelection, "since" | "until">,
): LotRange => ({
  run: no,
  after: since ? seenUpTo(since, no) : 0,
  upTo: until ? Math.min(touched, seenUpTo(until, no)) : touched,
});

/** What stands of a run in the database at one moment: its segments' rows, and its tail or the beginning of it. */
export interface Holding {
  run: number;
  range: LotRange;
  segments: SegmentRow[];
  tail: TailRow[];
}

/** At most this many points of tails are in memory at once. */
const maxTail = 250_000;

/**
 * Reads what runs hold, a few of them at a time. It is exactly what they held when they were selected (`touched`): what
 * is appended meanwhile waits for the next cursor, and what is compacted meanwhile is found where it went. A run whose
 * tail is very long comes several times.
 */
export async function* readHoldings(
  db: D1Database,
  runs: PointRun[],
  selection: PointSelection,
): AsyncGenerator<Holding> {
  const ranges = runs.map((run) => lotRangeOf(run, selection));
  let next = 0;
  while (next < runs.length) {
    const end = endOfChunk(runs, next);
    const chunk = ranges.slice(next, end);
    const [segments, tail] = await db.batch<SegmentRow & TailRow>([
      selectSegments(db, chunk),
      selectTail(db, chunk, maxTail),
    ]);
    const segmentsOf = Map.groupBy(segments!.results, ({ run }) => run);
    const tailOf = Map.groupBy(tail!.results, ({ run }) => run);
    // The query ends in the midst of a tail where it is long; whether it did, the next one tells.
    const counts = runs.slice(next, end).reduce((n, run) => n + run.tail, 0);
    const cutRun = counts >= maxTail ? tail!.results.at(-1)?.run : undefined;
    for (const range of chunk) {
      const rows = tailOf.get(range.run) ?? [];
      yield { run: next, range, segments: segmentsOf.get(range.run) ?? [], tail: rows };
      if (range.run === cutRun) {
        ranges[next] = { ...range, after: rows.at(-1)!.at };
        break;
      }
      next++;
    }
  }
}

/** Returns how far a chunk of runs goes whose rows, tails above all, fit into memory together. */
function endOfChunk(runs: PointRun[], begin: number): number {
  let [points, tail, end] = [0, 0, begin];
  while (end < runs.length && end < begin + 100) {
    points += runs[end]!.points;
    tail += runs[end]!.tail;
    if (end > begin && (points > 3_000_000 || tail > maxTail)) break;
    end++;
  }
  return end;
}

/** Reads points of runs, run by run in the order given, each run's sorted by key, step, time and value. */
export async function* readPoints(
  { DB, FILES }: Stores,
  runs: PointRun[],
  selection: PointSelection,
): AsyncGenerator<Part> {
  const keyLists = new Map<string, string[]>();
  const wanted = runs.filter((run) => {
    const { after, upTo } = lotRangeOf(run, selection);
    return upTo > after;
  });
  const places = new Map(runs.map(({ no }, at) => [no, at]));
  const jobs = async function* (): AsyncGenerator<() => Promise<AsyncIterable<Part> | Part[]>> {
    for await (const holding of readHoldings(DB, wanted, selection)) {
      const run = places.get(holding.range.run)!;
      const stretches = stretchesOf(holding, selection, keyLists);
      if (!areInOrder(stretches)) {
        const sources = stretches.map((stretch) =>
          readStretch(FILES, stretch, holding.range, selection),
        );
        yield async () => merged(run, sources);
      } else
        for (const stretch of stretches)
          for (const job of partJobs(FILES, run, stretch, holding.range, selection)) yield job;
    }
  };
  for await (const parts of ahead(jobs())) yield* parts;
}

/** Runs jobs some way ahead of what is taken, as each mostly waits for the bucket. */
async function* ahead<T>(jobs: AsyncIterable<() => Promise<T>>, depth = 4): AsyncGenerator<T> {
  const running: Promise<T>[] = [];
  for await (const job of jobs) {
    const started = job();
    started.catch(() => {}); // it is awaited below, or nobody wants it any more
    running.push(started);
    if (running.length > depth) yield await running.shift()!;
  }
  while (running.length) yield await running.shift()!;
}

/** A sorted sequence of points: segments with the groups to read of them, or points that are here already. */
type Stretch = ({ row: SegmentRow; segment: Segment; picks: Chosen[] } | { points: LotPoints })[];

/** A group to read, and whether all its rows are wanted. */
interface Chosen {
  group: Group;
  isWhole: boolean;
}

function stretchesOf(
  { range, segments, tail }: Holding,
  selection: PointSelection,
  keyLists: Map<string, string[]>,
): Stretch[] {
  const stretches = [...Map.groupBy(segments, ({ stretch }) => stretch).values()].map((rows) =>
    rows.flatMap((row) => {
      const segment = segmentOf(row, keyLists);
      const picks = planPicks(segment, row, range, selection);
      return picks.length ? [{ row, segment, picks }] : [];
    }),
  );
  const points = tail.length ? selectRows(sortLots(tail.map(pointsOf)), selection) : undefined;
  return [
    ...stretches.filter((stretch) => stretch.length),
    ...(points?.step.length ? [[{ points }]] : []),
  ];
}

/** Returns which groups of a segment to read, as far as their description tells. */
export function planPicks(
  { keys, groups }: Segment,
  { first, last }: Pick<SegmentRow, "first" | "last">,
  { after, upTo }: Pick<LotRange, "after" | "upTo">,
  { key, from = -Infinity, to = Infinity, timeFrom = -Infinity, timeTo = Infinity }: PointSelection,
): Chosen[] {
  const isWanted = key && keys.map(key);
  const hasAllLots = first > after && last <= upTo;
  return groups.flatMap((group) => {
    if (group.maxTime < timeFrom || group.minTime > timeTo) return [];
    let isWhole = hasAllLots && group.minTime >= timeFrom && group.maxTime <= timeTo;
    let isAny = false;
    for (const span of group.spans) {
      const isIn = (!isWanted || isWanted[span.key]!) && span.last >= from && span.first <= to;
      isAny ||= isIn;
      isWhole &&= isIn && span.first >= from && span.last <= to;
    }
    return isAny ? [{ group, isWhole }] : [];
  });
}

/** Whether the stretches, one behind the other, are sorted. */
function areInOrder(stretches: Stretch[]): boolean {
  let before: { key: string; step: number } | undefined;
  for (const stretch of stretches) {
    const ends = stretch.flatMap((piece) => {
      const { keys } = "points" in piece ? piece.points : piece.segment;
      const spans =
        "points" in piece ? spansOf(piece.points) : piece.picks.flatMap(({ group }) => group.spans);
      const [first, last] = [spans[0]!, spans.at(-1)!];
      return [
        { key: keys[first.key]!, step: first.first },
        { key: keys[last.key]!, step: last.last },
      ];
    });
    const [first, last] = [ends[0]!, ends.at(-1)!];
    if (
      before &&
      (before.key > first.key || (before.key === first.key && before.step >= first.step))
    )
      return false;
    before = last;
  }
  return true;
}

function* partJobs(
  bucket: R2Bucket,
  run: number,
  stretch: Stretch,
  range: LotRange,
  selection: PointSelection,
): Generator<() => Promise<Part[]>> {
  for (const piece of stretch) {
    if ("points" in piece) {
      yield async () => [partOf(run, piece.points)];
      continue;
    }
    const { row, segment, picks } = piece;
    const isWhole = new Map(picks.map((pick) => [pick.group, pick.isWhole]));
    const extents = planExtents(
      picks.map(({ group }) => group),
      { most: 2_000_000 },
    );
    for (const extent of extents)
      yield async () => {
        const partial = extent.groups.filter((group) => !isWhole.get(group));
        const [bytes, lots] = await Promise.all([
          readBytes(bucket, row.object, extent.at, extent.length),
          readLotsIfNeeded(bucket, row, segment, range, partial),
        ]);
        return extent.groups.flatMap((group) => {
          const own = bytes.subarray(group.at - extent.at);
          if (isWhole.get(group))
            return [
              {
                run,
                rows: group.rows,
                keys: segment.keys,
                spans: group.spans,
                stored: storedFragments(group, own),
                decode: () => decodeGroup(segment.keys, group, own),
              },
            ];
          const points = selectRows(
            decodeGroup(segment.keys, group, own),
            selection,
            range,
            lots?.get(group),
          );
          return points.step.length ? [partOf(run, points)] : [];
        });
      };
  }
}

const partOf = (run: number, points: Points): Part => ({
  run,
  rows: points.step.length,
  keys: points.keys,
  spans: spansOf(points),
  decode: () => points,
});

/** Lots decide only where a segment has some that are not wanted. */
export const readLotsIfNeeded = (
  bucket: R2Bucket,
  row: SegmentRow,
  segment: Segment,
  { after, upTo }: LotRange,
  groups: Group[],
): Promise<Map<Group, Float64Array>> | undefined =>
  groups.length && (row.first <= after || row.last > upTo)
    ? readLots(bucket, row, { ...segment, groups })
    : undefined;

/** Reads the selected points of a stretch, to be merged with others. */
async function* readStretch(
  bucket: R2Bucket,
  stretch: Stretch,
  range: LotRange,
  selection: PointSelection,
): AsyncGenerator<LotPoints> {
  for (const job of partJobs(bucket, 0, stretch, range, selection))
    for (const part of await job()) {
      const points = part.decode();
      yield { ...points, lot: new Float64Array(points.step.length) }; // they do not count any more
    }
}

async function* merged(run: number, sources: AsyncIterable<LotPoints>[]): AsyncGenerator<Part> {
  for await (const points of mergeSorted(sources)) yield partOf(run, points);
}

/** Returns the points that a selection takes; lots count where they are given, and so does a further condition on the step. */
export function selectRows<P extends Points>(
  points: P,
  { key, from = -Infinity, to = Infinity, timeFrom = -Infinity, timeTo = Infinity }: PointSelection,
  { after, upTo }: Pick<LotRange, "after" | "upTo"> = { after: -Infinity, upTo: Infinity },
  lots?: Float64Array,
  isStep?: (step: number) => boolean,
): P {
  const isWanted = key && points.keys.map(key);
  const places = new Uint32Array(points.step.length);
  let count = 0;
  for (let i = 0; i < points.step.length; i++) {
    const [step, time] = [points.step[i]!, points.time[i]!];
    if (isWanted && !isWanted[points.key[i]!]) continue;
    if (step < from || step > to || time < timeFrom || time > timeTo) continue;
    if (isStep && !isStep(step)) continue;
    if (lots && (lots[i]! <= after || lots[i]! > upTo)) continue;
    places[count++] = i;
  }
  if (count === points.step.length) return points;
  const taken = places.subarray(0, count);
  return "lot" in points
    ? (takeLots(points as Points as LotPoints, taken) as Points as P)
    : (takePoints(points, taken) as P);
}
