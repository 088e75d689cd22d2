import { batchHead, endOfStream, indexWidthOf, timestampColumn } from "../../wire/arrow.ts";
import { pointsHead } from "../../wire/point-ipc.ts";
import type { Points } from "../../wire/point.ts";
import type { Part } from "../db/points.ts";
import { fragmentOf, repeatedInts, type Fragment, type Piece, type Width } from "../gzip.ts";

const maxRows = 65_536;
/** Batches are at least this long, where there are so many rows: each costs its reader some 30 µs. */
const enoughRows = maxRows / 2;

/**
 * Encodes parts as an Arrow stream in record batches of up to 64k rows. What is stored goes out as it is stored; only the
 * head of each batch and its columns of run and key are made, and what is not stored deflated.
 */
export async function* arrowPieces(
  runs: string[],
  keys: string[],
  parts: AsyncIterable<Part>,
  cursor: string,
): AsyncGenerator<Piece> {
  yield* pointsHead(runs, keys, cursor);
  const makeBatch = batchMaker(runs.length, keys);
  let [waiting, rows]: [Part[], number] = [[], 0];
  let isEmpty = true;
  for await (const whole of parts)
    for (const part of upTo(maxRows, whole)) {
      if (rows + part.rows > maxRows || rows >= enoughRows) {
        yield makeBatch(waiting, rows);
        [waiting, rows] = [[], 0];
      }
      waiting.push(part);
      rows += part.rows;
      isEmpty = false;
    }
  if (rows || isEmpty) yield makeBatch(waiting, rows); // some readers fail on a stream without any
  yield endOfStream;
}

/** Cuts a part that is longer than a batch may be; stored parts never are. */
function* upTo(most: number, part: Part): Generator<Part> {
  if (part.rows <= most) {
    yield part;
    return;
  }
  const points = part.decode();
  for (let begin = 0; begin < part.rows; begin += most) {
    const end = Math.min(begin + most, part.rows);
    const own: Points = {
      keys: points.keys,
      key: points.key.subarray(begin, end),
      step: points.step.subarray(begin, end),
      time: points.time.subarray(begin, end),
      value: points.value.subarray(begin, end),
    };
    const spans: Part["spans"] = [];
    for (const key of own.key) {
      const last = spans.at(-1);
      if (last?.key === key) last.rows++;
      else spans.push({ key, rows: 1 });
    }
    yield { run: part.run, rows: end - begin, keys: points.keys, spans, decode: () => own };
  }
}

/** Returns how to make a record batch of parts. */
function batchMaker(runs: number, keys: string[]): (parts: Part[], rows: number) => Fragment[] {
  const [runWidth, keyWidth] = [indexWidthOf(runs), indexWidthOf(keys.length)];
  const keysOf = keyFragments(keys, keyWidth);
  return (parts, rows) => {
    const head = batchHead(rows, [
      [0, rows * runWidth],
      [0, rows * keyWidth],
      [0, rows * 8],
      [0, rows * 8],
      [0, rows * 8],
    ]);
    const runColumn = repeatedInts(
      parts.map(({ run }) => run),
      parts.map((part) => part.rows),
      runWidth,
    );
    return [
      fragmentOf(head),
      runColumn,
      ...padding(rows, runWidth),
      ...parts.map(keysOf),
      ...padding(rows, keyWidth),
      ...columnPieces(parts, "step"),
      ...columnPieces(parts, "time"),
      ...columnPieces(parts, "value"),
    ];
  };
}

/** What brings a column of whole numbers to 8 bytes. */
function padding(rows: number, width: Width): Fragment[] {
  const missing = -rows & (8 / width - 1);
  return missing ? [repeatedInts([0], [missing], width)] : [];
}

/** Returns how to make a part's column of keys: runs of one experiment mostly have the same keys as often, and so the same bytes. */
function keyFragments(keys: string[], width: Width): (part: Part) => Fragment {
  const places = new Map(keys.map((key, at) => [key, at]));
  let before: { part: Part; fragment: Fragment } | undefined;
  return (part) => {
    if (!before || !hasSameKeys(before.part, part)) {
      const fragment = repeatedInts(
        part.spans.map(({ key }) => places.get(part.keys[key]!)!),
        part.spans.map((span) => span.rows),
        width,
      );
      before = { part, fragment };
    }
    return before.fragment;
  };
}

const hasSameKeys = (a: Part, b: Part): boolean =>
  a.keys === b.keys &&
  a.spans.length === b.spans.length &&
  a.spans.every(({ key, rows }, i) => key === b.spans[i]!.key && rows === b.spans[i]!.rows);

/** A column of several parts: stored ones as they are, the others in between deflated together. */
function* columnPieces(parts: Part[], name: "step" | "time" | "value"): Generator<Fragment> {
  let waiting: Float64Array[] = [];
  function* deflated(): Generator<Fragment> {
    if (waiting.length) yield fragmentOf(bytesOf(name, concat(waiting)));
    waiting = [];
  }
  for (const part of parts)
    if (part.stored) {
      yield* deflated();
      yield part.stored[name];
    } else waiting.push(part.decode()[name]);
  yield* deflated();
}

function bytesOf(name: string, column: Float64Array): Uint8Array {
  if (name === "time") return timestampColumn(column).buffers[1]!;
  return new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
}

function concat(columns: Float64Array[]): Float64Array {
  if (columns.length === 1) return columns[0]!;
  const all = new Float64Array(columns.reduce((n, { length }) => n + length, 0));
  let at = 0;
  for (const column of columns) {
    all.set(column, at);
    at += column.length;
  }
  return all;
}
