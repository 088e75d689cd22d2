import { Type, type Table, type Vector } from "apache-arrow";
import { ApiError, shown } from "../../wire/error.ts";
import { Texts } from "./texts.ts";

/** A cell as results show it: times are ms since 1970, missing values are null, NaN is a number. */
export type Value = string | number | boolean | bigint | null;

/** A column of numbers, one a row. */
export interface Numbers {
  values: Float64Array;
  /** 1 where the value is missing; NaN is a value */
  missing: Uint8Array;
}

/** A column by its distinct values: rows of equal code hold equal values. */
export interface Codes {
  codes: Uint32Array;
  /** what each code stands for, in the order of first appearance */
  values: Value[];
}

/** Returns the column of a name; a table without it is refused. */
export function columnOf(table: Table, name: string): Vector {
  const column = table.getChild(name);
  if (!column) throw new ApiError("INVALID_PARAMETER_VALUE", `unknown column: ${shown(name)}`);
  return column;
}

/** Whether a column can be read by numbersOf: numbers, booleans (0 and 1), times (ms). */
export const isNumeric = ({ type }: Vector): boolean =>
  [Type.Float, Type.Int, Type.Bool, Type.Timestamp, Type.Date].includes(type.typeId);

/** Returns a numeric column's numbers; 64-bit integers beyond 2^53 are rounded. */
export function numbersOf(table: Table, name: string): Numbers {
  const column = columnOf(table, name);
  if (!isNumeric(column))
    throw new ApiError("INVALID_PARAMETER_VALUE", `not a column of numbers: ${shown(name)}`);
  const values = new Float64Array(column.length);
  const missing = new Uint8Array(column.length);
  let row = 0;
  for (const data of column.data) {
    const { length, nullBitmap, nullCount, offset } = data;
    if (isFloat64(column)) values.set(data.values.subarray(0, length), row);
    else if (column.type.typeId === Type.Bool)
      for (let i = 0; i < length; i++) values[row + i] = bitOf(data.values, offset + i);
    else
      for (let i = 0; i < length; i++)
        if (data.getValid(i)) values[row + i] = Number(column.get(row + i));
    if (nullCount > 0)
      for (let i = 0; i < length; i++) missing[row + i] = 1 - bitOf(nullBitmap, offset + i);
    row += length;
  }
  return { values, missing };
}

const isFloat64 = ({ type }: Vector): boolean =>
  type.typeId === Type.Float && (type as { precision?: number }).precision === 2;

const bitOf = (bits: Uint8Array, i: number): number => (bits[i >> 3]! >> (i & 7)) & 1;

/**
 * Returns a column's rows by distinct value. Numbers are equal by value, so −0 is 0 and NaN is NaN; missing is a value
 * of its own. Stops, with the rows that follow left at code 0, once there are more than `most` values.
 */
export function codesOf(table: Table, name: string, { most = Infinity } = {}): Codes {
  const column = columnOf(table, name);
  if (column.type.typeId === Type.Utf8) return codesOfText(column, most);
  if (isFloat64(column)) return codesOfNumbers(numbersOf(table, name), most);
  return codesOfCells(column, most);
}

function codesOfNumbers({ values, missing }: Numbers, most: number): Codes {
  const byValue = new Map<number | null, number>();
  const codes = new Uint32Array(values.length);
  for (let i = 0; i < values.length && byValue.size <= most; i++) {
    const isRepeated = i > 0 && values[i] === values[i - 1] && missing[i] === missing[i - 1];
    // −0 + 0 is 0
    codes[i] = isRepeated ? codes[i - 1]! : codeOf(byValue, missing[i] ? null : values[i]! + 0);
  }
  return { codes, values: [...byValue.keys()] };
}

function codesOfCells(column: Vector, most: number): Codes {
  const byValue = new Map<Value, number>();
  const codes = new Uint32Array(column.length);
  for (let i = 0; i < column.length && byValue.size <= most; i++)
    codes[i] = codeOf(byValue, valueAt(column, i));
  return { codes, values: [...byValue.keys()] };
}

function codeOf<T>(byValue: Map<T, number>, value: T): number {
  const known = byValue.get(value);
  if (known !== undefined) return known;
  byValue.set(value, byValue.size);
  return byValue.size - 1;
}

function codesOfText(column: Vector, most: number): Codes {
  const texts = new Texts();
  const codes = new Uint32Array(column.length);
  let row = 0;
  for (const { values, valueOffsets, length, nullBitmap, nullCount, offset } of column.data) {
    const bytes = values as Uint8Array;
    const offsets = valueOffsets as Int32Array;
    for (let i = 0; i < length && texts.count <= most; i++, row++)
      codes[row] =
        nullCount > 0 && bitOf(nullBitmap, offset + i) === 0
          ? texts.codeOfMissing()
          : texts.codeOf(bytes, offsets[i]!, offsets[i + 1]!);
  }
  return { codes, values: texts.values() };
}

/** Returns a cell as results show it; lists and other nested values as their text. */
export function valueAt(column: Vector, row: number): Value {
  const value: unknown = column.get(row);
  if (typeof value === "number") return value + 0;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (value instanceof Date) return value.getTime();
  if (typeof value === "string" || typeof value === "boolean") return value;
  return value === null || value === undefined ? null : String(value);
}

/** Orders values: numbers, NaN, false, true, text, and last the missing one. */
export function compareValues(a: Value, b: Value): number {
  const kind = kindOf(a) - kindOf(b);
  if (kind !== 0 || a === null || b === null) return kind;
  return a < b ? -1 : a > b ? 1 : 0;
}

function kindOf(value: Value): number {
  if (typeof value === "number") return Number.isNaN(value) ? 1 : 0;
  if (typeof value === "bigint") return 0;
  return value === null ? 4 : typeof value === "boolean" ? 2 : 3;
}
