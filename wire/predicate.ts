import {
  allRows,
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
 * Returns the places of the rows of a table that a filter holds of, in their order. Each clause goes over its column once,
 * where it stands behind AND over the rows that are left only, and asks each different word once. A field the table has no
 * column of is an error.
 */
export function rowsWhere(filter: Filter, table: ColumnTable): Uint32Array {
  return narrow(allRows(table.rows), filter, table);
}

/** Returns which rows of a table a filter holds of: 1 for those, 0 for the others. */
export function predicate(filter: Filter, table: ColumnTable): Uint8Array {
  const mask = new Uint8Array(table.rows);
  for (const row of rowsWhere(filter, table)) mask[row] = 1;
  return mask;
}

/** Moves those of some rows that a filter holds of to the front, and returns them; so does all that narrows. */
function narrow(rows: Uint32Array, filter: Filter, table: ColumnTable): Uint32Array {
  if (filter.type === "compare")
    return narrowByComparison(rows, filter, columnOf(table, filter.field));
  if (filter.type === "contains") return narrowByText(rows, filter, table);
  if (filter.type === "not") return without(rows, narrow(rows.slice(), filter.filter, table));
  const parts = filter.filters.map((part) => (some: Uint32Array) => narrow(some, part, table));
  return filter.type === "and"
    ? parts.reduce((left, part) => part(left), rows)
    : narrowByAny(rows, parts, table.rows);
}

/** Narrows rows to those that any of some parts would. */
function narrowByAny(
  rows: Uint32Array,
  parts: ((rows: Uint32Array) => Uint32Array)[],
  tableRows: number,
): Uint32Array {
  const mask = new Uint8Array(tableRows);
  for (const part of parts) {
    const found = part(rows.slice());
    for (let i = 0; i < found.length; i++) mask[found[i]!] = 1;
  }
  let kept = 0;
  for (let i = 0; i < rows.length; i++) kept += mask[(rows[kept] = rows[i]!)]!;
  return rows.subarray(0, kept);
}

/** Narrows rows to those that are not among others, which are some of them in the same order. */
function without(rows: Uint32Array, others: Uint32Array): Uint32Array {
  let [kept, i] = [0, 0];
  for (let next = 0; next < others.length; i++) {
    const isOther = Number((rows[kept] = rows[i]!) === others[next]!);
    kept += 1 - isOther;
    next += isOther;
  }
  rows.copyWithin(kept, i);
  return rows.subarray(0, kept + rows.length - i);
}

function narrowByComparison(
  rows: Uint32Array,
  comparison: Comparison,
  column: ColumnView,
): Uint32Array {
  if (comparison.operator === "IS NULL")
    return without(
      rows,
      narrowByComparison(rows.slice(), { ...comparison, operator: "IS NOT NULL" }, column),
    );
  const kept =
    column.type === "word"
      ? narrowByWord(rows, testOf(comparison), column)
      : narrowByNumber(rows, comparison, column);
  return column.present ? narrowToPresent(kept, column.present) : kept;
}

function narrowByWord(
  rows: Uint32Array,
  test: (word: Value) => boolean,
  { words, codes }: WordColumn,
): Uint32Array {
  const hits = new Uint8Array(words.length + 1); // the first is for -1, rows without a word
  for (let code = 0; code < words.length; code++) hits[code + 1] = Number(test(words[code]!));
  let kept = 0;
  for (let i = 0; i < rows.length; i++) kept += hits[codes[(rows[kept] = rows[i]!)]! + 1]!;
  return rows.subarray(0, kept);
}

/**
 * Narrows rows by their numbers, to those that have none as well. Each operator has a loop of its own, and no branch in
 * it: on numbers at random a processor guesses every second one wrong, which takes five times as long.
 */
function narrowByNumber(
  rows: Uint32Array,
  comparison: Comparison,
  { values: x }: NumberColumn,
): Uint32Array {
  const { operator, values } = comparison;
  const n = values.length === 1 ? (numberOf(values[0]!) ?? NaN) : NaN;
  let kept = 0;
  switch (operator) {
    case "<":
      for (let i = 0; i < rows.length; i++) kept += Number(x[(rows[kept] = rows[i]!)]! < n);
      break;
    case "<=":
      for (let i = 0; i < rows.length; i++) kept += Number(x[(rows[kept] = rows[i]!)]! <= n);
      break;
    case ">":
      for (let i = 0; i < rows.length; i++) kept += Number(x[(rows[kept] = rows[i]!)]! > n);
      break;
    case ">=":
      for (let i = 0; i < rows.length; i++) kept += Number(x[(rows[kept] = rows[i]!)]! >= n);
      break;
    case "=":
      for (let i = 0; i < rows.length; i++) kept += Number(x[(rows[kept] = rows[i]!)] === n);
      break;
    case "!=":
      for (let i = 0; i < rows.length; i++) kept += Number(x[(rows[kept] = rows[i]!)] !== n);
      break;
    default: {
      const test = numberTest(comparison);
      for (let i = 0; i < rows.length; i++) kept += Number(test(x[(rows[kept] = rows[i]!)]!));
    }
  }
  return rows.subarray(0, kept);
}

function numberTest(comparison: Comparison): (value: number) => boolean {
  const { operator, values } = comparison;
  if (operator !== "IN" && operator !== "NOT IN") return testOf(comparison);
  const { numbers } = membersOf(values);
  return operator === "IN" ? (value) => numbers.has(value) : (value) => !numbers.has(value);
}

function narrowToPresent(rows: Uint32Array, { bytes, offset }: Bits): Uint32Array {
  let kept = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = (rows[kept] = rows[i]!);
    kept += (bytes[(offset + row) >> 3]! >> ((offset + row) & 7)) & 1;
  }
  return rows.subarray(0, kept);
}

function narrowByText(rows: Uint32Array, { text }: Contains, table: ColumnTable): Uint32Array {
  const lower = lowerASCII(text);
  const isFound = (value: Value) => lowerASCII(String(value)).includes(lower);
  const having =
    (kind: "plain" | "tags", key: string, test: (value: Value) => boolean) =>
    (some: Uint32Array) => {
      const column = columnOf(table, { kind, key });
      const words = column.type === "word" ? column : wordsFromNumbers(column);
      const kept = narrowByWord(some, test, words);
      return column.present ? narrowToPresent(kept, column.present) : kept;
    };
  return narrowByAny(
    rows,
    [
      having("plain", "name", isFound),
      having("plain", "id", isFound),
      ...Array.from(table.tags(), (key) =>
        having("tags", key, isFound(key) ? () => true : isFound),
      ),
    ],
    table.rows,
  );
}
