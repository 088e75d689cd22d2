import { desc, from } from "arquero";
import fc from "fast-check";
import { expect, test } from "vitest";
import { groupRuns } from "../../../client/stats/group.ts";
import { bootstrapInterval, tInterval } from "../../../client/stats/interval.ts";
import { runsOf } from "./runs.ts";

const runs = runsOf({
  id: ["4", "3", "2", "1", "5", "6"],
  name: ["d", "c", "b", "a", "e", "f"],
  "params.lr": [0.1, 0.01, 0.1, 0.01, null, 0.1],
  "params.opt": ["sgd", "adam", "sgd", "sgd", "sgd", null],
  acc: [0.9, 0.5, 0.7, null, NaN, Infinity],
});
const of = { of: "acc", direction: "max" as const };

test("a group has its values, counts, mean, spread, and best run", () => {
  const [first, second, ...others] = groupRuns(runs, { by: ["params.lr"], ...of });
  expect(first).toMatchObject({ "params.lr": 0.01, runs: 2, n: 1, missing: 1, best: 0.5 });
  expect(second).toMatchObject({
    "params.lr": 0.1,
    runs: 3,
    n: 2,
    missing: 0,
    nan: 0,
    infinite: 1,
    mean: 0.8,
    sd: expect.closeTo(0.2 / Math.SQRT2, 12),
    se: expect.closeTo(0.1, 12),
    ...tInterval([0.9, 0.7]),
    min: 0.7,
    max: 0.9,
    best: 0.9,
    bestId: "4",
    bestName: "d",
    rows: Uint32Array.of(0, 2, 5),
  });
  expect(others).toMatchObject([{ "params.lr": null, runs: 1, n: 0, nan: 1, bestId: null }]);
});

test("groups by two columns, in the order of their values, missing ones last", () => {
  const groups = groupRuns(runs, { by: ["params.opt", "params.lr"], ...of });
  expect(groups.map((group) => [group["params.opt"], group["params.lr"], ...group.rows])).toEqual([
    ["adam", 0.01, 1],
    ["sgd", 0.01, 3],
    ["sgd", 0.1, 0, 2],
    ["sgd", null, 4],
    [null, 0.1, 5],
  ]);
});

test("the direction says which is best; NaN and infinite values never are", () => {
  const table = runsOf({ g: [1, 1, 1, 1, 1], acc: [3, NaN, 2, -Infinity, Infinity] });
  const best = (direction: "min" | "max") =>
    groupRuns(table, { by: ["g"], of: "acc", direction })[0];
  expect(best("max")).toMatchObject({ best: 3, bestId: null, infinite: 2 });
  expect(best("min")).toMatchObject({ best: 2, min: 2, max: 3, mean: 2.5 });
});

test("of equal values the oldest run is best, whatever the order of rows", () => {
  const ids = ["b", "c", "a"];
  for (const order of [ids, ids.toReversed(), ids.toSorted()]) {
    const table = runsOf({ id: order, g: [1, 1, 1], acc: [7, 7, 7] });
    expect(groupRuns(table, { by: ["g"], ...of })[0]!.bestId).toBe("a");
  }
});

test("−0 groups with 0, NaN alone, a mixed column by its text", () => {
  const table = runsOf({
    x: [0, NaN, -0, NaN, null],
    m: ["1", 1, true, "true", null],
    acc: [1, 2, 3, 4, 5],
  });
  expect(groupRuns(table, { by: ["x"], ...of }).map(({ x, n }) => [x, n])).toEqual([
    [0, 2],
    [NaN, 2],
    [null, 1],
  ]);
  expect(groupRuns(table, { by: ["m"], ...of }).map(({ m, n }) => [m, n])).toEqual([
    ["1", 2],
    ["true", 2],
    [null, 1],
  ]);
});

test("no runs are no groups; groups without values have no statistics", () => {
  expect(groupRuns(runsOf({ g: [], acc: [] }), { by: ["g"], ...of })).toEqual([]);
  const [group] = groupRuns(runsOf({ g: ["a", "a"], acc: [NaN, NaN] }), { by: ["g"], ...of });
  expect(group).toMatchObject({ runs: 2, n: 0, nan: 2, mean: NaN, sd: NaN, se: NaN, low: NaN });
  expect(group).toMatchObject({ high: NaN, min: NaN, max: NaN, best: NaN, bestId: null });
});

test("the interval may be drawn, with a seed", () => {
  const acc = [0.1, 0.3, 0.35, 0.9, 1];
  const table = runsOf({ g: acc.map(() => "a"), acc });
  const options = { by: ["g"], ...of, interval: "bootstrap", level: 0.9 } as const;
  const bootstrap = { resamples: 499, seed: 3, method: "percentile" } as const;
  const [group] = groupRuns(table, { ...options, bootstrap });
  expect(group).toMatchObject(bootstrapInterval(acc, { level: 0.9, ...bootstrap }));
});

