import { constants, crc32, deflateRawSync, inflateRawSync } from "node:zlib";

/**
 * Bytes deflated on their own and ended by a sync flush, which leaves them at a byte's end: such fragments, one after
 * the other, are one deflate stream. RFC 1951; for the flush, https://zlib.net/manual.html
 */
export interface Fragment {
  bytes: Uint8Array;
  /** the CRC-32 of the bytes before they were deflated, and their number */
  crc: number;
  size: number;
}

/** A part of an answer: bytes as they are, or deflated before, in one fragment or several. */
export type Piece = Uint8Array | Fragment[];

/** Deflates bytes; `memLevel` sets how soon the codes are made anew, which pays where the data changes its kind. */
export const fragmentOf = (raw: Uint8Array, { level = 1, memLevel = 8 } = {}): Fragment => ({
  bytes: deflateRawSync(raw, { level, memLevel, finishFlush: constants.Z_SYNC_FLUSH }),
  crc: crc32(raw),
  size: raw.length,
});

/** Returns the bytes of a fragment; throws where they are not what was deflated. */
export function inflateFragment({ bytes, crc, size }: Fragment): Uint8Array {
  const raw = inflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
  if (raw.length !== size || crc32(raw) !== crc)
    throw new Error(`stored fragment is damaged: ${raw.length} bytes, expected ${size}`);
  return raw;
}

/** Returns an answer's pieces as one gzip member, in writes of a size that streams carry cheaply. */
export async function* gzipMember(
  pieces: AsyncIterable<Piece> | Iterable<Piece>,
): AsyncGenerator<Uint8Array> {
  let [crc, size] = [0, 0];
  yield* merged(deflated());

  async function* deflated(): AsyncGenerator<Uint8Array[]> {
    yield [new Uint8Array([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255])];
    for await (const fragments of fragmentsOf(pieces)) {
      for (const fragment of fragments) {
        crc = concatCRC(crc, fragment.crc, fragment.size);
        size = (size + fragment.size) >>> 0;
      }
      yield fragments.map(({ bytes }) => bytes);
    }
    const end = new DataView(new ArrayBuffer(10));
    end.setUint16(0, 0x0300); // an empty last block
    end.setUint32(2, crc, true);
    end.setUint32(6, size, true);
    yield [new Uint8Array(end.buffer)];
  }
}

/** Returns an answer's pieces as they were before they were deflated. */
export async function* inflated(
  pieces: AsyncIterable<Piece> | Iterable<Piece>,
): AsyncGenerator<Uint8Array> {
  yield* merged(
    (async function* () {
      for await (const piece of pieces)
        if (piece instanceof Uint8Array) yield [piece];
        else for (const fragment of piece) yield [inflateFragment(fragment)];
    })(),
  );
}

/** Deflates the pieces that are bytes, small neighbours together. */
async function* fragmentsOf(
  pieces: AsyncIterable<Piece> | Iterable<Piece>,
): AsyncGenerator<Fragment[]> {
  let [waiting, size]: [Uint8Array[], number] = [[], 0];
  for await (const piece of pieces) {
    if (piece instanceof Uint8Array) {
      waiting.push(piece);
      size += piece.length;
      if (size < 65_536) continue;
    }
    if (size) yield [fragmentOf(joinBytes(waiting, size))];
    [waiting, size] = [[], 0];
    if (!(piece instanceof Uint8Array)) yield piece;
  }
  if (size) yield [fragmentOf(joinBytes(waiting, size))];
}

/** Joins small pieces: each write into a stream costs as much as deflating some kB. */
async function* merged(
  lists: AsyncIterable<Uint8Array[]>,
  enough = 262_144,
): AsyncGenerator<Uint8Array> {
  let [waiting, size]: [Uint8Array[], number] = [[], 0];
  for await (const pieces of lists)
    for (const piece of pieces) {
      if (size && piece.length >= enough) {
        yield joinBytes(waiting, size);
        [waiting, size] = [[], 0];
      }
      waiting.push(piece);
      size += piece.length;
      if (size < enough) continue;
      yield joinBytes(waiting, size);
      [waiting, size] = [[], 0];
    }
  if (size) yield joinBytes(waiting, size);
}

/** Returns pieces of bytes as one. */
export function joinBytes(
  pieces: Uint8Array[],
  size = pieces.reduce((n, piece) => n + piece.length, 0),
): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** How many bytes a whole number takes. */
export type Width = 2 | 4;

/**
 * Returns whole numbers of which few repeat often, such as the places of runs and keys in their dictionaries, as a
 * fragment. It writes the deflate codes itself, one copy for each 258 bytes, which takes a hundredth of the time that
 * finding the repeats does.
 */
export function repeatedInts(
  values: ArrayLike<number>,
  counts: ArrayLike<number>,
  width: Width,
): Fragment {
  let rows = 0;
  for (let i = 0; i < counts.length; i++) rows += counts[i]!;
  const bits = new BitWriter(64 + counts.length * 12 + (rows >> 5));
  let crc = 0;
  bits.put(0b010, 3); // a block of fixed codes, not the last
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i]!;
    if (count === 0) continue;
    crc = crcOfRepeats(values[i]!, count, width, crc);
    // Mostly only the first byte differs from the number before, and the rest is a copy as well.
    const isNear =
      count * width > 3 && i > 0 && counts[i - 1]! > 0 && values[i]! >>> 8 === values[i - 1]! >>> 8;
    const first = isNear ? 1 : width;
    putInt(bits, values[i]!, first);
    let left = count * width - first;
    // A copy takes 3 bytes or more: no less is left after another.
    while (left > 258) left -= putCopy(bits, left < 261 ? 128 : 258, width);
    if (left > 2) putCopy(bits, left, width);
    else if (left) putInt(bits, values[i]!, left);
  }
  bits.put(0, 7); // the end of the block
  bits.put(0, 3); // an empty stored block brings the stream to a byte's end
  return { bytes: bits.finish(), crc, size: rows * width };
}

