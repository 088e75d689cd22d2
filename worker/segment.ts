import { deflateRawSync, inflateRawSync } from "node:zlib";
import { timestampColumn, timesFromTimestamps } from "../wire/arrow.ts";
import {
  bucketColumns,
  bucketsFromPoints,
  emptyBuckets,
  exponentFor,
  type Buckets,
} from "../wire/buckets.ts";
import { emptyPoints, type Points } from "../wire/point.ts";
import { fragmentOf, inflateFragment, joinBytes, type Fragment } from "./gzip.ts";
import { sliceLots, sortLots, spansOf, type LotPoints, type Span } from "./lot-points.ts";
import { packNumbers, unpackNumbers } from "./numbers.ts";

/**
 * A segment is sorted points of one run as they will be sent: groups of rows, of each the deflated Arrow buffers of step,
 * time and value, one after the other; then each group's lots; then the levels of its longer series. All but the bytes is
 * known before they are read.
 */
export interface Segment {
  keys: string[];
  /** the lots that occur, rising */
  lots: number[];
  groups: Group[];
  levels: Level[];
  /** how many of the bytes are groups */
  dataSize: number;
}

/** Rows that are stored, and so can be read, together. */
export interface Group {
  rows: number;
  /** where its bytes begin, and where its lots do */
  at: number;
  lotsAt: number;
  fragments: Record<"step" | "time" | "value" | "lot", { length: number; crc: number }>;
  minTime: number;
  maxTime: number;
  spans: Span[];
}

/** Where the buckets of a series begin, and their exponent. */
export interface Level {
  key: number;
  exponent: number;
  at: number;
  length: number;
}

/** Large enough to deflate well, small enough to read for one key: half a record batch. */
const groupRows = 32_768;
/** A segment is made, and merged, in memory: some 8 MB. */
export const segmentRows = 262_144;
/** The names of a segment's keys stand in a database row, which holds 2 MB. */
const maxKeysText = 500_000;
/** A series of fewer rows than this is read as it is sooner than its level is. */
const levelRows = 1024;
const rowsPerBucket = 64;

/** Returns sorted points as the bytes of a segment and what describes them, packed as text; one that `stays` is deflated better. */
export function encodeSegment(
  points: LotPoints,
  stays: boolean,
): { segment: Segment; bytes: Uint8Array; contents: string } {
  // In one long series of regular steps a careful zlib searches many times as long, and finds nothing.
  const isLong = points.step.length > 8192 * points.keys.length;
  const level = !stays ? 1 : isLong ? 4 : 9;
  const valueLevel = !stays ? 1 : points.step.length <= groupRows / 2 ? 9 : isLong ? 4 : 6;
  const lots = [...new Set(points.lot)].sort((a, b) => a - b);
  const placeOf = new Map(lots.map((lot, i) => [lot, i]));
  const place = Uint32Array.from(points.lot, (lot) => placeOf.get(lot)!);
  const data: Uint8Array[] = [];
  const lotData: Uint8Array[] = [];
  const groups: Group[] = [];
  let [at, lotsAt] = [0, 0];
  for (let begin = 0; begin < points.step.length; begin += groupRows) {
    const end = Math.min(begin + groupRows, points.step.length);
    const times = points.time.subarray(begin, end);
    const step = fragmentOf(bytesOf(points.step.subarray(begin, end)), { level });
    const time = fragmentOf(timestampColumn(times).buffers[1]!, { level });
    // Series of many kinds stand one behind the other: codes made for each few of them fit better.
    const value = fragmentOf(bytesOf(points.value.subarray(begin, end)), {
      level: valueLevel,
      memLevel: 6,
    });
    const lot = fragmentOf(bytesOf(place.subarray(begin, end)), { level });
    const about = ({ bytes, crc }: Fragment) => ({ length: bytes.length, crc });
    groups.push({
      rows: end - begin,
      at,
      lotsAt,
      fragments: { step: about(step), time: about(time), value: about(value), lot: about(lot) },
      minTime: times.reduce((a, b) => Math.min(a, b)),
      maxTime: times.reduce((a, b) => Math.max(a, b)),
      spans: spansOf(points, begin, end),
    });
    data.push(step.bytes, time.bytes, value.bytes);
    lotData.push(lot.bytes);
    at += step.bytes.length + time.bytes.length + value.bytes.length;
    lotsAt += lot.bytes.length;
  }
  for (const group of groups) group.lotsAt += at;
  const { levels, levelData } = encodeLevels(points, at + lotsAt);
  const segment = { keys: points.keys, lots, groups, levels, dataSize: at };
  return {
    segment,
    bytes: joinBytes([...data, ...lotData, ...levelData]),
    contents: packContents(segment),
  };
}

