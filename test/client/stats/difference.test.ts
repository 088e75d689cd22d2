import fc from "fast-check";
import { expect, test } from "vitest";
import { diff, varying } from "../../../client/stats/difference.ts";
import { runsOf } from "./runs.ts";

const runs = runsOf({
  id: ["a", "b", "c"],
  name: ["x", "x", "x"],
  "params.lr": [0.1, 0.1, 0.01],
  "params.zero": [0, -0, 0],
  "params.nan": [NaN, NaN, NaN],
  "params.none": [null, null, null],
  "params.some": [1, null, 1],
  "params.opt": ["sgd", "adam", "sgd"],
  "params.on": [true, true, false],
});

test("columns that vary: missing is a value, NaN equals NaN, −0 equals 0", () => {
  expect(varying(runs)).toEqual(["id", "params.lr", "params.some", "params.opt", "params.on"]);
  expect(varying(runs.slice(0, 1))).toEqual([]);
  expect(varying(runs.slice(0, 0))).toEqual([]);
});

test("a diff has a value per run, in the order asked for, and what the runs share apart", () => {
  expect(diff(runs, ["c", "a"])).toEqual({
    ids: ["c", "a"],
    differing: [
      { field: "params.lr", values: [0.01, 0.1] },
      { field: "params.on", values: [false, true] },
    ],
    same: [
      { field: "name", value: "x" },
      { field: "params.zero", value: 0 },
      { field: "params.nan", value: NaN },
      { field: "params.none", value: null },
      { field: "params.some", value: 1 },
      { field: "params.opt", value: "sgd" },
    ],
  });
});

test("two to fifty runs that are there can be compared", () => {
  expect(() => diff(runs, ["a"])).toThrow("invalid number of runs to compare: 1 (2 to 50");
  expect(() =>
    diff(
      runs,
      Array.from({ length: 51 }, () => "a"),
    ),
  ).toThrow("to compare: 51");
  expect(() => diff(runs, ["a", "z"])).toThrow("run not found: z");
  expect(() => diff(runs.select(["name"]), ["a", "b"])).toThrow("unknown column: id");
});

const cell = fc.constantFrom(null, NaN, 0, -0, 1);
const word = fc.constantFrom(null, "", "a", "b");
const flag = fc.constantFrom(null, true, false);
const rows = fc.array(fc.tuple(cell, cell, word, word, flag), { minLength: 2, maxLength: 6 });

test("varying and diff say what comparing every pair of cells says", () => {
  fc.assert(
    fc.property(rows, (rows) => {
      const names = ["m", "n", "v", "w", "f"];
      const ids = rows.map((_, i) => `run ${i}`);
      const columns = names.map((name, c) => [name, rows.map((row) => row[c]!)] as const);
      const table = runsOf({ id: ids, ...Object.fromEntries(columns) });
      const isSame = (a: unknown, b: unknown) => a === b || (a !== a && b !== b);
      const expected = columns
        .filter(([, cells]) => cells.some((a) => cells.some((b) => !isSame(a, b))))
        .map(([name]) => name);
      expect(varying(table)).toEqual(["id", ...expected]);
      const { differing, same } = diff(table, ids);
      expect(differing.map(({ field }) => field)).toEqual(expected);
      expect(same.map(({ field }) => field)).toEqual(
        names.filter((name) => !expected.includes(name)),
      );
    }),
  );
});
