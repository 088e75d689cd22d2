import { crc32, inflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { countConfusions, drawConfusions } from "../../../client/cli/demo/confusion.ts";
import { createPicture, drawText } from "../../../client/cli/demo/picture.ts";
import { pictureToPNG } from "../../../client/cli/demo/png.ts";

test("confusions are counted by label, then by prediction", () => {
  const counts = countConfusions(Uint8Array.of(3, 3, 9), Uint8Array.of(3, 5, 9));
  expect([counts[33], counts[35], counts[99]]).toEqual([1, 1, 1]);
  expect(counts.reduce((a, b) => a + b)).toBe(3);
});

test("a label that was mostly predicted right is darker there than where it was not", () => {
  const counts = countConfusions(Uint8Array.of(0, 0, 0, 0, 0), Uint8Array.of(0, 0, 0, 0, 1));
  const { width, pixels } = drawConfusions(counts);
  const shades = [0, 1, 2].map((j) => pixels[(63 * width + 63 + 44 * j) * 3]!);
  expect(shades).toEqual(shades.toSorted((a, b) => a - b));
  expect(new Set(shades).size).toBe(3);
});

test("a picture becomes a PNG that holds its size and its pixels", () => {
  const picture = createPicture(5, 3, [200, 100, 50]);
  const png = Buffer.from(pictureToPNG(picture));
  expect(png.toString("latin1", 0, 8)).toBe("\x89PNG\r\n\x1a\n");
  expect(png.toString("latin1", 12, 16)).toBe("IHDR");
  expect([png.readUInt32BE(16), png.readUInt32BE(20), ...png.subarray(24, 29)]).toEqual([
    5, 3, 8, 2, 0, 0, 0,
  ]);
  expect(png.readUInt32BE(29)).toBe(crc32(png.subarray(12, 29)));
  const rows = inflateSync(png.subarray(41, 41 + png.readUInt32BE(33)));
  expect(rows.length).toBe(3 * (1 + 5 * 3));
  expect([...rows.subarray(16, 20)]).toEqual([0, 200, 100, 50]);
});

test("a letter that the font lacks is an error", () => {
  const draw = () =>
    drawText(createPicture(9, 9, [0, 0, 0]), "é", { x: 4, y: 4, color: [1, 1, 1] });
  expect(draw).toThrow("letter is not in the font: é");
});
