import {
  columnOf,
  wordsFromNumbers,
  type Bits,
  type ColumnView,
  type ColumnTable,
  type NumberColumn,
  type WordColumn,
} from "./columns.ts";
import { membersOf, numberOf, testOf } from "./comparison.ts";
import type { Comparison, Contains, Filter, Value } from "./filter.ts";
import { lowerASCII } from "./text.ts";

/**
 * Returns which rows of a table a filter holds of: 1 for those, 0 for the others. Each clause goes over its column once,
 * and asks each different word once. A field the table has no column of is an error.
 */
export function predicate(filter: Filter, table: ColumnTable): Uint8Array {
  if (filter.type === "compare")
    return comparisonMask(filter, columnOf(table, filter.field), table.rows);
  if (filter.type === "contains") return containsMask(filter, table);
  if (filter.type === "not") return turned(predicate(filter.filter, table));
  const [first, ...others] = filter.filters;
  if (!first) return newMask(table.rows).fill(filter.type === "and" ? 1 : 0);
  const mask = predicate(first, table);
  const merge = filter.type === "and" ? andInto : orInto;
  for (const other of others) merge(mask, predicate(other, table));
  return mask;
}

function turned(mask: Uint8Array): Uint8Array {
  for (let i = 0; i < mask.length; i++) mask[i]! ^= 1;
  return mask;
}

/** Returns a mask whose bytes can be gone over eight at a time. */
const newMask = (rows: number) => new Uint8Array(new ArrayBuffer((rows + 7) & ~7), 0, rows);

function andInto(mask: Uint8Array, other: Uint8Array): void {
  const [own, others] = [new Uint32Array(mask.buffer), new Uint32Array(other.buffer)];
  for (let i = 0; i < own.length; i++) own[i]! &= others[i]!;
}

function orInto(mask: Uint8Array, other: Uint8Array): void {
  const [own, others] = [new Uint32Array(mask.buffer), new Uint32Array(other.buffer)];
  for (let i = 0; i < own.length; i++) own[i]! |= others[i]!;
}

/** Returns the places of the rows that a mask holds of, in their order. */
export function rowsOf(mask: Uint8Array): Uint32Array {
  const rows = new Uint32Array(mask.length);
  let count = 0;
  for (let i = 0; i < mask.length; i++) {
    rows[count] = i;
    count += mask[i]!;
  }
  return rows.subarray(0, count);
}

function comparisonMask(comparison: Comparison, column: ColumnView, rows: number): Uint8Array {
  if (comparison.operator === "IS NULL")
    return turned(comparisonMask({ ...comparison, operator: "IS NOT NULL" }, column, rows));
  const mask =
    column.type === "word"
      ? wordMask(testOf(comparison), column, rows)
      : numberMask(comparison, column, rows);
  if (column.present) keepPresent(mask, column.present);
  return mask;
}

function wordMask(test: (word: Value) => boolean, { words, codes }: WordColumn, rows: number) {
  const hits = new Uint8Array(words.length + 1); // the first is for -1, rows without a word
  for (let code = 0; code < words.length; code++) hits[code + 1] = Number(test(words[code]!));
  const mask = newMask(rows);
  for (let i = 0; i < rows; i++) mask[i] = hits[codes[i]! + 1]!;
  return mask;
}

/**
 * The mask of numbers, those of rows that have none included. Each operator has a loop of its own, and no branch in it:
 * on numbers at random a processor guesses every second one wrong, which takes five times as long.
 */
function numberMask(comparison: Comparison, { values: x }: NumberColumn, rows: number) {
  const mask = newMask(rows);
  const { operator, values } = comparison;
  const n = values.length === 1 ? (numberOf(values[0]!) ?? NaN) : NaN;
  switch (operator) {
    case "<":
      for (let i = 0; i < rows; i++) mask[i] = Number(x[i]! < n);
      return mask;
    case "<=":
      for (let i = 0; i < rows; i++) mask[i] = Number(x[i]! <= n);
      return mask;
    case ">":
      for (let i = 0; i < rows; i++) mask[i] = Number(x[i]! > n);
      return mask;
    case ">=":
      for (let i = 0; i < rows; i++) mask[i] = Number(x[i]! >= n);
      return mask;
    case "=":
      for (let i = 0; i < rows; i++) mask[i] = Number(n === x[i]);
      return mask;
    case "!=":
      for (let i = 0; i < rows; i++) mask[i] = Number(n !== x[i]);
      return mask;
    case "IN":
    case "NOT IN": {
      const { numbers } = membersOf(values);
      const hit = operator === "IN" ? 1 : 0;
      for (let i = 0; i < rows; i++) mask[i] = numbers.has(x[i]!) ? hit : 1 - hit;
      return mask;
    }
    default: {
      const test = testOf(comparison);
      for (let i = 0; i < rows; i++) mask[i] = test(x[i]!) ? 1 : 0;
      return mask;
    }
  }
}

function keepPresent(mask: Uint8Array, { bytes, offset }: Bits): void {
  if (offset & 7) {
    for (let i = 0; i < mask.length; i++)
      mask[i]! &= (bytes[(offset + i) >> 3]! >> ((offset + i) & 7)) & 1;
    return;
  }
  const own = new Uint32Array(mask.buffer);
  for (let i = 0, at = offset >> 3; i < own.length; i += 2, at++) {
    own[i]! &= spread[bytes[at]! & 15]!;
    own[i + 1]! &= spread[bytes[at]! >> 4]!;
  }
}

/** Four bits, each as the lowest of a byte. */
const spread = Uint32Array.from(
  { length: 16 },
  (_, bits) =>
    new Uint32Array(Uint8Array.from([0, 1, 2, 3], (bit) => (bits >> bit) & 1).buffer)[0]!,
);

function containsMask({ text }: Contains, table: ColumnTable): Uint8Array {
  const lower = lowerASCII(text);
  const isFound = (value: Value) => lowerASCII(String(value)).includes(lower);
  const found = (kind: "plain" | "tags", key: string, test: (value: Value) => boolean) => {
    const column = columnOf(table, { kind, key });
    const words = column.type === "word" ? column : wordsFromNumbers(column);
    const mask = wordMask(test, words, table.rows);
    if (column.present) keepPresent(mask, column.present);
    return mask;
  };
  const mask = found("plain", "name", isFound);
  orInto(mask, found("plain", "id", isFound));
  for (const key of table.tags())
    orInto(mask, found("tags", key, isFound(key) ? () => true : isFound));
  return mask;
}
