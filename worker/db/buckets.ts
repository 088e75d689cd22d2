import {
  bucketOf,
  bucketsFromPoints,
  exponentFor,
  mergeBuckets,
  takeBuckets,
  type Buckets,
} from "../../wire/buckets.ts";
import { sortLots, spansOf, type LotPoints, type Span } from "../lot-points.ts";
import { decodeGroup, type Group, type Segment } from "../segment.ts";
import {
  planPicks,
  readHoldings,
  readLotsIfNeeded,
  selectRows,
  type Holding,
  type PointRun,
  type PointSelection,
} from "./points.ts";
import type { Stores } from "../env.ts";
import { readBytes } from "./objects.ts";
import { planExtents, readLevels, segmentOf, type SegmentRow } from "./segments.ts";
import { pointsOf } from "./tail.ts";

/** The buckets of one series. */
export interface SeriesBuckets {
  /** the run's place among those asked for */
  run: number;
  key: string;
  buckets: Buckets;
}

/** This many buckets are in memory at once, or those of one series. */
const maxBuckets = 16_384;

/**
 * Reads at most `most` buckets of each series of runs, run by run and by key: exactly those of the selected points, from
 * the stored levels where these are fine enough and from the points where they are not, or where a bucket is cut by the
 * ends of the selection.
 */
export async function* readBuckets(
  stores: Stores,
  runs: PointRun[],
  selection: PointSelection,
  most: number,
): AsyncGenerator<SeriesBuckets> {
  const places = new Map(runs.map(({ no }, at) => [no, at]));
  const keyLists = new Map<string, string[]>();
  let waiting: Holding[] = [];
  for await (const holding of readHoldings(stores.DB, runs, selection)) {
    // A run that comes several times is put together before it is told.
    if (waiting.length && waiting[0]!.range.run !== holding.range.run) {
      yield* bucketsOf(
        stores,
        places.get(waiting[0]!.range.run)!,
        waiting,
        keyLists,
        selection,
        most,
      );
      waiting = [];
    }
    waiting.push(holding);
  }
  if (waiting.length)
    yield* bucketsOf(
      stores,
      places.get(waiting[0]!.range.run)!,
      waiting,
      keyLists,
      selection,
      most,
    );
}

/** Something a series' points are in. */
interface Source {
  holding: Holding;
  row: SegmentRow;
  segment: Segment;
}

async function* bucketsOf(
  { FILES }: Stores,
  run: number,
  holdings: Holding[],
  keyLists: Map<string, string[]>,
  selection: PointSelection,
  most: number,
): AsyncGenerator<SeriesBuckets> {
  const sources = holdings.flatMap((holding) =>
    holding.segments.map((row): Source => ({ holding, row, segment: segmentOf(row, keyLists) })),
  );
  const tail = selectRows(
    sortLots(holdings.flatMap((holding) => holding.tail.map(pointsOf))),
    selection,
  );
  const series = seriesOf(sources, tail, selection);
  for (const some of inChunks(series, most)) {
    const plans = new Map(
      some.map(({ key, from, to }) => [
        key,
        {
          exponent: exponentFor(selection.from ?? from, selection.to ?? to, most),
          parts: [] as Buckets[],
        },
      ]),
    );
    for (const source of sources) await addSegment(FILES, source, selection, plans);
    let begin = 0;
    for (const span of spansOf(tail)) {
      addPoints(plans.get(tail.keys[span.key]!), tail, begin, begin + span.rows);
      begin += span.rows;
    }
    for (const { key } of some) {
      const { exponent, parts } = plans.get(key)!;
      const buckets = mergeBuckets(parts, exponent);
      if (buckets.index.length) yield { run, key, buckets };
    }
  }
}

type Plans = Map<string, { exponent: number; parts: Buckets[] }>;

interface Series {
  key: string;
  rows: number;
  from: number;
  to: number;
}

