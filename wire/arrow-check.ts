import { ApiError } from "./error.ts";

/**
 * Checks the metadata of an Arrow IPC stream before a reader trusts it. A reader follows the lengths it finds, and a
 * damaged one sends it through billions of steps: here each list must lie within its message, each buffer within its
 * body, and each column be of a type that points can have.
 */
export function checkStream(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 4 <= bytes.length;) {
    const marked = view.getInt32(at, true) === -1;
    const start = at + (marked ? 8 : 4);
    const length = view.getInt32(start - 4, true);
    if (length === 0) return;
    if (length < 0 || start + length > bytes.length) throw malformed("a message is cut off");
    const message = new Message(new DataView(bytes.buffer, bytes.byteOffset + start, length));
    at = start + length + message.check(bytes.length - start - length);
  }
}

/** Int, FloatingPoint, Utf8, Bool, Date, Timestamp, LargeUtf8, Utf8View */
const types = new Set([2, 3, 5, 6, 8, 10, 20, 24]);

const malformed = (message: string) =>
  new ApiError("INVALID_PARAMETER_VALUE", `malformed Arrow stream: ${message}`);

/** The FlatBuffers tables of one message, as Schema.fbs and Message.fbs of the format lay them out. */
class Message {
  readonly #view: DataView;

  constructor(view: DataView) {
    this.#view = view;
  }

  /** Checks the message, whose body may have `room` bytes; returns how many it has. */
  check(room: number): number {
    const root = this.#view.getUint32(0, true);
    const bodyLength = Number(this.#int64(this.#field(root, 3)));
    if (!(bodyLength >= 0 && bodyLength <= room)) throw malformed("a body is cut off");
    this.#list(root, 4, 4);
    const kind = this.#field(root, 1);
    const header = this.#follow(this.#field(root, 2));
    if (kind === undefined || header === undefined) throw malformed("a message says nothing");
    const type = this.#view.getUint8(kind);
    if (type === 1) this.#checkSchema(header);
    else if (type === 3) this.#checkBatch(header, bodyLength);
    else if (type === 2) this.#checkBatch(this.#follow(this.#field(header, 1)), bodyLength);
    else throw malformed(`message of type ${type}`);
    return bodyLength;
  }

  #checkSchema(schema: number): void {
    this.#list(schema, 2, 4);
    this.#list(schema, 3, 8);
    const fields = this.#list(schema, 1, 4);
    if (fields.length > 100) throw malformed(`${fields.length} columns`);
    for (const entry of fields) {
      const field = entry + this.#view.getUint32(entry, true);
      const type = this.#field(field, 2);
      if (type === undefined || !types.has(this.#view.getUint8(type)))
        throw malformed("a column's type is none of points");
      if (this.#list(field, 5, 4).length) throw malformed("a column is nested");
      this.#list(field, 6, 4);
    }
  }

  #checkBatch(batch: number | undefined, bodyLength: number): void {
    if (batch === undefined) throw malformed("a batch says nothing");
    // No type of ours takes less than a bit a row.
    const isCount = (n: bigint | 0) => n >= 0 && n <= bodyLength * 8;
    if (!isCount(this.#int64(this.#field(batch, 0))))
      throw malformed("a batch claims too many rows");
    for (const node of this.#list(batch, 1, 16))
      if (!isCount(this.#int64(node))) throw malformed("a column claims too many rows");
    for (const buffer of this.#list(batch, 2, 16)) {
      const [from, length] = [this.#int64(buffer), this.#int64(buffer + 8)];
      if (from < 0 || length < 0 || BigInt(from) + BigInt(length) > bodyLength)
        throw malformed("a buffer lies outside its body");
    }
    for (const count of this.#list(batch, 4, 8))
      if (!isCount(this.#int64(count))) throw malformed("a column claims too many buffers");
  }

  /** Where a table's field lies; undefined where the table leaves it out. */
  #field(table: number, number: number): number | undefined {
    const vtable = table - this.#view.getInt32(table, true);
    const at = 4 + 2 * number;
    if (at + 2 > this.#view.getUint16(vtable, true)) return undefined;
    const offset = this.#view.getUint16(vtable + at, true);
    return offset === 0 ? undefined : table + offset;
  }

  #follow(at: number | undefined): number | undefined {
    return at === undefined ? undefined : at + this.#view.getUint32(at, true);
  }

  /** The places of a list's entries, all of them within the message. */
  #list(table: number, number: number, size: number): number[] {
    const at = this.#follow(this.#field(table, number));
    if (at === undefined) return [];
    const length = this.#view.getUint32(at, true);
    if (at + 4 + length * size > this.#view.byteLength)
      throw malformed("a list lies outside its message");
    return Array.from({ length }, (_, i) => at + 4 + i * size);
  }

  #int64(at: number | undefined): bigint | 0 {
    return at === undefined ? 0 : this.#view.getBigInt64(at, true);
  }
}
