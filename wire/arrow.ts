/**
 * Writes Arrow IPC streams (format 1.5, metadata version 5), for the few types our tables have. The Worker answers with
 * these bytes as they are, so no Arrow library runs there; every reader of the format takes them.
 * https://arrow.apache.org/docs/format/Columnar.html
 */
export type ArrowType = "utf8" | "float64" | "timestamp" | "bool" | "dictionary";

export interface ArrowField {
  name: string;
  type: ArrowType;
  /** the dictionary's id, for type dictionary (indices into utf8), and how many bytes an index takes; defaults to 4 */
  dictionary?: number;
  indexWidth?: 2 | 4;
}

/** A column's buffers, validity first; an empty validity buffer says that nothing is null. */
export interface ArrowColumn {
  nulls: number;
  buffers: Uint8Array[];
}

/** The bytes that end a stream. */
export const endOfStream = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/** Returns the schema message: a stream's first. `metadata` is text that travels with the table. */
export function schemaMessage(
  fields: ArrowField[],
  metadata: Record<string, string> = {},
): Uint8Array {
  const b = new FlatBuilder();
  const pairs = Object.entries(metadata).map(([key, value]) => {
    const [k, v] = [b.string(key), b.string(value)];
    return b.table([offset(k), offset(v)]);
  });
  const metadataVector = b.vector(pairs);
  const fieldVector = b.vector(fields.map((field) => fieldTable(b, field)));
  const schema = b.table([int16(0), offset(fieldVector), offset(metadataVector)]);
  return message(b, headerType.schema, schema, 0);
}

function fieldTable(
  b: FlatBuilder,
  { name, type, dictionary, indexWidth = 4 }: ArrowField,
): number {
  const nameAt = b.string(name);
  const children = b.vector([]);
  const [typeId, typeAt] = {
    utf8: () => [5, b.table([])],
    dictionary: () => [5, b.table([])],
    float64: () => [3, b.table([int16(2)])],
    bool: () => [6, b.table([])],
    timestamp: () => [10, b.table([int16(1)])],
  }[type]() as [number, number];
  const index = dictionary === undefined ? 0 : b.table([int32(indexWidth * 8), int8(1)]);
  const encoding =
    dictionary === undefined ? 0 : b.table([int64(dictionary), offset(index), int8(0)]);
  return b.table([
    offset(nameAt),
    int8(type === "dictionary" ? 0 : 1),
    int8(typeId),
    offset(typeAt),
    encoding ? offset(encoding) : undefined,
    offset(children),
  ]);
}

/** Returns how many bytes an index into so many words takes: it is signed, as some readers know no other. */
export const indexWidthOf = (words: number): 2 | 4 => (words <= 32_768 ? 2 : 4);

/** Returns the message that gives a dictionary its values; it comes before the batches that point into it. */
export function dictionaryMessage(id: number, values: string[]): Uint8Array {
  const column = utf8Column(values);
  const b = new FlatBuilder();
  const batch = recordBatchTable(b, values.length, [column]);
  const header = b.table([int64(id), offset(batch), int8(0)]);
  return withBody(b, headerType.dictionaryBatch, header, [column]);
}

/** Returns the head of a record batch of `length` rows without nulls, whose body follows: buffers of the given lengths, each padded to 8 bytes. */
export function batchHead(length: number, columns: number[][]): Uint8Array {
  const b = new FlatBuilder();
  const sized = columns.map((sizes) => ({
    nulls: 0,
    buffers: sizes.map((byteLength) => ({ byteLength })),
  }));
  const table = recordBatchTable(b, length, sized);
  return message(b, headerType.recordBatch, table, sizeOfBody(sized));
}

/** Returns a record batch of `length` rows. */
export function batchMessage(length: number, columns: ArrowColumn[]): Uint8Array {
  const b = new FlatBuilder();
  return withBody(b, headerType.recordBatch, recordBatchTable(b, length, columns), columns);
}

interface SizedColumn {
  nulls: number;
  buffers: { byteLength: number }[];
}

const sizeOfBody = (columns: SizedColumn[]): number =>
  columns
    .flatMap(({ buffers }) => buffers)
    .reduce((n, { byteLength }) => n + padded(byteLength), 0);

