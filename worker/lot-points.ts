import {
  comparePoints,
  concatPoints,
  sortedPlaces,
  takePoints,
  type Points,
} from "../wire/point.ts";

/** Points, each with its lot: the change of its run (`touched`) that it was accepted by. */
export interface LotPoints extends Points {
  lot: Float64Array;
}

/** Rows, one behind the other, that are of one key, with their first and last step. */
export interface Span {
  key: number;
  rows: number;
  first: number;
  last: number;
}

/** Returns the runs of equal keys in sorted points, or in a part of them. */
export function spansOf({ key, step }: Points, begin = 0, end = key.length): Span[] {
  const spans: Span[] = [];
  for (let i = begin; i < end;) {
    const first = i;
    while (i < end && key[i] === key[first]) i++;
    spans.push({ key: key[first]!, rows: i - first, first: step[first]!, last: step[i - 1]! });
  }
  return spans;
}

/** Returns lots of points as one, sorted. */
export function sortLots(lots: LotPoints[]): LotPoints {
  const all = concatPoints(lots);
  const lot = new Float64Array(all.step.length);
  let at = 0;
  for (const points of lots) {
    lot.set(points.lot, at);
    at += points.lot.length;
  }
  return takeLots({ ...all, lot }, sortedPlaces(all));
}

/** Returns the points at the given places with their lots. */
export function takeLots(points: LotPoints, places: Uint32Array): LotPoints {
  return { ...takePoints(points, places), lot: Float64Array.from(places, (i) => points.lot[i]!) };
}

/** Returns the points from one place to another. */
export function sliceLots(points: LotPoints, begin: number, end: number): LotPoints {
  return {
    keys: points.keys,
    key: points.key.slice(begin, end),
    step: points.step.slice(begin, end),
    time: points.time.slice(begin, end),
    value: points.value.slice(begin, end),
    lot: points.lot.slice(begin, end),
  };
}

/** Merges sources of sorted points into one, chunk by chunk: of each source one chunk is in memory. */
export async function* mergeSorted(sources: AsyncIterable<LotPoints>[]): AsyncGenerator<LotPoints> {
  const readers = sources.map((source) => source[Symbol.asyncIterator]());
  const heads: (LotPoints | undefined)[] = await Promise.all(readers.map(nextChunk));
  for (;;) {
    const open = heads.flatMap((head, i) => (head ? [i] : []));
    if (!open.length) return;
    // What comes up to the least of the last rows is complete: all later chunks come behind it.
    const least = open.reduce((a, b) => (compareLast(heads[a]!, heads[b]!) <= 0 ? a : b));
    const bound = heads[least]!;
    const parts: LotPoints[] = [];
    for (const i of open) {
      const head = heads[i]!;
      const end = i === least ? head.step.length : rowsUpTo(head, bound);
      if (end) parts.push(end === head.step.length ? head : sliceLots(head, 0, end));
      heads[i] =
        end < head.step.length
          ? end
            ? sliceLots(head, end, head.step.length)
            : head
          : await nextChunk(readers[i]!);
    }
    yield parts.length === 1 ? parts[0]! : sortLots(parts);
  }
}

async function nextChunk(reader: AsyncIterator<LotPoints>): Promise<LotPoints | undefined> {
  for (;;) {
    const { done, value } = await reader.next();
    if (done) return undefined;
    if (value.step.length) return value;
  }
}

function compareRows(a: Points, i: number, b: Points, j: number): number {
  const [keyA, keyB] = [a.keys[a.key[i]!]!, b.keys[b.key[j]!]!];
  return keyA < keyB ? -1 : keyA > keyB ? 1 : comparePoints(a, i, b, j);
}

const compareLast = (a: Points, b: Points): number =>
  compareRows(a, a.step.length - 1, b, b.step.length - 1);

/** How many rows of sorted points come no later than the last of others. */
function rowsUpTo(points: Points, bound: Points): number {
  let [low, high] = [0, points.step.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareRows(points, middle, bound, bound.step.length - 1) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
