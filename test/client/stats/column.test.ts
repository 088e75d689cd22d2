import {
  Bool,
  DateMillisecond,
  Dictionary,
  Float32,
  Float64,
  Int32,
  Int64,
  Table,
  tableFromIPC,
  TimestampMillisecond,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import fc from "fast-check";
import { expect, test } from "vitest";
import { batchMessage, endOfStream, nullableColumn, schemaMessage } from "../../../wire/arrow.ts";
import { codesOf, compareValues, numbersOf, type Value } from "../../../client/stats/column.ts";

/** What codes stand for, row by row. */
const read = (table: Table, name = "x"): Value[] => {
  const { codes, values } = codesOf(table, name);
  return [...codes].map((code) => values[code]!);
};

test.for([
  ["float64", vectorFromArray([1.5, null, NaN], new Float64()), [1.5, null, NaN]],
  ["float32", vectorFromArray([1.5, null, NaN], new Float32()), [1.5, null, NaN]],
  ["int32", vectorFromArray([7, null, -1], new Int32()), [7, null, -1]],
  ["int64", vectorFromArray([7n, null, -1n], new Int64()), [7, null, -1]],
  ["bool", vectorFromArray([true, null, false], new Bool()), [1, null, 0]],
  ["timestamp", vectorFromArray([5, null, 7], new TimestampMillisecond()), [5, null, 7]],
  ["date", vectorFromArray([new Date(5), null], new DateMillisecond()), [5, null]],
] as const)("numbers of a column of %s", ([, column, expected]) => {
  const { values, missing } = numbersOf(new Table({ x: column }), "x");
  expect([...values].map((value, i) => (missing[i] ? null : value))).toEqual(expected);
});

test.for([
  ["utf8", vectorFromArray(["b", null, "a", "b", ""], new Utf8()), ["b", null, "a", "b", ""]],
  [
    "dictionary",
    vectorFromArray(["b", null, "b"], new Dictionary(new Utf8(), new Int32())),
    ["b", null, "b"],
  ],
  ["bool", vectorFromArray([true, null, false], new Bool()), [true, null, false]],
  ["int64 beyond 2^53", vectorFromArray([2n ** 60n, 3n], new Int64()), [2n ** 60n, 3]],
] as const)("codes of a column of %s", ([, column, expected]) => {
  expect(read(new Table({ x: column as never }))).toEqual(expected);
});

test("−0 is 0 and NaN is NaN", () => {
  const { codes, values } = codesOf(
    new Table({ x: vectorFromArray([0, -0, NaN, Number.NaN, null], new Float64()) }),
    "x",
  );
  expect([...codes]).toEqual([0, 0, 1, 1, 2]);
  expect(values).toEqual([0, NaN, null]);
});

test("text is told apart by its bytes, in parts and slices of tables", () => {
  // A lone surrogate is no text: Arrow's UTF-8 has no place for it.
  const text = fc.option(fc.string({ unit: "grapheme", maxLength: 3 }), { nil: null });
  const cells = fc.array(text, { minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(cells, cells, fc.nat(5), (first, second, from) => {
      const tableOf = (part: (string | null)[]) =>
        new Table({ x: vectorFromArray(part, new Utf8()) });
      const whole = tableOf(first).concat(tableOf(second));
      expect(read(whole)).toEqual([...first, ...second]);
      const { codes, values } = codesOf(whole.slice(from), "x");
      expect([...codes].map((code) => values[code])).toEqual([...first, ...second].slice(from));
      expect(new Set(values).size).toBe(values.length);
    }),
  );
});

test("numbers and booleans of slices keep their places", () => {
  const bit = fc.option(fc.boolean(), { nil: null });
  fc.assert(
    fc.property(fc.array(bit, { minLength: 1, maxLength: 40 }), fc.nat(20), (cells, from) => {
      const table = new Table({
        bool: vectorFromArray(cells, new Bool()),
        float: vectorFromArray(
          cells.map((cell) => cell && Number(cell)),
          new Float64(),
        ),
      }).slice(from);
      const expected = cells.slice(from).map((cell) => (cell === null ? null : Number(cell)));
      for (const name of ["bool", "float"]) {
        const { values, missing } = numbersOf(table, name);
        expect([...values].map((value, i) => (missing[i] ? null : value))).toEqual(expected);
      }
    }),
  );
});

test("looking for more than one value stops at the second", () => {
  const table = new Table({ x: vectorFromArray(["a", "b", "c", "d"], new Utf8()) });
  expect(codesOf(table, "x", { most: 1 }).values).toEqual(["a", "b"]);
});

test("values have an order: numbers, NaN, false, true, text, missing", () => {
  const ordered: Value[] = [-Infinity, -1, 0, 5n, Infinity, NaN, false, true, "", "B", "a", null];
  expect(ordered.toReversed().sort(compareValues)).toEqual(ordered);
});

test("a column that is not there, or not of numbers, is refused", () => {
  const table = new Table({ x: vectorFromArray(["a"], new Utf8()) });
  expect(() => codesOf(table, "y")).toThrow("unknown column: y");
  expect(() => numbersOf(table, "x")).toThrow("not a column of numbers: x");
});

test("tables are read as the server sends them, in one batch or more", () => {
  const cells = {
    utf8: ["b", null, "a"],
    float64: [0.5, null, NaN],
    bool: [true, null, false],
    timestamp: [1_790_000_000_000, null, 5],
  } as const;
  const types = ["utf8", "float64", "bool", "timestamp"] as const;
  const batch = batchMessage(
    3,
    types.map((type) => nullableColumn(type, [...cells[type]])),
  );
  const schema = schemaMessage(types.map((type) => ({ name: type, type })));
  const table = tableFromIPC(Buffer.concat([schema, batch, batch, endOfStream]));
  for (const type of types) expect(read(table, type)).toEqual([...cells[type], ...cells[type]]);
  const { values, missing } = numbersOf(table, "timestamp");
  expect([...values]).toEqual([1_790_000_000_000, 0, 5, 1_790_000_000_000, 0, 5]);
  expect([...missing]).toEqual([0, 1, 0, 0, 1, 0]);
});
