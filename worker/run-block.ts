import { crc32, deflateRawSync, inflateRawSync } from "node:zlib";
import {
  columnFromValues,
  concatColumns,
  isPresentAt,
  type ColumnTable,
  type ColumnView,
} from "../wire/columns.ts";
import { fieldName, statisticOf, statistics, type Field } from "../wire/field.ts";
import type { Value } from "../wire/filter.ts";
import type { Run } from "../wire/run.ts";
import { fieldReader, statisticReaders } from "../wire/runs-table.ts";

/**
 * A block is settled runs as columns, newest first: each column deflated by itself, one after the other, then the
 * directory that says where they are. Columns are named as fields are, but for a metric's: `metrics.max.loss` has the
 * maxima of `loss`, as a metric's own key may end in `.max`.
 */
export interface Directory {
  rows: number;
  columns: Map<string, BlockColumn>;
}

/** Where a column is, and what is in it. */
export interface BlockColumn extends ColumnContents {
  at: number;
  length: number;
  crc: number;
  /** bytes when unpacked */
  size: number;
}

/** What a column holds, as the catalogue of keys says it. */
export interface ColumnContents {
  /** how many of its values are of each type */
  numbers: number;
  booleans: number;
  texts: number;
  /** the least and greatest finite number; null where there is none */
  min: number | null;
  max: number | null;
  /** when a run that has it was last heard of, ms since 1970 */
  seen: number;
}

const plain = [
  "id",
  "name",
  "number",
  "state",
  "started",
  "ended",
  "heartbeat",
  "points",
  "lines",
  "parent",
  "source",
  "error",
  "note",
  "archived",
] as const;

/** The column of the runs' row numbers. */
export const numberColumn = "no";

/** Returns runs as columns, by name; of each those values that there are. */
export function columnsOfRuns(runs: (Run & { no: number })[]): Map<string, Cells> {
  const columns = new Map<string, Cells>();
  const add = (name: string, row: number, value: Value | null | undefined) => {
    if (value === null || value === undefined) return;
    let cells = columns.get(name);
    if (!cells) columns.set(name, (cells = { rows: [], values: [] }));
    cells.rows.push(row);
    cells.values.push(value);
  };
  const readers = plain.map((key) => [key, fieldReader({ kind: "plain", key })!] as const);
  runs.forEach((run, row) => {
    add(numberColumn, row, run.no);
    for (const [key, read] of readers) add(key, row, read(run));
    for (const [key, value] of Object.entries(run.params)) add(`params.${key}`, row, value);
    for (const [key, value] of Object.entries(run.tags)) add(`tags.${key}`, row, value);
    for (const [key, summary] of Object.entries(run.metrics))
      for (const of of statistics) add(`metrics.${of}.${key}`, row, statisticReaders[of](summary));
  });
  return columns;
}

/** The values of a column and the rows, rising, that they stand in. */
interface Cells {
  rows: number[];
  values: Value[];
}

/** Returns cells as a column of `rows` rows. */
export function columnFromCells(cells: Cells, rows: number): ColumnView {
  const values = new Array<Value | undefined>(rows).fill(undefined);
  cells.rows.forEach((row, i) => (values[row] = cells.values[i]!));
  return columnFromValues(values);
}

/** Returns the value of a row, or undefined. */
export function valueAt(column: ColumnView, row: number): Value | undefined {
  if (!isPresentAt(column.present, row)) return undefined;
  return column.type === "number" ? column.values[row]! : column.words[column.codes[row]!];
}

/** Returns what rows of a column hold. `heartbeats` is the column of when the runs were last heard of. */
export function contentsOf(
  column: ColumnView,
  heartbeats: ColumnView,
  rows: ArrayLike<number>,
): ColumnContents {
  const contents: ColumnContents = {
    numbers: 0,
    booleans: 0,
    texts: 0,
    min: null,
    max: null,
    seen: 0,
  };
  for (let i = 0; i < rows.length; i++) {
    const value = valueAt(column, rows[i]!);
    if (value === undefined) continue;
    contents.seen = Math.max(contents.seen, valueAt(heartbeats, rows[i]!) as number);
    if (typeof value === "string") contents.texts++;
    else if (typeof value === "boolean") contents.booleans++;
    else {
      contents.numbers++;
      if (!Number.isFinite(value)) continue;
      contents.min = Math.min(contents.min ?? value, value);
      contents.max = Math.max(contents.max ?? value, value);
    }
  }
  return contents;
}

/** Writes columns as they come; then `directory` has all of them, and where it begins. */
export class BlockWriter {
  readonly #rows: number;
  readonly #columns: [string, BlockColumn][] = [];
  #at = 0;
  /** bytes of the largest column when unpacked */
  widest = 0;

  constructor(rows: number) {
    this.#rows = rows;
  }