function encodeLevels(points: LotPoints, start: number) {
  const levels: Level[] = [];
  const levelData: Uint8Array[] = [];
  let at = start;
  for (const { key, rows, first, last, begin } of seriesOf(points)) {
    if (rows < levelRows) continue;
    const exponent = exponentFor(first, last, Math.ceil(rows / rowsPerBucket));
    const bytes = packBuckets(bucketsFromPoints(points, exponent, begin, begin + rows));
    levels.push({ key, exponent, at, length: bytes.length });
    levelData.push(bytes);
    at += bytes.length;
  }
  return { levels, levelData };
}

function* seriesOf(points: Points): Generator<Span & { begin: number }> {
  let begin = 0;
  for (const span of spansOf(points)) {
    yield { ...span, begin };
    begin += span.rows;
  }
}

const bytesOf = (array: Float64Array | Uint32Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Returns where the fragments of a group lie, as they are sent. */
export function storedFragments(
  group: Group,
  bytes: Uint8Array,
): Record<"step" | "time" | "value", Fragment> {
  const { step, time, value } = group.fragments;
  const size = group.rows * 8;
  const cut = (from: number, { length, crc }: { length: number; crc: number }): Fragment => ({
    bytes: bytes.subarray(from, from + length),
    crc,
    size,
  });
  return {
    step: cut(0, step),
    time: cut(step.length, time),
    value: cut(step.length + time.length, value),
  };
}

/** Returns the length of a group's bytes without its lots. */
export const groupSize = ({ fragments: { step, time, value } }: Group): number =>
  step.length + time.length + value.length;

/** Returns the points of a group from its bytes. */
export function decodeGroup(keys: string[], group: Group, bytes: Uint8Array): Points {
  const { step, time, value } = storedFragments(group, bytes);
  const points = emptyPoints(keys, 0);
  points.step = new Float64Array(wholeBuffer(inflateFragment(step)));
  points.time = timesFromTimestamps(new Int32Array(wholeBuffer(inflateFragment(time))));
  points.value = new Float64Array(wholeBuffer(inflateFragment(value)));
  points.key = new Uint32Array(group.rows);
  let at = 0;
  for (const { key, rows } of group.spans) points.key.fill(key, at, (at += rows));
  return points;
}

/** Returns the lots of a group's rows from its lots' bytes. */
export function decodeLots(lots: number[], group: Group, bytes: Uint8Array): Float64Array {
  const { crc } = group.fragments.lot;
  const raw = inflateFragment({ bytes, crc, size: group.rows * 4 });
  return Float64Array.from(new Uint32Array(wholeBuffer(raw)), (place) => lots[place]!);
}

/** Typed arrays need a buffer that they can begin at 0 of. */
const wholeBuffer = (bytes: Uint8Array): ArrayBuffer =>
  bytes.byteLength === bytes.buffer.byteLength
    ? (bytes.buffer as ArrayBuffer)
    : new Uint8Array(bytes).buffer; // not slice, which on a Buffer copies nothing

/** Buckets at rest: their columns, all first bytes of the numbers, then all second ones and so on, deflated. */
function packBuckets(buckets: Buckets): Uint8Array {
  const rows = buckets.index.length;
  const planes = new Uint8Array(rows * 8 * bucketColumns.length);
  bucketColumns.forEach((name, c) => {
    const raw = bytesOf(buckets[name]);
    for (let i = 0; i < rows; i++)
      for (let b = 0; b < 8; b++) planes[(c * 8 + b) * rows + i] = raw[i * 8 + b]!;
  });
  return deflateRawSync(planes, { level: 6 });
}

/** Returns the buckets that packBuckets wrote. */
export function unpackBuckets(bytes: Uint8Array, exponent: number): Buckets {
  const planes = inflateRawSync(bytes);
  const rows = planes.length / (8 * bucketColumns.length);
  const buckets = emptyBuckets(exponent, rows);
  bucketColumns.forEach((name, c) => {
    const raw = bytesOf(buckets[name]);
    for (let i = 0; i < rows; i++)
      for (let b = 0; b < 8; b++) raw[i * 8 + b] = planes[(c * 8 + b) * rows + i]!;
  });
  return buckets;
}

/** A segment's description at rest: its numbers, column by column, as text. Its keys stand beside it. */
function packContents({ lots, groups, levels }: Segment): string {
  const spans = groups.flatMap((group) => group.spans);
  return packNumbers([
    groups.length,
    spans.length,
    lots.length,
    levels.length,
    ...groups.map(({ rows }) => rows),
    ...groups.map((group) => group.spans.length),
    ...groups.map(({ minTime }) => minTime),
    ...groups.map(({ maxTime }) => maxTime),
    ...columns.flatMap((name) => groups.map(({ fragments }) => fragments[name].length)),
    ...columns.flatMap((name) => groups.map(({ fragments }) => fragments[name].crc)),
    ...spans.map(({ key }) => key),
    ...spans.map(({ rows }) => rows),
    ...spans.map(({ first }) => first),
    ...spans.map(({ last }) => last),
    ...lots,
    ...levels.map(({ key }) => key),
    ...levels.map(({ exponent }) => exponent),
    ...levels.map(({ length }) => length),
  ]);
}

const columns = ["step", "time", "value", "lot"] as const;

/** Returns the segment that packContents described. */
export function unpackContents(contents: string, keys: string[]): Segment {
  const numbers = unpackNumbers(contents);
  const [groupCount, spanCount, lotCount, levelCount] = numbers as [number, number, number, number];
  const groupsAt = 4;
  const spansAt = groupsAt + 12 * groupCount;
  const lotsAt = spansAt + 4 * spanCount;
  const levelsAt = lotsAt + lotCount;
  const groups: Group[] = [];
  let [at, lotAt, span] = [0, 0, spansAt];
  for (let g = 0; g < groupCount; g++) {
    const field = (column: number) => numbers[groupsAt + column * groupCount + g]!;
    const fragment = (column: number) => ({ length: field(4 + column), crc: field(8 + column) });
    const fragments = {
      step: fragment(0),
      time: fragment(1),
      value: fragment(2),
      lot: fragment(3),
    };
    const spans: Span[] = [];
    for (const end = span + field(1); span < end; span++)
      spans.push({
        key: numbers[span]!,
        rows: numbers[span + spanCount]!,
        first: numbers[span + 2 * spanCount]!,
        last: numbers[span + 3 * spanCount]!,
      });
    const group = {
      rows: field(0),
      at,
      lotsAt: lotAt,
      fragments,
      minTime: field(2),
      maxTime: field(3),
      spans,
    };
    groups.push(group);
    at += groupSize(group);
    lotAt += fragments.lot.length;
  }
  for (const group of groups) group.lotsAt += at;
  let levelAt = at + lotAt;
  const levels: Level[] = [];
  for (let i = levelsAt; i < levelsAt + levelCount; i++) {
    const [key, exponent, length] = [
      numbers[i]!,
      numbers[i + levelCount]!,
      numbers[i + 2 * levelCount]!,
    ];
    levels.push({ key, exponent, at: levelAt, length });
    levelAt += length;
  }
  return { keys, lots: numbers.slice(lotsAt, levelsAt), groups, levels, dataSize: at };
}

/** Cuts sorted points, in chunks of any size, into segments that fit into memory and their descriptions into a row. */
export async function* cutSegments(
  chunks: AsyncIterable<LotPoints> | Iterable<LotPoints>,
): AsyncGenerator<LotPoints> {
  let [waiting, rows]: [LotPoints[], number] = [[], 0];
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.step.length;) {
      const end = Math.min(chunk.step.length, at + segmentRows - rows);
      const part = at === 0 && end === chunk.step.length ? chunk : sliceLots(chunk, at, end);
      waiting.push(part);
      rows += end - at;
      at = end;
      if (rows < segmentRows) continue;
      yield* fittingKeys(sortLots(waiting));
      [waiting, rows] = [[], 0];
    }
  }
  if (rows) yield* fittingKeys(sortLots(waiting));
}

/** Cuts points where the names of their keys grow too long for a row, and leaves out keys that do not occur. */
function* fittingKeys(points: LotPoints): Generator<LotPoints> {
  let [begin, keys, text]: [number, string[], number] = [0, [], 0];
  let end = 0;
  for (const { key, rows } of spansOf(points)) {
    const size = JSON.stringify(points.keys[key]!).length * 3;
    if (text + size > maxKeysText && keys.length) {
      yield rekeyed(sliceLots(points, begin, end), keys);
      [begin, keys, text] = [end, [], 0];
    }
    keys.push(points.keys[key]!);
    text += size;
    end += rows;
  }
  yield rekeyed(sliceLots(points, begin, end), keys);
}

/** Returns sorted points under the list of the keys that occur, in their order. */
function rekeyed(points: LotPoints, keys: string[]): LotPoints {
  const key = new Uint32Array(points.key.length);
  for (let i = 1; i < key.length; i++)
    key[i] = key[i - 1]! + (points.key[i] === points.key[i - 1] ? 0 : 1);
  return { ...points, keys, key };
}