/** Returns the series that the selection takes, by key, with their number of points and their steps, or some more. */
function seriesOf(
  sources: Source[],
  tail: LotPoints,
  { key: isWanted = () => true, from = -Infinity, to = Infinity }: PointSelection,
): Series[] {
  const series = new Map<string, Series>();
  const add = (keys: string[], { key: k, rows, first, last }: Span) => {
    const key = keys[k]!;
    if (last < from || first > to) return;
    const known = series.get(key);
    if (known) {
      known.rows += rows;
      known.from = Math.min(known.from, first);
      known.to = Math.max(known.to, last);
    } else if (isWanted(key)) series.set(key, { key, rows, from: first, to: last });
  };
  for (const { segment } of sources)
    for (const { spans } of segment.groups) for (const span of spans) add(segment.keys, span);
  for (const span of spansOf(tail)) add(tail.keys, span);
  return [...series.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

function* inChunks(series: Series[], most: number): Generator<Series[]> {
  let [chunk, size]: [Series[], number] = [[], 0];
  for (const one of series) {
    const own = Math.min(most, one.rows);
    if (size + own > maxBuckets && chunk.length) {
      yield chunk;
      [chunk, size] = [[], 0];
    }
    chunk.push(one);
    size += own;
  }
  if (chunk.length) yield chunk;
}

function addPoints(
  plan: { exponent: number; parts: Buckets[] } | undefined,
  points: LotPoints | Parameters<typeof bucketsFromPoints>[0],
  begin: number,
  end: number,
): void {
  if (plan && end > begin) plan.parts.push(bucketsFromPoints(points, plan.exponent, begin, end));
}

/** Adds the buckets of a segment's series to their plans. */
async function addSegment(
  bucket: R2Bucket,
  { holding: { range }, row, segment }: Source,
  selection: PointSelection,
  plans: Plans,
): Promise<void> {
  const { from = -Infinity, to = Infinity, timeFrom, timeTo } = selection;
  const isWanted = segment.keys.map((key) => plans.has(key));
  const usesLevels =
    timeFrom === undefined &&
    timeTo === undefined &&
    row.first > range.after &&
    row.last <= range.upTo;
  const levels = usesLevels
    ? await readLevels(
        bucket,
        row,
        segment,
        ({ key, exponent }) =>
          isWanted[key]! && exponent <= plans.get(segment.keys[key]!)!.exponent,
      )
    : new Map<number, Buckets>();
  // Of a series with a level the points are read only where the ends of the selection cut a bucket.
  const edges = new Map<number, (step: number) => boolean>();
  for (const [key, buckets] of levels) {
    const { exponent, parts } = plans.get(segment.keys[key]!)!;
    const [low, high] = [
      from === -Infinity ? from : bucketOf(from, exponent),
      to === Infinity ? to : bucketOf(to, exponent),
    ];
    const inside = mergeBuckets([buckets], exponent);
    parts.push(takeBuckets(inside, (index) => index > low && index < high));
    edges.set(key, (step) => {
      const index = bucketOf(step, exponent);
      return index === low || index === high;
    });
  }
  const needs = (span: Span): boolean => {
    if (!isWanted[span.key] || span.last < from || span.first > to) return false;
    if (!levels.has(span.key)) return true;
    const { exponent } = plans.get(segment.keys[span.key]!)!;
    const cuts = (end: number) =>
      Number.isFinite(end) &&
      bucketOf(span.first, exponent) <= bucketOf(end, exponent) &&
      bucketOf(span.last, exponent) >= bucketOf(end, exponent);
    return cuts(from) || cuts(to);
  };
  const groups = planPicks(segment, row, range, selection)
    .map(({ group }) => group)
    .filter((group) => group.spans.some(needs));
  const lots = await readLotsIfNeeded(bucket, row, segment, range, groups);
  for (const extent of planExtents(groups, { most: 1_000_000 })) {
    const bytes = await readBytes(bucket, row.object, extent.at, extent.length);
    for (const group of extent.groups)
      addGroup(decodeGroup(segment.keys, group, bytes.subarray(group.at - extent.at)), group);
  }

  function addGroup(points: ReturnType<typeof decodeGroup>, group: Group): void {
    let begin = 0;
    for (const span of group.spans) {
      const end = begin + span.rows;
      if (needs(span)) {
        const own = {
          keys: segment.keys,
          key: points.key.subarray(begin, end),
          step: points.step.subarray(begin, end),
          time: points.time.subarray(begin, end),
          value: points.value.subarray(begin, end),
        };
        const isEdge = edges.get(span.key);
        const taken = selectRows(
          own,
          selection,
          range,
          lots?.get(group)?.subarray(begin, end),
          isEdge,
        );
        addPoints(plans.get(segment.keys[span.key]!), taken, 0, taken.step.length);
      }
      begin = end;
    }
  }
}
