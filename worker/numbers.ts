import { Buffer } from "node:buffer";

/**
 * Packs numbers as text: the difference of each to the one before in as few 7-bit digits as it takes (LEB128, zigzag),
 * all in base64. Columns of whole numbers that change little, one behind the other, take a byte a number; any other
 * float64 takes nine.
 */
export function packNumbers(numbers: ArrayLike<number>): string {
  const bytes = new Uint8Array(numbers.length * 9);
  const view = new DataView(bytes.buffer);
  let [at, before] = [0, 0];
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i]!;
    const change = number - before;
    if (isExact(number) && isExact(before) && isExact(change)) {
      let digits = change < 0 ? -2 * change : 2 * change + 1;
      for (; digits >= 128; digits = Math.floor(digits / 128)) bytes[at++] = (digits % 128) | 128;
      bytes[at++] = digits;
    } else {
      bytes[at++] = escape;
      view.setFloat64(at, number);
      at += 8;
    }
    before = number;
  }
  return Buffer.from(bytes.buffer, 0, at).toString("base64");
}

/** No difference is packed as 0: what follows is a float64 as it is. */
const escape = 0;
/** Twice the number, and one more, still is exact. */
const isExact = (n: number): boolean =>
  Number.isInteger(n) && Math.abs(n) < 2 ** 51 && !Object.is(n, -0);

/** Returns the numbers that packNumbers packed. */
export function unpackNumbers(text: string): number[] {
  const bytes = Buffer.from(text, "base64");
  const numbers: number[] = [];
  let before = 0;
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] === escape) {
      before = bytes.readDoubleBE(at + 1);
      at += 9;
    } else {
      let [digits, scale] = [0, 1];
      for (; bytes[at]! >= 128; scale *= 128) digits += (bytes[at++]! & 127) * scale;
      digits += bytes[at++]! * scale;
      before += digits % 2 ? (digits - 1) / 2 : -digits / 2;
    }
    numbers.push(before);
  }
  return numbers;
}
