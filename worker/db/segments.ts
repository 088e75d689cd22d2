import { workspace } from "../env.ts";
import {
  decodeGroup,
  decodeLots,
  encodeSegment,
  groupSize,
  unpackBuckets,
  unpackContents,
  type Group,
  type Level,
  type Segment,
} from "../segment.ts";
import type { LotPoints } from "../lot-points.ts";
import type { Buckets } from "../../wire/buckets.ts";
import { digestOf, now } from "./events.ts";
import { newObject, readBytes } from "./objects.ts";
import type { LotRange } from "./tail.ts";

/** A segment's row. */
export interface SegmentRow {
  run: number;
  stretch: number;
  part: number;
  object: string;
  size: number;
  rows: number;
  /** its least and greatest lot */
  first: number;
  last: number;
  keys: string;
  contents: string;
}

const columns = "run, stretch, part, object, size, rows, first, last, keys, contents";

/** The statement that reads the segments of runs in which lots of the given ranges may be, in their order. */
export const selectSegments = (db: D1Database, ranges: LotRange[]): D1PreparedStatement =>
  db
    .prepare(
      `SELECT s.${columns.replaceAll(", ", ", s.")} FROM json_each(?) AS r CROSS JOIN segments AS s ON s.run = r.value ->> 'run'
       WHERE s.last > r.value ->> 'after' AND s.first <= r.value ->> 'upTo'
       ORDER BY r.key, stretch, part`,
    )
    .bind(JSON.stringify(ranges));

/** Returns what a row describes; the same list of keys is parsed once, as runs of one experiment mostly share it. */
export function segmentOf(row: SegmentRow, keyLists: Map<string, string[]>): Segment {
  let keys = keyLists.get(row.keys);
  if (!keys) keyLists.set(row.keys, (keys = JSON.parse(row.keys) as string[]));
  return unpackContents(row.contents, keys);
}

/** Stores sorted points as an object and returns the row that will make it count. Nothing refers to it before. */
export async function putSegment(
  bucket: R2Bucket,
  run: number,
  points: LotPoints,
  stays: boolean,
): Promise<Omit<SegmentRow, "stretch" | "part">> {
  const { segment, bytes, contents } = encodeSegment(points, stays);
  const object = newObject("segments");
  const stored = await bucket.put(object, bytes, {
    onlyIf: { etagDoesNotMatch: "*" },
    sha256: await digestOf(bytes),
  });
  if (!stored) throw new Error(`object already exists: ${object}`);
  return {
    run,
    object,
    size: bytes.length,
    rows: points.step.length,
    first: segment.lots[0]!,
    last: segment.lots.at(-1)!,
    keys: JSON.stringify(segment.keys),
    contents,
  };
}

/** The statements that make stored segments count, as one stretch. */
export function insertStretch(
  db: D1Database,
  segments: Omit<SegmentRow, "stretch" | "part">[],
): D1PreparedStatement[] {
  const stretch = segments.reduce((last, segment) => Math.max(last, segment.last), 0);
  return segments.map((segment, part) => {
    const row: SegmentRow = { ...segment, stretch, part };
    const names = columns.split(", ") as (keyof SegmentRow)[];
    return db
      .prepare(
        `INSERT INTO segments (workspace, ${columns}) VALUES (?${", ?".repeat(names.length)})`,
      )
      .bind(workspace, ...names.map((name) => row[name]));
  });
}

/** The statement that makes its batch fail, all of it, unless the one before changed exactly `count` rows. */
export const expectChanges = (db: D1Database, count: number): D1PreparedStatement =>
  db.prepare(`SELECT CASE WHEN changes() = ? THEN 1 ELSE json('${overtaken}') END`).bind(count);

const overtaken = "overtaken";
/** Whether a batch failed for expectChanges: another was there first, and nothing of it happened. */
export const isOvertaken = (error: unknown): boolean => /malformed JSON/i.test(String(error));

/** The statement that remembers the objects of a run's segments, or of some of them, as no longer needed. */
export const retireSegments = (
  db: D1Database,
  run: string,
  bound: unknown[],
): D1PreparedStatement =>
  db
    .prepare(
      `INSERT INTO retired (object, at) SELECT object, ${now} FROM segments WHERE run = ${run}`,
    )
    .bind(...bound);

/** Groups that lie close enough in an object to be read at once. */
export interface Extent {
  at: number;
  length: number;
  groups: Group[];
}

/** Returns how to read groups in few requests: what lies between two of them is read along where it is little. */
export function planExtents(groups: Group[], { gap = 65_536, most = 2_000_000 } = {}): Extent[] {
  const extents: Extent[] = [];
  for (const group of groups) {
    const last = extents.at(-1);
    const end = group.at + groupSize(group);
    if (last && group.at - (last.at + last.length) <= gap && end - last.at <= most) {
      last.length = end - last.at;
      last.groups.push(group);
    } else extents.push({ at: group.at, length: groupSize(group), groups: [group] });
  }
  return extents;
}

/** Returns the lots of all rows of a segment's groups, read at once as there are few bytes of them. */
export async function readLots(
  bucket: R2Bucket,
  { object }: { object: string },
  { groups, lots }: Segment,
): Promise<Map<Group, Float64Array>> {
  const [first, last] = [groups[0]!, groups.at(-1)!];
  const length = last.lotsAt + last.fragments.lot.length - first.lotsAt;
  const bytes = await readBytes(bucket, object, first.lotsAt, length);
  return new Map(
    groups.map((group) => {
      const at = group.lotsAt - first.lotsAt;
      return [group, decodeLots(lots, group, bytes.subarray(at, at + group.fragments.lot.length))];
    }),
  );
}

/** Reads a segment group by group, points with their lots. */
export async function* readSegment(
  bucket: R2Bucket,
  row: SegmentRow,
  segment: Segment,
): AsyncGenerator<LotPoints> {
  const lots = await readLots(bucket, row, segment);
  for (const { at, length, groups } of planExtents(segment.groups, { most: 500_000 })) {
    const bytes = await readBytes(bucket, row.object, at, length);
    for (const group of groups)
      yield {
        ...decodeGroup(segment.keys, group, bytes.subarray(group.at - at)),
        lot: lots.get(group)!,
      };
  }
}

/** Returns the stored buckets of the series that have some, of those asked for. */
export async function readLevels(
  bucket: R2Bucket,
  { object }: { object: string },
  { levels }: Segment,
  isWanted: (level: Level) => boolean,
): Promise<Map<number, Buckets>> {
  const wanted = levels.filter(isWanted);
  if (!wanted.length) return new Map();
  const [first, last] = [wanted[0]!, wanted.at(-1)!];
  const bytes = await readBytes(bucket, object, first.at, last.at + last.length - first.at);
  return new Map(
    wanted.map(({ key, exponent, at, length }) => [
      key,
      unpackBuckets(bytes.subarray(at - first.at, at - first.at + length), exponent),
    ]),
  );
}
