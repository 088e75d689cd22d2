import {
  DataType,
  makeData,
  RecordBatch,
  Struct,
  Table,
  vectorFromArray,
  type Data,
  type Vector,
} from "apache-arrow";

/** Returns a table of some rows of another, in the order given, with the same schema and metadata, in one batch. */
export function tableFromRows(table: Table, rows: Uint32Array): Table {
  const { schema } = table;
  const children = schema.fields.map((_, i) => dataFromRows(table.getChildAt(i)!, rows));
  const data = makeData({
    type: new Struct(schema.fields),
    length: rows.length,
    nullCount: 0,
    children,
  });
  return new Table(schema, new RecordBatch(schema, data));
}

function dataFromRows(vector: Vector, rows: Uint32Array): Data {
  const { type } = vector;
  const [data, ...others] = vector.data;
  // A vector of several batches is read row by row; the tables that we are sent have one.
  if (!data || others.length)
    return vectorFromArray(
      Array.from(rows, (row) => vector.get(row)),
      type,
    ).data[0]!;
  const { length } = rows;
  const { nullCount, nullBitmap } = nullsFromRows(data, rows);
  const common = { type, length, nullCount, nullBitmap };
  if (DataType.isUtf8(type)) return makeData({ ...common, type, ...textsFromRows(data, rows) });
  if (DataType.isBool(type)) {
    const bits = new Uint8Array((length + 7) >> 3);
    const [values, { offset }] = [data.values as Uint8Array, data];
    for (let i = 0; i < length; i++) {
      const at = offset + rows[i]!;
      bits[i >> 3]! |= ((values[at >> 3]! >> (at & 7)) & 1) << (i & 7);
    }
    return makeData({ ...common, type, data: bits });
  }
  const values = data.values as Float64Array;
  const taken = new (values.constructor as Float64ArrayConstructor)(length);
  for (let i = 0; i < length; i++) taken[i] = values[rows[i]!]!;
  if (DataType.isDictionary(type))
    return makeData({ ...common, type, data: taken, dictionary: data.dictionary! });
  return makeData({ ...common, type, data: taken } as Parameters<typeof makeData>[0]);
}

function nullsFromRows({ nullCount, nullBitmap, offset }: Data, rows: Uint32Array) {
  if (!nullCount) return { nullCount: 0, nullBitmap: undefined };
  const bits = new Uint8Array((rows.length + 7) >> 3);
  let present = 0;
  for (let i = 0; i < rows.length; i++) {
    const at = offset + rows[i]!;
    const bit = (nullBitmap[at >> 3]! >> (at & 7)) & 1;
    bits[i >> 3]! |= bit << (i & 7);
    present += bit;
  }
  return { nullCount: rows.length - present, nullBitmap: bits };
}

function textsFromRows(data: Data, rows: Uint32Array) {
  const [bytes, offsets] = [data.values as Uint8Array, data.valueOffsets as Int32Array];
  const valueOffsets = new Int32Array(rows.length + 1);
  for (let i = 0; i < rows.length; i++)
    valueOffsets[i + 1] = valueOffsets[i]! + offsets[rows[i]! + 1]! - offsets[rows[i]!]!;
  const taken = new Uint8Array(valueOffsets[rows.length]!);
  // Byte by byte: most texts are short, and a view of each would cost more than its bytes.
  for (let i = 0, to = 0; i < rows.length; i++) {
    const end = offsets[rows[i]! + 1]!;
    for (let from = offsets[rows[i]!]!; from < end; from++) taken[to++] = bytes[from]!;
  }
  return { valueOffsets, data: taken };
}
