import {
  DataType,
  makeData,
  RecordBatch,
  Struct,
  Table,
  vectorFromArray,
  type Data,
  type Utf8,
  type Vector,
} from "apache-arrow";

/**
 * Returns a table with its rows in one batch, so that each column is one array: what goes over columns of numbers, texts,
 * times and booleans need not ask for each row which batch it is in.
 */
export function inOneBatch(table: Table): Table {
  if (table.batches.length < 2) return table;
  const { schema, numRows } = table;
  const children = schema.fields.map((_, i) => joined(table.getChildAt(i)!));
  const data = makeData({
    type: new Struct(schema.fields),
    length: numRows,
    nullCount: 0,
    children,
  });
  return new Table(schema, new RecordBatch(schema, data));
}

function joined(vector: Vector): Data {
  const { type, data: parts, length, nullCount } = vector;
  const common = { length, nullCount, nullBitmap: nullCount ? presence(parts, length) : undefined };
  if (DataType.isUtf8(type))
    return makeData({ ...common, type, ...texts(parts as readonly Data<Utf8>[], length) });
  if (DataType.isBool(type))
    return makeData({ ...common, type, data: bits(parts, length, ({ values }) => values) });
  if (DataType.isFloat(type) || DataType.isTimestamp(type)) {
    const all = new (parts[0]!.values.constructor as Float64ArrayConstructor)(length);
    let at = 0;
    for (const { values, length: rows } of parts) {
      all.set((values as Float64Array).subarray(0, rows), at);
      at += rows;
    }
    return makeData({ ...common, type, data: all } as Parameters<typeof makeData>[0]);
  }
  return vectorFromArray(Array.from(vector), type).data[0]!;
}

function texts(parts: readonly Data<Utf8>[], length: number) {
  const valueOffsets = new Int32Array(length + 1);
  const bytesOf = (part: Data<Utf8>) =>
    part.values.subarray(part.valueOffsets[0], part.valueOffsets[part.length]);
  const data = new Uint8Array(parts.reduce((sum, part) => sum + bytesOf(part).length, 0));
  let [row, at] = [0, 0];
  for (const part of parts) {
    const shift = at - part.valueOffsets[0]!;
    for (let i = 1; i <= part.length; i++) valueOffsets[row + i] = part.valueOffsets[i]! + shift;
    data.set(bytesOf(part), at);
    at += bytesOf(part).length;
    row += part.length;
  }
  return { valueOffsets, data };
}

/** Validity bitmaps, one behind the other; a batch without missing values may have none. */
const presence = (parts: readonly Data[], length: number): Uint8Array =>
  bits(parts, length, ({ nullCount, nullBitmap }) => (nullCount ? nullBitmap : undefined));

/** Bits that begin anywhere in a byte, one behind the other; where there are none, all are set. */
function bits(
  parts: readonly Data[],
  length: number,
  bytesOf: (part: Data) => Uint8Array | undefined,
): Uint8Array {
  const all = new Uint8Array((length + 7) >> 3);
  let at = 0;
  for (const part of parts) {
    const [bytes, { offset }] = [bytesOf(part), part];
    for (let i = 0; i < part.length; i++, at++) {
      const bit = bytes ? (bytes[(offset + i) >> 3]! >> ((offset + i) & 7)) & 1 : 1;
      all[at >> 3]! |= bit << (at & 7);
    }
  }
  return all;
}