function recordBatchTable(b: FlatBuilder, length: number, columns: SizedColumn[]): number {
  let at = 0;
  const regions = columns.flatMap(({ buffers }) =>
    buffers.map((buffer): [number, number] => {
      const region: [number, number] = [at, buffer.byteLength];
      at = padded(at + buffer.byteLength);
      return region;
    }),
  );
  const buffers = b.structs(regions);
  const nodes = b.structs(columns.map((column) => [length, column.nulls]));
  return b.table([int64(length), offset(nodes), offset(buffers)]);
}

function withBody(
  b: FlatBuilder,
  type: number,
  header: number,
  columns: ArrowColumn[],
): Uint8Array {
  const buffers = columns.flatMap((column) => column.buffers);
  const bodyLength = sizeOfBody(columns);
  const head = message(b, type, header, bodyLength);
  const bytes = new Uint8Array(head.length + bodyLength);
  bytes.set(head);
  let at = head.length;
  for (const buffer of buffers) {
    bytes.set(buffer, at);
    at += padded(buffer.byteLength);
  }
  return bytes;
}

const headerType = { schema: 1, dictionaryBatch: 2, recordBatch: 3 };

/** Frames a message: continuation marker, length of the metadata padded to 8 bytes, metadata. */
function message(b: FlatBuilder, type: number, header: number, bodyLength: number): Uint8Array {
  const metadata = b.finish(b.table([int16(4), int8(type), offset(header), int64(bodyLength)]));
  const bytes = new Uint8Array(8 + padded(metadata.length));
  const view = new DataView(bytes.buffer);
  view.setInt32(0, -1, true);
  view.setInt32(4, padded(metadata.length), true);
  bytes.set(metadata, 8);
  return bytes;
}

const padded = (n: number): number => (n + 7) & ~7;

