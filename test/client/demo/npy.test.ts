import { expect, test } from "vitest";
import { arrayToNpy } from "../../../client/cli/demo/npy.ts";

test.for([
  [Float32Array.of(1.5, NaN, -Infinity), "<f4", "(3,)"],
  [Float64Array.of(0.1, 2, 3, 4), "<f8", "(4,)"],
] as const)("%o is written as NumPy would", ([array, descr, shape]) => {
  const npy = Buffer.from(arrayToNpy(array));
  const start = 10 + npy.readUInt16LE(8);
  expect(npy.toString("latin1", 0, 8)).toBe("\x93NUMPY\x01\x00");
  expect(npy.toString("latin1", 10, start).trimEnd()).toBe(
    `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`,
  );
  expect([start % 64, npy[start - 1]]).toEqual([0, 10]);
  const bytes = new Uint8Array(npy.subarray(start)).buffer;
  expect(descr === "<f4" ? new Float32Array(bytes) : new Float64Array(bytes)).toEqual(array);
});

test("a shape has to hold all of the numbers", () => {
  const header = Buffer.from(arrayToNpy(new Float32Array(6), [2, 3])).toString("latin1", 10, 80);
  expect(header).toContain("'shape': (2, 3), ");
  expect(() => arrayToNpy(new Float32Array(6), [2, 2])).toThrow(
    "invalid shape: (2, 2) of 6 numbers",
  );
});
