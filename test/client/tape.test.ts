import { expect, test } from "vitest";
import { readRecords, visitRows } from "../../client/journal/journal.ts";
import { Tape } from "../../client/tape.ts";

/** A tape, what it declared, and its cells read back from the record it gives. */
function newTape() {
  const shapes: string[][] = [];
  const tape = new Tape((keys) => shapes.push(keys));
  const cells = () => [...readRecords(tape.take(), 0)].flatMap(({ cells }) => [...cells!]);
  return { tape, shapes, cells };
}

test("a row is its shape, step, time and values", () => {
  const { tape, shapes, cells } = newTape();
  expect(tape.addRow(["loss", "acc"], [0.5, 0.9], 3, 1000)).toBe(true);
  expect(cells()).toEqual([0, 3, 1000, 0.5, 0.9]);
  expect(shapes).toEqual([["loss", "acc"]]);
});

test("a row of the last shape is repeated without declaring it again", () => {
  const { tape, shapes, cells } = newTape();
  tape.addRow(["loss", "acc"], [1, 2], 0, 10);
  expect(tape.repeat({ loss: 3, acc: 4 }, 1, 11)).toBe(true);
  expect(cells()).toEqual([0, 0, 10, 1, 2, 0, 1, 11, 3, 4]);
  expect(shapes).toHaveLength(1);
});

test.for([
  ["no row came before", {}],
  ["a key is missing", { loss: 1 }],
  ["a key is new", { loss: 1, acc: 2, lr: 3 }],
  ["the keys stand in another order", { acc: 1, loss: 2 }],
  ["a value is no number", { loss: 1, acc: "2" }],
  ["a value is nested", { loss: 1, acc: {} }],
])("a row is not repeated where %s", ([, values]) => {
  const { tape, cells } = newTape();
  tape.addRow(["loss", "acc"], [1, 2], 0, 10);
  cells();
  expect(tape.repeat(values as Record<string, unknown>, 1, 11)).toBe(false);
  expect(tape.isEmpty).toBe(true);
});

test("nothing is repeated on a new tape", () => {
  expect(newTape().tape.repeat({}, 0, 0)).toBe(false);
  expect(newTape().tape.repeat({ loss: 1 }, 0, 0)).toBe(false);
});

test("NaN, infinities and -0 are kept to the bit", () => {
  const { tape, cells } = newTape();
  const values = [NaN, Infinity, -Infinity, -0, 5e-324];
  tape.addRow(["a", "b", "c", "d", "e"], values, -0, 10);
  expect(cells()).toEqual([0, -0, 10, ...values]);
});

test("shapes count from 0 as they are declared, and one that comes back keeps its number", () => {
  const { tape, shapes, cells } = newTape();
  for (const keys of [["a"], ["b"], ["a", "b"], ["a"]]) tape.addRow(keys, [1, 2], 0, 0);
  expect(shapes).toEqual([["a"], ["b"], ["a", "b"]]);
  expect(cells().filter((_, i) => [0, 4, 8, 13].includes(i))).toEqual([0, 1, 2, 0]);
});

test("a full tape says so, loses nothing, and goes on after it was taken", () => {
  const { tape, cells } = newTape();
  let rows = 0;
  tape.addRow(["loss"], [rows++], 0, 0);
  while (tape.repeat({ loss: rows }, 0, 0)) rows++;
  expect(tape.addRow(["loss"], [rows], 0, 0)).toBe(false);
  const found = cells();
  expect(found.filter((_, i) => i % 4 === 3)).toEqual(Array.from({ length: rows }, (_, i) => i));
  expect(tape.isEmpty).toBe(true);
  expect(tape.addRow(["loss"], [rows], 0, 0)).toBe(true);
});

test("a row larger than the tape finds room on an empty one", () => {
  const { tape, cells } = newTape();
  const keys = Array.from({ length: 20_000 }, (_, i) => `key ${i}`);
  const values = keys.map((_, i) => i);
  tape.addRow(["loss"], [1], 0, 0);
  expect(tape.addRow(keys, values, 1, 2)).toBe(false);
  expect(cells()).toEqual([0, 0, 0, 1]);
  expect(tape.addRow(keys, values, 1, 2)).toBe(true);
  expect(cells()).toEqual([1, 1, 2, ...values]);
});

test("rows one step apart in one millisecond leave step and time out, and are read back whole", () => {
  const shapes: string[][] = [];
  const tape = new Tape((keys) => shapes.push(keys));
  const rows = [
    [0, 5, 1],
    [1, 5, 2],
    [2, 5, 3],
    [2, 5, 4],
    [3, 6, 5],
    [4.5, 6, 6],
    [5.5, 6, 7],
  ] as const;
  for (const [step, time, a] of rows)
    if (!tape.repeat({ a }, step, time)) tape.addRow(["a"], [a], step, time);
  const [record] = readRecords(tape.take().slice(), 0);
  expect(record!.cells!.length).toBe(3 * 2 + 4 * 4);
  const found: number[][] = [];
  visitRows(record!.cells!, shapes, (_, step, time, at) =>
    found.push([step, time, record!.cells![at]!]),
  );
  expect(found).toEqual(rows);
  tape.repeat({ a: 8 }, 6.5, 6);
  expect([...new Float64Array(tape.take().slice().buffer)].slice(1)).toEqual([0, 6.5, 6, 8]);
});