const noBytes = new Uint8Array(0);
const bytesOf = (array: Float64Array | Int32Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** A column of numbers, none of them null (NaN is a number). */
export const float64Column = (values: Float64Array): ArrowColumn => ({
  nulls: 0,
  buffers: [noBytes, bytesOf(values)],
});

/** A column of places in a dictionary. */
export const indexColumn = (values: Int32Array): ArrowColumn => ({
  nulls: 0,
  buffers: [noBytes, bytesOf(values)],
});

/** A column of times given as whole milliseconds in float64; on the wire they are int64, as Arrow has it. */
export function timestampColumn(times: Float64Array): ArrowColumn {
  const halves = new Int32Array(times.length * 2);
  for (let i = 0; i < times.length; i++) {
    const high = Math.floor(times[i]! / 0x1_0000_0000);
    halves[2 * i] = times[i]! - high * 0x1_0000_0000;
    halves[2 * i + 1] = high;
  }
  return { nulls: 0, buffers: [noBytes, bytesOf(halves)] };
}

/** Returns the whole milliseconds that the int64 halves of a timestamp column stand for; the inverse of timestampColumn. */
export function timesFromTimestamps(halves: Int32Array): Float64Array {
  const times = new Float64Array(halves.length / 2);
  for (let i = 0; i < times.length; i++)
    times[i] = halves[2 * i + 1]! * 0x1_0000_0000 + (halves[2 * i]! >>> 0);
  return times;
}

/** A column of any of our types in which null and undefined stand for missing values. */
export function nullableColumn(
  type: Exclude<ArrowType, "dictionary">,
  values: unknown[],
): ArrowColumn {
  const isNull = values.map((value) => value === null || value === undefined);
  const nulls = isNull.filter(Boolean).length;
  const column = {
    utf8: () => utf8Column(values.map((value) => (value ?? "") as string)),
    float64: () => float64Column(Float64Array.from(values, (value) => (value ?? 0) as number)),
    timestamp: () => timestampColumn(Float64Array.from(values, (value) => (value ?? 0) as number)),
    bool: () => ({ nulls: 0, buffers: [noBytes, bits(values.map(Boolean))] }),
  }[type]();
  if (nulls === 0) return column;
  return { nulls, buffers: [bits(isNull.map((is) => !is)), ...column.buffers.slice(1)] };
}

function bits(values: boolean[]): Uint8Array {
  const bytes = new Uint8Array((values.length + 7) >> 3);
  values.forEach((value, i) => value && (bytes[i >> 3]! |= 1 << (i & 7)));
  return bytes;
}

function utf8Column(values: string[]): ArrowColumn {
  const encoder = new TextEncoder();
  const encoded = values.map((value) => encoder.encode(value));
  const offsets = new Int32Array(values.length + 1);
  encoded.forEach((bytes, i) => (offsets[i + 1] = offsets[i]! + bytes.length));
  const data = new Uint8Array(offsets[values.length]!);
  encoded.forEach((bytes, i) => data.set(bytes, offsets[i]));
  return { nulls: 0, buffers: [noBytes, bytesOf(offsets), data] };
}

interface Slot {
  size: number;
  write(view: DataView, at: number, root: FlatBuilder): void;
}
const int8 = (value: number): Slot => ({ size: 1, write: (view, at) => view.setInt8(at, value) });
const int16 = (value: number): Slot => ({
  size: 2,
  write: (view, at) => view.setInt16(at, value, true),
});
const int32 = (value: number): Slot => ({
  size: 4,
  write: (view, at) => view.setInt32(at, value, true),
});
const int64 = (value: number): Slot => ({
  size: 8,
  write: (view, at) => view.setBigInt64(at, BigInt(value), true),
});
const offset = (to: number): Slot => ({
  size: 4,
  write: (view, at, b) => view.setUint32(at, b.distance(at, to), true),
});

/**
 * Builds FlatBuffers, Arrow's metadata encoding, from the back to the front, so that what is pointed at exists before
 * what points at it. A position is counted from the buffer's end. https://flatbuffers.dev/internals
 */
class FlatBuilder {
  #bytes = new Uint8Array(1024);
  #head = 1024;

  get #position(): number {
    return this.#bytes.length - this.#head;
  }

  /** How far a thing lies behind a place in the buffer. */
  distance(at: number, to: number): number {
    return this.#bytes.length - to - at;
  }

  #view(): DataView {
    return new DataView(this.#bytes.buffer);
  }

  /** Makes room for `size` bytes that will start at a multiple of `align` from the end; returns where they start. */
  #reserve(size: number, align: number): number {
    const padding = (align - ((this.#position + size) % align)) % align;
    while (this.#head < size + padding) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes, this.#bytes.length);
      this.#head += this.#bytes.length;
      this.#bytes = larger;
    }
    return (this.#head -= size + padding);
  }

  string(text: string): number {
    const encoded = new TextEncoder().encode(text);
    const at = this.#reserve(4 + encoded.length + 1, 4);
    this.#view().setUint32(at, encoded.length, true);
    this.#bytes.set(encoded, at + 4);
    return this.#position;
  }

  vector(positions: number[]): number {
    const at = this.#reserve(4 + 4 * positions.length, 4);
    const view = this.#view();
    view.setUint32(at, positions.length, true);
    positions.forEach((to, i) =>
      view.setUint32(at + 4 + 4 * i, this.distance(at + 4 + 4 * i, to), true),
    );
    return this.#position;
  }

  /** A vector of structs of two int64. */
  structs(pairs: [number, number][]): number {
    // The structs are aligned to 8 bytes, the count before them to 4.
    const at = this.#reserve(16 * pairs.length, 8);
    const view = this.#view();
    pairs.forEach(([a, b], i) => {
      view.setBigInt64(at + 16 * i, BigInt(a), true);
      view.setBigInt64(at + 16 * i + 8, BigInt(b), true);
    });
    const count = this.#reserve(4, 4);
    this.#view().setUint32(count, pairs.length, true);
    return this.#position;
  }

  table(slots: (Slot | undefined)[]): number {
    const order = slots.map((slot, i) => ({ slot, i })).filter(({ slot }) => slot !== undefined);
    order.sort((a, b) => b.slot!.size - a.slot!.size);
    const places = new Array<number>(slots.length).fill(0);
    let size = 4;
    for (const { slot, i } of order) {
      size += (slot!.size - (size % slot!.size)) % slot!.size;
      places[i] = size;
      size += slot!.size;
    }
    const at = this.#reserve(padded(size), 8);
    for (const { slot, i } of order) slot!.write(this.#view(), at + places[i]!, this);
    const table = this.#position;
    const vtable = this.#reserve(4 + 2 * slots.length, 2);
    const view = this.#view();
    view.setUint16(vtable, 4 + 2 * slots.length, true);
    view.setUint16(vtable + 2, padded(size), true);
    places.forEach((place, i) => view.setUint16(vtable + 4 + 2 * i, place, true));
    const tableAt = this.#bytes.length - table;
    view.setInt32(tableAt, tableAt - vtable, true);
    return table;
  }

  finish(root: number): Uint8Array {
    const at = this.#reserve(4, 8);
    this.#view().setUint32(at, this.distance(at, root), true);
    return this.#bytes.subarray(at);
  }
}
