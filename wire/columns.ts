import { ApiError, shown } from "./error.ts";
import { fieldName, type Field } from "./field.ts";
import type { Value } from "./filter.ts";

/** Which rows have a value: bit i of the bytes, from `offset` on and the lowest first, as in Arrow's validity bitmaps. */
export interface Bits {
  bytes: Uint8Array;
  offset: number;
}

/** A column of numbers; NaN is a number. */
export interface NumberColumn {
  type: "number";
  values: Float64Array;
  /** which rows have a value; defaults to all */
  present?: Bits | undefined;
}

/** A column of few different values, of any types: each row says by number which of the words it has. */
export interface WordColumn {
  type: "word";
  words: ArrayLike<Value>;
  /** of each row, the place of its word; -1 says that it has none */
  codes: Int32Array | Uint32Array | Int16Array | Uint16Array | Int8Array | Uint8Array;
  /** which rows have a value, besides */
  present?: Bits | undefined;
}

export type ColumnView = NumberColumn | WordColumn;

/** A table of runs as a filter sees it. */
export interface ColumnTable {
  rows: number;
  /** returns the column of a field; undefined where the table has none, which is not the same as an empty one */
  column(field: Field): ColumnView | undefined;
  /** the keys of the tags it has columns of */
  tags(): Iterable<string>;
}

/** Returns the places of so many rows. */
export function allRows(count: number): Uint32Array {
  const rows = new Uint32Array(count);
  for (let i = 0; i < count; i++) rows[i] = i; // ten times as fast as Uint32Array.from
  return rows;
}

/** Returns a column of values of any types; null and undefined are missing. */
export function columnFromValues(values: ArrayLike<Value | null | undefined>): ColumnView {
  const rows = values.length;
  const numbers = new Float64Array(rows);
  const present = { bytes: new Uint8Array((rows + 7) >> 3), offset: 0 };
  let isNumbers = true;
  for (let i = 0; i < rows && isNumbers; i++) {
    const value = values[i];
    if (value === null || value === undefined) continue;
    isNumbers = typeof value === "number";
    numbers[i] = value as number;
    present.bytes[i >> 3]! |= 1 << (i & 7);
  }
  if (isNumbers) return { type: "number", values: numbers, present };
  const codes = new Int32Array(rows);
  const codeOf = new Map<Value, number>();
  for (let i = 0; i < rows; i++) {
    const value = values[i] ?? undefined;
    let code = value === undefined ? -1 : codeOf.get(value);
    if (code === undefined) codeOf.set(value!, (code = codeOf.size));
    codes[i] = code;
  }
  return { type: "word", words: [...codeOf.keys()], codes };
}

/** Returns the column of a field. A run's status is its state, as MLflow spells it. */
export function columnOf(table: ColumnTable, field: Field): ColumnView {
  const column = table.column(field) ?? maybeStatus(table, field);
  if (!column)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `column not in the table: ${shown(fieldName(field))}`,
    );
  return column;
}

function maybeStatus(table: ColumnTable, { kind, key }: Field): ColumnView | undefined {
  if (kind !== "plain" || key !== "status") return undefined;
  const state = table.column({ kind: "plain", key: "state" });
  if (state?.type !== "word") return undefined;
  return { ...state, words: Array.from(state.words, (word) => String(word).toUpperCase()) };
}

/** Returns columns, one after the other, as one. */
export function concatColumns(parts: { column: ColumnView; rows: number }[]): ColumnView {
  const [first, ...others] = parts;
  if (first && others.length === 0) return first.column;
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const present = { bytes: new Uint8Array((rows + 7) >> 3), offset: 0 };
  const isNumbers = parts.every(({ column }) => column.type === "number");
  const values = new Float64Array(isNumbers ? rows : 0);
  const codes = new Int32Array(isNumbers ? 0 : rows);
  const words: Value[] = [];
  let at = 0;
  for (const { column, rows } of parts) {
    for (let i = 0; i < rows; i++)
      if (isPresentAt(column.present, i)) present.bytes[(at + i) >> 3]! |= 1 << ((at + i) & 7);
    if (isNumbers) values.set((column as NumberColumn).values.subarray(0, rows), at);
    else {
      const own = column.type === "word" ? column : wordsFromNumbers(column);
      for (let i = 0; i < rows; i++) {
        const code = own.codes[i]!;
        codes[at + i] = own.words[code] === undefined ? -1 : code + words.length;
      }
      for (let code = 0; code < own.words.length; code++) words.push(own.words[code]!);
    }
    at += rows;
  }
  return isNumbers ? { type: "number", values, present } : { type: "word", words, codes, present };
}

/** Whether a row has a value, as far as the bits say. */
export const isPresentAt = (present: Bits | undefined, row: number): boolean =>
  !present ||
  ((present.bytes[(present.offset + row) >> 3]! >> ((present.offset + row) & 7)) & 1) === 1;

/** Returns a column of numbers as one of words, each row with its own. */
export const wordsFromNumbers = ({ values, present }: NumberColumn): WordColumn => ({
  type: "word",
  words: values,
  codes: Uint32Array.from(values.keys()),
  present,
});