/** Returns the CRC-32 of `count` times the same number after bytes of the CRC `before`. */
function crcOfRepeats(value: number, count: number, width: Width, before: number): number {
  const scratch = scratches[width];
  if (count <= scratch.length) {
    scratch.fill(value, 0, count);
    return crc32(new Uint8Array(scratch.buffer, 0, count * width), before);
  }
  // Twice as many, of twice as many, as a number's bits ask: each doubling is a shift by a power of two of bits.
  let crc = before;
  scratch[0] = value;
  let unit = crc32(new Uint8Array(scratch.buffer, 0, width));
  for (let n = count, power = width === 2 ? 4 : 5; n; n >>= 1, power++) {
    const shift = powers[power]!;
    if (n & 1) crc = multiply(shift, crc) ^ unit;
    unit = multiply(shift, unit) ^ unit;
  }
  return crc >>> 0;
}

const scratches = { 2: new Int16Array(512), 4: new Int32Array(512) };

/** Puts the first bytes of a number. */
function putInt(bits: BitWriter, value: number, bytes: number): void {
  for (let shift = 0; shift < bytes * 8; shift += 8) {
    const byte = (value >>> shift) & 255;
    bits.put(literals[byte]!, byte < 144 ? 8 : 9);
  }
}

/** Copies `length` bytes, 3 to 258, from as many bytes before as a number takes. */
function putCopy(bits: BitWriter, length: number, width: Width): number {
  const { code, size } = copies[width][length]!;
  bits.put(code, size);
  return length;
}

class BitWriter {
  #bytes: Uint8Array;
  #at = 0;
  #bits = 0;
  #count = 0;

  constructor(size: number) {
    this.#bytes = new Uint8Array(size);
  }

  /** Puts a number of up to 24 bits, its least bit first. */
  put(value: number, count: number): void {
    this.#bits |= value << this.#count;
    this.#count += count;
    while (this.#count >= 8) {
      this.#bytes[this.#at++] = this.#bits & 255;
      this.#bits >>>= 8;
      this.#count -= 8;
    }
  }

  /** Fills up the byte, and returns all with the lengths of the empty stored block behind. */
  finish(): Uint8Array {
    if (this.#count) this.put(0, 8 - this.#count);
    this.#bytes.set([0, 0, 255, 255], this.#at);
    return this.#bytes.subarray(0, this.#at + 4);
  }
}

/** A Huffman code stands with its greatest bit first, where all else has its least bit first. */
function reversed(code: number, size: number): number {
  let bits = 0;
  for (let i = 0; i < size; i++) bits |= ((code >> i) & 1) << (size - 1 - i);
  return bits;
}

/** The fixed codes of the bytes. */
const literals = Uint16Array.from({ length: 256 }, (_, byte) =>
  byte < 144 ? reversed(0x30 + byte, 8) : reversed(0x190 + byte - 144, 9),
);

/** The fixed code for a copy of each length: that of the length, what it lacks, and that of the distance. */
const copiesFrom = (distance: Width) =>
  Array.from({ length: 259 }, (_, length) => {
    const base = (code: number) =>
      code < 4 ? 3 + code : 3 + ((4 + (code & 3)) << ((code >> 2) - 1));
    let code = 0;
    while (code < 27 && base(code + 1) <= length) code++;
    if (length === 258) code = 28;
    const size = code < 23 ? 7 : 8;
    const extra = code < 4 || code === 28 ? 0 : (code >> 2) - 1;
    const lacks = code === 28 ? 0 : length - base(code);
    const symbol = reversed(code < 23 ? code + 1 : 0xc0 + code - 23, size);
    return {
      code: symbol | (lacks << size) | (reversed(distance - 1, 5) << (size + extra)),
      size: size + extra + 5,
    };
  });
const copies = { 2: copiesFrom(2), 4: copiesFrom(4) };

/**
 * Returns the CRC-32 of two lots of bytes, one after the other, from their own: multiplies the first by x^(8·size) in
 * the ring of polynomials modulo the CRC's. The way is zlib's crc32_combine.
 */
export const concatCRC = (first: number, second: number, size: number): number =>
  (multiply(shiftOf(size), first) ^ second) >>> 0;

/** Returns x^(8·size); the columns of an answer have few sizes. */
function shiftOf(size: number): number {
  const known = shifts.get(size);
  if (known !== undefined) return known;
  let shift = 1 << 31; // x^0, as bits are reversed
  for (let n = size, k = 3; n; n = Math.floor(n / 2), k++)
    if (n % 2) shift = multiply(powers[k & 31]!, shift);
  if (shifts.size > 1000) shifts.clear();
  shifts.set(size, shift);
  return shift;
}

const shifts = new Map<number, number>();

function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 1 << 31; bit; bit >>>= 1) {
    if (a & bit) product ^= b;
    b = b & 1 ? (b >>> 1) ^ 0xedb88320 : b >>> 1;
  }
  return product;
}

/** x^(2^k) */
const powers: number[] = [1 << 30];
for (let k = 1; k < 32; k++) powers.push(multiply(powers[k - 1]!, powers[k - 1]!));
