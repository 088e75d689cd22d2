import {
  allRows,
  columnOf,
  isPresentAt,
  type Bits,
  type ColumnView,
  type ColumnTable,
} from "./columns.ts";
import type { Value } from "./filter.ts";
import type { OrderTerm } from "./order.ts";
import { compareText } from "./text.ts";

/**
 * Returns rows of a table in an order: those given, or all; rows that the order does not tell apart stay as they were.
 * Sorts by radix, the last field first, since 100,000 rows are to take less than a screen's frame.
 */
export function sortedRows(
  order: OrderTerm[],
  table: ColumnTable,
  rows?: Uint32Array,
): Uint32Array {
  let sorted = rows ?? allRows(table.rows);
  for (const { field, descending } of order.toReversed()) {
    const { high, low, last } = keysOf(columnOf(table, field), descending, table.rows);
    if (low) sorted = sortedBy(low, sorted);
    sorted = sortedBy(high, sorted);
    sorted = sortedByDigit(last, 0, 0xff, sorted);
  }
  return sorted;
}

interface Keys {
  /** the halves of an unsigned 64-bit key, by which values rise or, where it descends, fall */
  high: Uint32Array;
  low?: Uint32Array;
  /** 0 for values, 1 for NaN, 2 for rows without a value */
  last: Uint8Array;
}

function keysOf(column: ColumnView, descending: boolean, rows: number): Keys {
  const keys =
    column.type === "number"
      ? numberKeys(column.values, descending, rows)
      : wordKeys(column.words, column.codes, descending, rows);
  if (column.present) markMissing(keys, column.present);
  return keys;
}

/** The bits of an IEEE double rise with it, once those of negative numbers are turned round. */
function numberKeys(values: Float64Array, descending: boolean, rows: number): Keys {
  const normal = new Float64Array(rows);
  for (let i = 0; i < rows; i++) normal[i] = values[i]! + 0; // −0 is 0
  const halves = new Uint32Array(normal.buffer);
  const [high, low, last] = [new Uint32Array(rows), new Uint32Array(rows), new Uint8Array(rows)];
  const turn = descending ? 0xffffffff : 0;
  for (let i = 0; i < rows; i++) {
    const [l, h] = [halves[2 * i]!, halves[2 * i + 1]!];
    const flip = h >>> 31 ? 0xffffffff : 0;
    high[i] = h ^ (flip | 0x80000000) ^ turn;
    low[i] = l ^ flip ^ turn;
    last[i] = normal[i] === normal[i] ? 0 : 1;
    if (last[i]) high[i] = low[i] = 0;
  }
  return { high, low, last };
}

function wordKeys(
  words: ArrayLike<Value>,
  codes: ArrayLike<number>,
  descending: boolean,
  rows: number,
): Keys {
  const byValue = Array.from(words, (word, code) => ({ word, code })).toSorted(
    (a, b) => compareValues(a.word, b.word) * (descending ? -1 : 1),
  );
  const ranks = new Uint32Array(words.length);
  byValue.forEach(({ word, code }, i) => {
    const isTie = i > 0 && compareValues(word, byValue[i - 1]!.word) === 0;
    ranks[code] = isTie ? ranks[byValue[i - 1]!.code]! : i;
  });
  const [high, last] = [new Uint32Array(rows), new Uint8Array(rows)];
  for (let i = 0; i < rows; i++) {
    const word = words[codes[i]!];
    last[i] = word === undefined ? 2 : Number.isNaN(word) ? 1 : 0;
    if (last[i] === 0) high[i] = ranks[codes[i]!]!;
  }
  return { high, last };
}

/** Numbers before booleans before texts; NaN is told apart before. */
function compareValues(a: Value, b: Value): number {
  if (typeof a === "string" && typeof b === "string") return compareText(a, b);
  const types = typeRank(a) - typeRank(b);
  if (types || a === b) return types;
  return Number.isNaN(a) || Number.isNaN(b)
    ? Number(Number.isNaN(a)) - Number(Number.isNaN(b))
    : a < b
      ? -1
      : 1;
}

const typeRank = (value: Value): number =>
  typeof value === "number" ? 0 : typeof value === "boolean" ? 1 : 2;

function markMissing({ high, low, last }: Keys, present: Bits): void {
  for (let i = 0; i < last.length; i++) {
    if (isPresentAt(present, i)) continue;
    last[i] = 2;
    high[i] = 0;
    if (low) low[i] = 0;
  }
}

/** Sorts rows by an unsigned 32-bit key, two bytes at a time; rows of one key stay in their order. */
function sortedBy(key: Uint32Array, rows: Uint32Array): Uint32Array {
  return sortedByDigit(key, 16, 0xffff, sortedByDigit(key, 0, 0xffff, rows));
}

function sortedByDigit(
  key: ArrayLike<number>,
  shift: number,
  mask: number,
  rows: Uint32Array,
): Uint32Array {
  const starts = new Uint32Array(mask + 2);
  for (let i = 0; i < rows.length; i++) starts[((key[rows[i]!]! >>> shift) & mask) + 1]!++;
  if (rows.length && starts[((key[rows[0]!]! >>> shift) & mask) + 1] === rows.length) return rows;
  for (let digit = 0; digit <= mask; digit++) starts[digit + 1]! += starts[digit]!;
  const sorted = new Uint32Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    const digit = (key[rows[i]!]! >>> shift) & mask;
    sorted[starts[digit]!++] = rows[i]!;
  }
  return sorted;
}