test("arquero takes groups as they are", () => {
  const groups = from(groupRuns(runs, { by: ["params.opt"], ...of }));
  expect(groups.orderby(desc("mean")).array("params.opt")).toEqual(["sgd", "adam", null]);
});

test("what cannot be asked is refused", () => {
  const group = (options: object) => () =>
    groupRuns(runs, { by: ["params.lr"], ...of, ...options });
  expect(group({ by: [] })).toThrow("invalid by: [] (one to three columns are possible)");
  expect(group({ by: ["a", "b", "c", "d"] })).toThrow('invalid by: ["a","b","c","d"]');
  expect(group({ by: ["mean"] })).toThrow("invalid by: mean would occur twice");
  expect(group({ by: ["name", "name"] })).toThrow("invalid by: name would occur twice");
  expect(group({ by: ["params.x"] })).toThrow("unknown column: params.x");
  expect(group({ of: "name" })).toThrow("not a column of numbers: name");
  expect(group({ direction: "up" })).toThrow("invalid direction: up");
  expect(group({ interval: "z" })).toThrow("invalid interval: z");
  expect(group({ level: 2 })).toThrow("invalid level: 2");
});

const cell = fc.constantFrom(null, NaN, 0, -0, 1, 2.5);
const word = fc.constantFrom(null, "a", "b", "ü");
const row = fc.record({ x: cell, y: word, z: fc.constantFrom(null, true, false), acc: cell });

test("groups are those of a plain Map over rows", () => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 60 }), (rows) => {
      const columns = Object.fromEntries(
        (["x", "y", "z", "acc"] as const).map((name) => [name, rows.map((row) => row[name])]),
      );
      const keyOf = (one: { x: unknown; y: unknown; z: unknown }) =>
        [one.x === null ? null : String(one.x), one.y, one.z].join("|");
      const expected = Map.groupBy(
        rows.map((row, i) => ({ ...row, i })),
        keyOf,
      );
      const groups = groupRuns(runsOf(columns), { by: ["x", "y", "z"], ...of });
      expect(groups.length).toBe(expected.size);
      for (const group of groups) {
        const members = expected.get(keyOf(group))!;
        expect([...group.rows]).toEqual(members.map(({ i }) => i));
        expect(group.missing).toBe(members.filter(({ acc }) => acc === null).length);
        expect(group.nan).toBe(members.filter(({ acc }) => Number.isNaN(acc)).length);
      }
    }),
  );
});

test("groups and their statistics do not depend on the order of runs", () => {
  const ordered = (rows: { x: number | null; acc: number | null }[]) =>
    groupRuns(runsOf({ x: rows.map(({ x }) => x), acc: rows.map(({ acc }) => acc) }), {
      by: ["x"],
      ...of,
    }).map(({ x, n, runs, min, max }) => ({ x, n, runs, min, max }));
  fc.assert(
    fc.property(fc.array(row, { maxLength: 40 }), (rows) => {
      expect(ordered(rows.toReversed())).toEqual(ordered(rows));
    }),
  );
});

test("ten thousand groups of ten runs, by two columns of many values", () => {
  const count = 100_000;
  const table = runsOf({
    x: Array.from({ length: count }, (_, i) => (i * 7919) % 10_000),
    y: Array.from({ length: count }, (_, i) => `v${((i * 7919) % 10_000) % 5000}`),
    acc: Array.from({ length: count }, (_, i) => i),
  });
  const groups = groupRuns(table, { by: ["x", "y"], ...of });
  expect(groups.length).toBe(10_000);
  expect(groups.every(({ n, x, y }) => n === 10 && y === `v${Number(x) % 5000}`)).toBe(true);
  expect(groups.every(({ x }, i) => x === i)).toBe(true);
});

test("100,000 runs are grouped by two columns in a tenth of a second", () => {
  const count = 100_000;
  const table = runsOf({
    id: Array.from({ length: count }, (_, i) => i.toString(16).padStart(32, "0")),
    "params.lr": Array.from({ length: count }, (_, i) => [0.1, 0.01, 0.001][i % 3]!),
    "params.opt": Array.from({ length: count }, (_, i) => ["sgd", "adam", "lamb", null][i % 4]!),
    acc: Array.from({ length: count }, (_, i) => Math.sin(i)),
  });
  const times = Array.from({ length: 7 }, () => {
    const start = performance.now();
    groupRuns(table, { by: ["params.lr", "params.opt"], ...of });
    return performance.now() - start;
  });
  expect(Math.min(...times)).toBeLessThan(100);
});
