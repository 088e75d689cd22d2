import { crc32, gunzipSync } from "node:zlib";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  concatCRC,
  fragmentOf,
  gzipMember,
  inflated,
  inflateFragment,
  joinBytes,
  repeatedInts,
} from "../../worker/gzip.ts";

const bytes = fc.uint8Array({ maxLength: 3000 });
const collected = async (pieces: AsyncIterable<Uint8Array>) => {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return joinBytes(all);
};

test("the CRC of two lots follows from theirs", () => {
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      expect(concatCRC(crc32(a), crc32(b), b.length)).toBe(crc32(joinBytes([a, b])));
    }),
  );
});

test("fragments and bytes in any order are one gzip member, and what they were", async () => {
  const piece = fc.tuple(bytes, fc.constantFrom("raw", 1, 4, 9));
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (lots) => {
      const pieces = lots.map(([raw, level]) =>
        typeof level === "number" ? [fragmentOf(raw, { level })] : raw,
      );
      const all = joinBytes(lots.map(([raw]) => raw));
      expect(new Uint8Array(gunzipSync(await collected(gzipMember(pieces))))).toEqual(
        new Uint8Array(all),
      );
      expect(new Uint8Array(await collected(inflated(pieces)))).toEqual(new Uint8Array(all));
    }),
  );
});

test.for([2, 4] as const)(
  "a column of repeated numbers of %d bytes inflates to itself, whatever the counts",
  (width) => {
    const Ints = width === 2 ? Int16Array : Int32Array;
    const pair = fc.tuple(
      fc.oneof(fc.nat(300), fc.nat(2 ** (width * 8 - 1) - 1)),
      fc.oneof(fc.nat(3), fc.nat(200), fc.nat(100_000)),
    );
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 12 }), (pairs) => {
        const rows = pairs.flatMap(([value, count]) => Array<number>(count).fill(value));
        const raw = inflateFragment(
          repeatedInts(
            pairs.map(([value]) => value),
            pairs.map(([, count]) => count),
            width,
          ),
        );
        expect(raw.length).toBe(rows.length * width);
        const found = new Ints(raw.slice().buffer);
        expect(rows.every((value, i) => found[i] === value)).toBe(true);
      }),
      { numRuns: 60 },
    );
  },
);

test.for([2, 4] as const)(
  "every count up to 600 rows of %d bytes, as lengths of copies have their own codes",
  (width) => {
    const Ints = width === 2 ? Int16Array : Int32Array;
    for (let count = 1; count <= 600; count++) {
      const raw = inflateFragment(repeatedInts([77], [count], width));
      const found = new Ints(raw.slice().buffer).subarray(0, count);
      expect(found.every((value) => value === 77)).toBe(true);
    }
  },
);

test("a damaged fragment is an error, not other numbers", () => {
  const fragment = fragmentOf(new Uint8Array(5000).map((_, i) => i * i));
  for (const at of [0, 10, fragment.bytes.length >> 1]) {
    const damaged = Uint8Array.from(fragment.bytes);
    damaged[at]! ^= 0x10;
    expect(() => inflateFragment({ ...fragment, bytes: damaged })).toThrow();
  }
});
