import { DataType, TimeUnit, type Data, type Table, type Timestamp } from "apache-arrow";
import { concatColumns, type ColumnView, type ColumnTable } from "../wire/columns.ts";
import { fieldName } from "../wire/field.ts";
import type { Value } from "../wire/filter.ts";

/**
 * Returns a table of runs as filters and orders go over it. Columns of float64 and dictionaries stand for themselves; of
 * others (times, text, booleans), and of a table of several batches, what is made is kept as long as the table is.
 */
export function tableColumns(table: Table): ColumnTable {
  const known = columnsOf.get(table) ?? new Map<string, ColumnView | undefined>();
  columnsOf.set(table, known);
  return {
    rows: table.numRows,
    column(field) {
      const name = fieldName(field);
      if (!known.has(name)) known.set(name, columnNamed(table, name));
      return known.get(name);
    },
    tags: () =>
      table.schema.fields.flatMap(({ name }) => (name.startsWith("tags.") ? [name.slice(5)] : [])),
  };
}

const columnsOf = new WeakMap<Table, Map<string, ColumnView | undefined>>();

function columnNamed(table: Table, name: string): ColumnView | undefined {
  const vector = table.getChild(name);
  if (!vector) return undefined;
  const parts = vector.data.map((data) => ({ column: columnOfData(data), rows: data.length }));
  return parts.length ? concatColumns(parts) : { type: "number", values: new Float64Array(0) };
}

function columnOfData(data: Data): ColumnView {
  const { type, length, nullCount, nullBitmap, offset } = data;
  const present = nullCount > 0 ? { bytes: nullBitmap, offset } : undefined;
  if (DataType.isTimestamp(type))
    return { type: "number", values: timesOf(data as Data<Timestamp>), present };
  if (DataType.isFloat(type) || DataType.isInt(type))
    return { type: "number", values: numbersOf(data.values), present };
  if (DataType.isDictionary(type)) {
    const words = data.dictionary!.toArray() as Value[];
    return { type: "word", words: Array.from(words), codes: data.values as Int32Array, present };
  }
  if (DataType.isBool(type)) {
    const codes = new Uint8Array(length);
    const bits = data.values as Uint8Array;
    for (let i = 0; i < length; i++)
      codes[i] = (bits[(offset + i) >> 3]! >> ((offset + i) & 7)) & 1;
    return { type: "word", words: [false, true], codes, present };
  }
  return { type: "word", ...wordsOf(data), present };
}

const numbersOf = (values: ArrayLike<number | bigint>): Float64Array =>
  values instanceof Float64Array ? values : Float64Array.from(values, Number);

/** The times in ms, put together from the halves of each int64: bigints would take ten times as long. */
function timesOf({ values, type }: Data<Timestamp>): Float64Array {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const perMs = {
    [TimeUnit.SECOND]: 0.001,
    [TimeUnit.MILLISECOND]: 1,
    [TimeUnit.MICROSECOND]: 1000,
    [TimeUnit.NANOSECOND]: 1e6,
  }[type.unit];
  const times = new Float64Array(values.length);
  for (let i = 0; i < times.length; i++)
    times[i] = (halves[2 * i + 1]! * 4_294_967_296 + (halves[2 * i]! >>> 0)) / perMs;
  return times;
}

/** Returns the different texts of a column, and which one each row has. */
function wordsOf(data: Data): { words: string[]; codes: Int32Array } {
  const codes = new Int32Array(data.length);
  const codeOf = new Map<string, number>();
  const decoder = new TextDecoder();
  const [offsets, bytes] = [data.valueOffsets as Int32Array | undefined, data.values as Uint8Array];
  for (let i = 0; i < data.length; i++) {
    if (!offsets || !data.getValid(i)) codes[i] = -1;
    else {
      const word = decoder.decode(bytes.subarray(offsets[i], offsets[i + 1]));
      let code = codeOf.get(word);
      if (code === undefined) codeOf.set(word, (code = codeOf.size));
      codes[i] = code;
    }
  }
  return { words: [...codeOf.keys()], codes };
}