  /** Returns a column's bytes. */
  column(name: string, column: ColumnView, contents: ColumnContents): Uint8Array {
    const raw = packColumn(column, this.#rows);
    const bytes = deflateRawSync(raw, { level: 1 });
    const place = { at: this.#at, length: bytes.length, crc: crc32(raw), size: raw.length };
    this.#columns.push([name, { ...place, ...contents }]);
    this.#at += bytes.length;
    this.widest = Math.max(this.widest, raw.length);
    return bytes;
  }

  /** Returns the directory's bytes, the last. */
  directory(): { at: number; bytes: Uint8Array } {
    const json = JSON.stringify({ rows: this.#rows, columns: this.#columns });
    return { at: this.#at, bytes: deflateRawSync(json, { level: 6 }) };
  }
}

/** Returns the directory that a BlockWriter wrote. */
export function readDirectory(bytes: Uint8Array): Directory {
  const { rows, columns } = JSON.parse(inflateRawSync(bytes).toString()) as {
    rows: number;
    columns: [string, BlockColumn][];
  };
  return { rows, columns: new Map(columns) };
}

const headSize = 16;

/** A column as bytes: what follows, in bytes, then numbers or codes, presence, and the words as JSON. */
function packColumn(column: ColumnView, rows: number): Uint8Array {
  const isNumber = column.type === "number";
  const present = column.present ? presenceOf(column, rows) : new Uint8Array(0);
  const words = isNumber
    ? new Uint8Array(0)
    : new TextEncoder().encode(JSON.stringify(Array.from(column.words, wordToJSON)));
  const body = isNumber ? column.values.subarray(0, rows) : Int32Array.from(column.codes);
  const bytes = new Uint8Array(headSize + body.byteLength + present.length + words.length);
  new Uint32Array(bytes.buffer, 0, 4).set([
    Number(isNumber),
    body.byteLength,
    present.length,
    words.length,
  ]);
  bytes.set(new Uint8Array(body.buffer, body.byteOffset, body.byteLength), headSize);
  bytes.set(present, headSize + body.byteLength);
  bytes.set(words, headSize + body.byteLength + present.length);
  return bytes;
}

function presenceOf({ present }: ColumnView, rows: number): Uint8Array {
  const bytes = new Uint8Array((rows + 7) >> 3);
  for (let i = 0; i < rows; i++) if (isPresentAt(present, i)) bytes[i >> 3]! |= 1 << (i & 7);
  return bytes;
}

/** Returns the column that packColumn packed and a BlockWriter deflated; throws where it is damaged. */
export function readColumn(bytes: Uint8Array, { crc, size }: BlockColumn): ColumnView {
  const inflated = inflateRawSync(bytes);
  if (inflated.length !== size || crc32(inflated) !== crc)
    throw new Error(`stored column is damaged: ${inflated.length} bytes, expected ${size}`);
  const raw = new Uint8Array(inflated); // typed arrays need to begin at a multiple of 8
  const [isNumber, bodySize, presentSize, wordsSize] = new Uint32Array(
    raw.buffer,
    0,
    4,
  ) as unknown as [number, number, number, number];
  const presentAt = headSize + bodySize;
  const wordsAt = presentAt + presentSize;
  const present = presentSize ? { bytes: raw.subarray(presentAt, wordsAt), offset: 0 } : undefined;
  if (isNumber)
    return {
      type: "number",
      values: new Float64Array(raw.buffer, headSize, bodySize / 8),
      present,
    };
  const words = JSON.parse(
    new TextDecoder().decode(raw.subarray(wordsAt, wordsAt + wordsSize)),
  ) as unknown[];
  return {
    type: "word",
    words: words.map(wordFromJSON),
    codes: new Int32Array(raw.buffer, headSize, bodySize / 4),
    present,
  };
}

/** Numbers that JSON has no way to write stand in brackets, as texts. */
export const wordToJSON = (word: Value | null): unknown =>
  typeof word === "number" && (!Number.isFinite(word) || Object.is(word, -0))
    ? [Object.is(word, -0) ? "-0" : String(word)]
    : word;
/** The inverse of wordToJSON. */
export const wordFromJSON = (word: unknown): Value =>
  Array.isArray(word) ? Number(word[0]) : (word as Value);

/** Returns the names of the columns that a field is read from. */
export function columnNames(field: Field): string[] {
  const { kind, key } = field;
  if (kind === "metrics") {
    const other = statisticOf(field);
    return [`metrics.last.${key}`, ...(other ? [`metrics.${other.of}.${other.key}`] : [])];
  }
  if (kind !== "plain") return [fieldName(field)];
  if (key === "duration") return ["started", "ended", "heartbeat"];
  return key === "status" ? ["state"] : [key];
}

/** Returns a block's columns as the table that a filter goes over; a param, tag or metric that it lacks is an empty column. */
export function blockTable(
  rows: number,
  columns: ReadonlyMap<string, ColumnView>,
  { experiment, tags }: { experiment: string; tags: string[] },
): ColumnTable {
  const none: ColumnView = { type: "word", words: [], codes: new Int32Array(rows).fill(-1) };
  const one = (word: Value): ColumnView => ({
    type: "word",
    words: [word],
    codes: new Int32Array(rows),
  });
  return {
    rows,
    tags: () => tags,
    column(field) {
      const { kind, key } = field;
      if (kind === "plain" && key === "experiment") return one(experiment);
      if (kind === "plain" && key === "stalled") return one(false); // what has settled has ended
      if (kind === "plain" && key === "status") return upper(columns.get("state"));
      const [first = none, second] = columnNames(field).map((name) => columns.get(name));
      if (kind === "plain" && key === "duration")
        return durationColumn(rows, first, second, columns.get("heartbeat")!);
      return kind === "metrics" && second
        ? preferred(rows, columns.get(columnNames(field)[0]!), second)
        : first;
    },
  };
}

/** A state as MLflow spells it. */
const upper = (states: ColumnView | undefined): ColumnView | undefined =>
  states?.type === "word"
    ? { ...states, words: Array.from(states.words, (word) => String(word).toUpperCase()) }
    : undefined;

/** Each row's value of the first column or, where it has none, of the second. */
function preferred(rows: number, first: ColumnView | undefined, second: ColumnView): ColumnView {
  if (!first) return second;
  return columnFromValues(
    Array.from({ length: rows }, (_, row) => valueAt(first, row) ?? valueAt(second, row)),
  );
}

function durationColumn(
  rows: number,
  started: ColumnView,
  ended: ColumnView | undefined,
  heartbeat: ColumnView,
): ColumnView {
  const values = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const end = (ended && valueAt(ended, row)) ?? valueAt(heartbeat, row);
    values[row] = ((end as number) - (valueAt(started, row) as number)) / 1000;
  }
  return { type: "number", values };
}

/** Returns some rows of a table, in the order given. */
export function takeRows(table: ColumnTable, rows: Uint32Array): ColumnTable {
  return {
    rows: rows.length,
    tags: () => table.tags(),
    column(field) {
      const column = table.column(field);
      return column && (rows.length === table.rows ? column : takeColumn(column, rows));
    },
  };
}

function takeColumn(column: ColumnView, rows: Uint32Array): ColumnView {
  const bytes = new Uint8Array((rows.length + 7) >> 3);
  for (let i = 0; i < rows.length; i++)
    if (isPresentAt(column.present, rows[i]!)) bytes[i >> 3]! |= 1 << (i & 7);
  const present = { bytes, offset: 0 };
  if (column.type === "number")
    return { type: "number", values: takeNumbers(column.values, rows), present };
  const codes = new Int32Array(rows.length);
  for (let i = 0; i < rows.length; i++) codes[i] = column.codes[rows[i]!]!;
  return { type: "word", words: column.words, codes, present };
}

/** Returns the numbers at some places. A loop, as `from` takes ten times as long. */
export function takeNumbers(values: Float64Array, places: Uint32Array): Float64Array {
  const taken = new Float64Array(places.length);
  for (let i = 0; i < places.length; i++) taken[i] = values[places[i]!]!;
  return taken;
}

/** Returns a column whose row i is that of `rows[i]` in the part `sources[i]`; a part that is not there has no values. */
export function pickColumn(
  parts: (ColumnView | undefined)[],
  sources: ArrayLike<number>,
  rows: ArrayLike<number>,
): ColumnView {
  const length = rows.length;
  const present = { bytes: new Uint8Array((length + 7) >> 3), offset: 0 };
  const isNumber = (part: ColumnView | undefined) =>
    !part || part.type === "number" || part.words.length === 0;
  if (parts.every(isNumber)) {
    const values = new Float64Array(length);
    for (let i = 0; i < length; i++) {
      const part = parts[sources[i]!];
      if (part?.type !== "number" || !isPresentAt(part.present, rows[i]!)) continue;
      values[i] = part.values[rows[i]!]!;
      present.bytes[i >> 3]! |= 1 << (i & 7);
    }
    return { type: "number", values, present };
  }
  const words: Value[] = [];
  const codes = new Int32Array(length).fill(-1);
  const codeOf = new Map<Value, number>();
  for (let i = 0; i < length; i++) {
    const part = parts[sources[i]!];
    const value = part && valueAt(part, rows[i]!);
    if (value === undefined) continue;
    let code = codeOf.get(value);
    if (code === undefined) codeOf.set(value, (code = words.push(value) - 1));
    codes[i] = code;
  }
  return { type: "word", words, codes };
}

/** Returns tables, one behind the other, as one. */
export function concatTables(tables: ColumnTable[]): ColumnTable {
  return {
    rows: tables.reduce((sum, { rows }) => sum + rows, 0),
    tags: () => new Set(tables.flatMap((table) => [...table.tags()])),
    column(field) {
      const parts = tables.map((table) => ({ column: table.column(field), rows: table.rows }));
      if (parts.some(({ column }) => !column)) return undefined;
      return concatColumns(parts as { column: ColumnView; rows: number }[]);
    },
  };
}
