import { tableFromIPC as readByArrow } from "apache-arrow";
import { tableFromIPC as readByFlechette } from "@uwdata/flechette";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  batchMessage,
  endOfStream,
  float64Column,
  indexColumn,
  nullableColumn,
  schemaMessage,
  timestampColumn,
} from "../../wire/arrow.ts";
import { pointsFromIPC, pointsHead, pointsToIPC } from "../../wire/point-ipc.ts";
import { pointsFromJSON } from "../../wire/point.ts";
import type { Column } from "../../wire/table.ts";

/** Joins the pieces of a stream. */
const stream = (pieces: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(pieces));

const tableToIPC = (table: Column[], metadata: Record<string, string> = {}): Uint8Array[] => [
  schemaMessage(table, metadata),
  batchMessage(
    table[0]?.values.length ?? 0,
    table.map(({ type, values }) => nullableColumn(type, Array.from(values))),
  ),
  endOfStream,
];

const columns: Column[] = [
  { name: "text", type: "utf8", values: ["a", null, "", "ü\u0000𝄞"] },
  { name: "number", type: "float64", values: [NaN, -0, null, -Infinity] },
  { name: "time", type: "timestamp", values: [0, 1_795_432_172_440, 253_402_300_799_999, null] },
  { name: "flag", type: "bool", values: [true, null, false, true] },
];

test("both Arrow libraries read a table back as it was, nulls, NaN and −0 included", () => {
  const bytes = stream(tableToIPC(columns, { cursor: "c" }));
  const byArrow = readByArrow(bytes);
  const byFlechette = readByFlechette(bytes, { useDate: false });
  for (const { name, values } of columns) {
    expect([...byArrow.getChild(name)!]).toEqual(values);
    expect([...byFlechette.getChild(name)]).toEqual(values);
  }
  expect(byArrow.schema.metadata.get("cursor")).toBe("c");
});

test("a table without rows, without columns, and with 2,000 columns is one too", () => {
  expect(readByArrow(stream(tableToIPC([{ name: "a", type: "utf8", values: [] }]))).numRows).toBe(
    0,
  );
  expect(readByArrow(stream(tableToIPC([]))).numCols).toBe(0);
  const wide = Array.from({ length: 2000 }, (_, i): Column => ({
    name: `c${i}`,
    type: "float64",
    values: [i, null],
  }));
  const read = readByArrow(stream(tableToIPC(wide)));
  expect(wide.map(({ name }) => read.getChild(name)!.get(0))).toEqual(wide.map((_, i) => i));
});

test("any table of numbers and texts survives the way there and back", () => {
  const cell = fc.option(fc.string({ unit: "binary" }).filter((s) => s.isWellFormed()));
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, fc.option(fc.double())), { maxLength: 40 }), (rows) => {
      const read = readByArrow(
        stream(
          tableToIPC([
            { name: "s", type: "utf8", values: rows.map(([s]) => s) },
            { name: "n", type: "float64", values: rows.map(([, n]) => n) },
          ]),
        ),
      );
      expect([...read.getChild("s")!]).toEqual(rows.map(([s]) => s));
      expect([...read.getChild("n")!]).toEqual(rows.map(([, n]) => n));
    }),
  );
});

test("points come in batches that share the dictionaries of the head", () => {
  const batch = (run: number, key: number) =>
    batchMessage(1, [
      indexColumn(Int32Array.of(run)),
      indexColumn(Int32Array.of(key)),
      float64Column(Float64Array.of(1)),
      timestampColumn(Float64Array.of(2)),
      float64Column(Float64Array.of(3)),
    ]);
  const bytes = stream([
    ...pointsHead(["r0", "r1"], ["loss", "acc"], "x"),
    batch(0, 1),
    batch(1, 0),
    endOfStream,
  ]);
  const rows = readByArrow(bytes)
    .toArray()
    .map((row) => row!.toJSON());
  expect(rows).toEqual([
    { run: "r0", key: "acc", step: 1, time: 2, value: 3 },
    { run: "r1", key: "loss", step: 1, time: 2, value: 3 },
  ]);
});

test("what the client encodes is what the Worker decodes, from any place in a buffer", () => {
  const points = pointsFromJSON([
    { key: "a", step: 0, value: "NaN", time: 5 },
    { key: "ü", step: 1.5, value: -0, time: 6 },
  ]);
  const bytes = pointsToIPC(points);
  expect(pointsFromIPC(bytes)).toEqual(points);
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  expect(pointsFromIPC(shifted.subarray(3))).toEqual(points);
});

test("a stream cut off anywhere, or with a byte changed, is refused or read, and never anything else", () => {
  const bytes = pointsToIPC(pointsFromJSON([{ key: "a", step: 0, value: 1, time: 5 }]));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.boolean(), (at, byte, isCut) => {
      const broken = isCut ? bytes.slice(0, at) : bytes.slice().fill(byte, at, at + 1);
      try {
        pointsFromIPC(broken);
      } catch (error) {
        expect(error).toMatchObject({
          name: "ApiError",
          status: expect.toSatisfy((s: number) => s === 400 || s === 413),
        });
      }
    }),
    { numRuns: 2000 },
  );
});
