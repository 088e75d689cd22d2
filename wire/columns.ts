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
  /** of each row, the place of its word; one that is no place, such as -1, says that it has none */
  codes: Int32Array | Uint32Array | Int16Array | Uint16Array | Int8Array | Uint8Array;
  /** which rows have a value, besides */
  present?: Bits | undefined;
}

export type Column = NumberColumn | WordColumn;

/** A table of runs as a filter sees it. */
export interface ColumnTable {
  rows: number;
  /** returns the column of a field; undefined where the table has none, which is not the same as an empty one */
  column(field: Field): Column | undefined;
  /** the keys of the tags it has columns of */
  tags(): Iterable<string>;
}

/** Returns a column in which no row has a value. */
export const emptyColumn = (rows: number): WordColumn => ({
  type: "word",
  words: [],
  codes: new Int8Array(rows).fill(-1),
});

/** Returns a column of values of any types; null and undefined are missing. */
export function columnFromValues(values: ArrayLike<Value | null | undefined>): Column {
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
export function columnOf(table: ColumnTable, field: Field): Column {
  const column = table.column(field) ?? maybeStatus(table, field);
  if (!column)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `column not in the table: ${shown(fieldName(field))}`,
    );
  return column;
}

function maybeStatus(table: ColumnTable, { kind, key }: Field): Column | undefined {
  if (kind !== "plain" || key !== "status") return undefined;
  const state = table.column({ kind: "plain", key: "state" });
  if (state?.type !== "word") return undefined;
  return { ...state, words: Array.from(state.words, (word) => String(word).toUpperCase()) };
}
