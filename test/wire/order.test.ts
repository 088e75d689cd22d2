import * as fc from "fast-check";
import { expect, test } from "vitest";
import { columnFromValues, type ColumnTable } from "../../wire/columns.ts";
import { formatOrder, parseOrder } from "../../wire/order.ts";
import { sortedRows } from "../../wire/sort.ts";

const table = (columns: Record<string, unknown[]>): ColumnTable => ({
  rows: Object.values(columns)[0]!.length,
  column: ({ key }) => columns[key] && columnFromValues(columns[key] as number[]),
  tags: () => [],
});

test("runs are ordered by several fields, missing values and NaN last either way", () => {
  const runs = table({ loss: [3, NaN, undefined, 1, 3, null], number: [0, 1, 2, 3, 4, 5] });
  const order = (text: string) => [...sortedRows(parseOrder(text), runs)];
  expect(order("metrics.loss, number desc")).toEqual([3, 4, 0, 1, 5, 2]);
  expect(order("metrics.loss desc, number")).toEqual([0, 4, 3, 1, 2, 5]);
  expect([...sortedRows(parseOrder("number desc"), runs, Uint32Array.of(2, 4, 1))]).toEqual([
    4, 2, 1,
  ]);
});

test.for([
  ["colour desc", "unknown field colour"],
  ["", "unknown field "],
  ["name,", "unknown field "],
  ["name desc desc", "unknown field name desc"],
  [Array(17).fill("name").join(), "more than 16 fields"],
  [" ".repeat(10_001), "10001 characters, limit 10000"],
])("%s is refused: %s", ([order, message]) => {
  expect(() => parseOrder(order!)).toThrow(`invalid order: ${message}`);
});

test("an order is the same when it is written out and read again", () => {
  const text = 'metrics.val/acc.max desc, params.`a, b`, tags."x`\'" desc';
  expect(parseOrder(formatOrder(parseOrder(text)))).toEqual(parseOrder(text));
  expect(parseOrder(text)[1]).toEqual({
    field: { kind: "params", key: "a, b" },
    descending: false,
  });
});

test("rows are ordered as by comparing them two by two, whatever the types", () => {
  const value = fc.oneof(
    fc.double(),
    fc.constantFrom(0, -0, NaN, Infinity, -Infinity, 1, null, undefined, true, false),
    fc.string({ unit: "binary", maxLength: 3 }),
    fc.constantFrom("\u{1F600}", "\uFFFD", "\uE000", "a", "B"),
  );
  const column = fc.oneof(
    fc.array(value, { minLength: 6, maxLength: 6 }),
    fc.array(fc.double(), { minLength: 6, maxLength: 6 }),
  );
  fc.assert(
    fc.property(column, column, fc.boolean(), (loss, number, descending) => {
      const sorted = sortedRows(
        [
          { field: { kind: "metrics", key: "loss" }, descending },
          { field: { kind: "plain", key: "number" }, descending: false },
        ],
        table({ loss, number }),
      );
      const expected = [0, 1, 2, 3, 4, 5].sort(
        (a, b) => compared(loss[a], loss[b], descending) || compared(number[a], number[b], false),
      );
      expect([...sorted]).toEqual(expected);
    }),
  );
});

function compared(a: unknown, b: unknown, descending: boolean): number {
  const rank = (v: unknown) => (v === null || v === undefined ? 2 : Number.isNaN(v) ? 1 : 0);
  if (rank(a) || rank(b)) return rank(a) - rank(b);
  const type = (v: unknown) => ["number", "boolean", "string"].indexOf(typeof v);
  const order =
    type(a) - type(b) ||
    (typeof a === "string"
      ? Buffer.compare(Buffer.from(a), Buffer.from(b as string))
      : Number(a) < Number(b)
        ? -1
        : Number(a) > Number(b)
          ? 1
          : 0);
  return descending ? -order : order;
}
