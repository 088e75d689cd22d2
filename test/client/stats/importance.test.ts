import { expect, test } from "vitest";
import { importance } from "../../../client/stats/importance.ts";
import { rankCorrelation } from "../../../client/stats/rank.ts";
import { seededRandom } from "../../../client/random.ts";
import { reference, runsOf } from "./runs.ts";

const { columns, loss, importance: expected, r2 } = reference.forest;
const params = Object.fromEntries(
  Object.entries(columns).map(([name, cells]) => [`params.${name}`, cells]),
);
const runs = runsOf({ ...params, loss });

test("a forest finds what scikit-learn's finds: order, size, and share predicted", () => {
  const { forest, params } = importance(runs, { of: "loss" });
  expect(forest).toMatchObject({ runs: 400, trees: 100 });
  expect(Math.abs(forest!.r2 - r2)).toBeLessThan(0.03);
  const ours = Object.fromEntries(
    params.map(({ param, importance }) => [param.slice("params.".length), importance!]),
  );
  for (const [name, value] of Object.entries(expected))
    expect(Math.abs(ours[name]! - value), name).toBeLessThan(0.02 + 0.1 * Math.abs(value));
  const idle = Math.max(ours["idle"]!, ours["noise"]!);
  for (const name of ["lr", "bent", "left", "right", "category"])
    expect(ours[name]!, name).toBeGreaterThan(2 * Math.abs(idle));
  expect(params[0]!.param).toBe("params.lr");
});

test("a bent param has no rank correlation, but importance", () => {
  const { params } = importance(runs, { of: "loss" });
  const bent = params.find(({ param }) => param === "params.bent")!;
  const lr = params.find(({ param }) => param === "params.lr")!;
  expect(Math.abs(bent.correlation)).toBeLessThan(0.15);
  expect(bent.importance).toBeGreaterThan(0.05);
  expect(lr).toMatchObject({ n: 400, measure: "spearman" });
  expect(lr.correlation).toBeGreaterThan(0.75);
});

test("below 50 runs there is no forest, and correlation decides the order", () => {
  const few = importance(runs.slice(0, 49), { of: "loss" });
  expect(few).toMatchObject({ runs: 49, forest: null });
  expect(few.params.every(({ importance }) => importance === null)).toBe(true);
  expect(few.params[0]!.param).toBe("params.lr");
  expect(importance(runs.slice(0, 50), { of: "loss" }).forest).toMatchObject({ runs: 50 });
});

test("runs without a value are left out and counted; a run that diverged counts by rank", () => {
  const table = runsOf({
    "params.x": [1, 2, 3, 4, 5, 6],
    loss: [0.1, 0.2, null, NaN, 3, Infinity],
  });
  const found = importance(table, { of: "loss" });
  expect(found).toMatchObject({ runs: 4, missing: 1, nan: 1, forest: null });
  expect(found.params).toEqual([
    {
      param: "params.x",
      n: 4,
      values: 4,
      correlation: 1,
      measure: "spearman",
      importance: null,
    },
  ]);
});

test("a run that lacks a param is left out of its correlation alone", () => {
  const table = runsOf({
    "params.x": [1, null, 3, NaN, 2],
    "params.y": ["a", "b", null, "a", "b"],
    loss: [1, 2, 3, 4, 2.5],
  });
  const { params } = importance(table, { of: "loss" });
  const [x, y] = ["params.x", "params.y"].map((name) => params.find(({ param }) => param === name));
  expect(x).toMatchObject({ n: 3, values: 3, correlation: 1, measure: "spearman" });
  expect(y).toMatchObject({ n: 4, values: 2, correlation: 0, measure: "correlation ratio" });
});

test("a switch correlates as 0 and 1; columns other than params are asked for by name", () => {
  const on = [true, false, true, false];
  const found = importance(runsOf({ on, loss: [1, 2, 3, 4] }), { of: "loss", params: ["on"] });
  const rho = rankCorrelation(Float64Array.of(3.5, 1.5, 3.5, 1.5), Float64Array.of(1, 2, 3, 4));
  expect(found.params).toMatchObject([{ param: "on", measure: "spearman", correlation: rho }]);
  expect(() => importance(runs, { of: "loss", params: ["params.none"] })).toThrow(
    "unknown column: params.none",
  );
});

const count = 120;
const spread = Array.from({ length: count }, (_, i) => (i * 37) % count);

test("lacking a param is a value to the forest, of numbers and of text", () => {
  const table = runsOf({
    "params.x": spread.map((i) => (i % 2 ? null : 1)),
    "params.y": spread.map((i) => (i % 4 < 2 ? null : "a")),
    "params.z": spread.map((i) => (i * i) % 11),
    loss: spread.map((i) => (i % 2) * 10 + (i % 4 < 2 ? 5 : 0) + i / count),
  });
  const { params, forest } = importance(table, { of: "loss" });
  expect(forest!.r2).toBeGreaterThan(0.8);
  expect(params.map(({ param }) => param)).toEqual(["params.x", "params.y", "params.z"]);
  expect(params[1]!.importance).toBeGreaterThan(0.1);
});

test("a text that differs in every run, such as a path, is not important", () => {
  const random = seededRandom(4);
  const table = runsOf({
    "params.path": spread.map((i) => `/data/${i}`),
    "params.lr": spread,
    loss: spread.map((i) => i + 30 * random()),
  });
  const { params } = importance(table, { of: "loss" });
  expect(params.map(({ param }) => param)).toEqual(["params.lr", "params.path"]);
  expect(params[1]).toMatchObject({ correlation: NaN, values: count });
  expect(Math.abs(params[1]!.importance!)).toBeLessThan(0.05);
});

test("of noise alone, a forest says that it predicts nothing", () => {
  const random = seededRandom(9);
  const noise = () => spread.map(() => random());
  const table = runsOf({ "params.a": noise(), "params.b": noise(), loss: noise() });
  expect(importance(table, { of: "loss" }).forest!.r2).toBeLessThan(0.1);
});

test("the same seed gives the same forest, whatever the order of the runs", () => {
  const ids = spread.map((i) => String(1000 + i));
  const cells = { "params.a": spread, "params.b": spread.map((i) => `b${i % 5}`) };
  const losses = spread.map((i) => i + (i % 5) * 20);
  const table = runsOf({ id: ids, ...cells, loss: losses });
  const turned = runsOf({
    id: ids.toReversed(),
    "params.a": cells["params.a"].toReversed(),
    "params.b": cells["params.b"].toReversed(),
    loss: losses.toReversed(),
  });
  const found = importance(table, { of: "loss" });
  expect(importance(table, { of: "loss" })).toEqual(found);
  expect(importance(turned, { of: "loss" })).toEqual(found);
  expect(importance(table, { of: "loss", seed: 2 })).not.toEqual(found);
});

test("no runs, no params, and equal values", () => {
  const nothing = { missing: 0, nan: 0, forest: null };
  expect(importance(runsOf({ loss: [] }), { of: "loss" })).toEqual({
    runs: 0,
    params: [],
    ...nothing,
  });
  const equal = runsOf({ "params.a": spread, loss: spread.map(() => 1) });
  expect(importance(equal, { of: "loss" })).toMatchObject({
    ...nothing,
    params: [{ correlation: NaN, importance: null }],
  });
});

/** Runs with params of all kinds, of which the first decides. */
function many(length: number, width: number) {
  const random = seededRandom(3);
  const columns = Array.from({ length: width }, (_, c) => [
    `params.p${c}`,
    Array.from({ length }, () =>
      c % 3 === 2 ? `v${Math.floor(random() * 8)}` : c % 3 ? Math.floor(random() * 5) : random(),
    ),
  ]) as [string, number[]][];
  const loss = columns[0]![1].map((x) => x + random());
  return runsOf({ ...Object.fromEntries(columns), loss });
}

test("a thousand runs of thirty params take less than a second", () => {
  const table = many(1000, 30);
  const times = Array.from({ length: 3 }, () => {
    const start = performance.now();
    importance(table, { of: "loss" });
    return performance.now() - start;
  });
  expect(Math.min(...times)).toBeLessThan(1000);
});

test("of many runs, a thousand drawn at random make the forest, and it says so", () => {
  const { runs, forest, params } = importance(many(5000, 3), { of: "loss" });
  expect(runs).toBe(5000);
  expect(forest).toMatchObject({ runs: 1000 });
  expect(params[0]).toMatchObject({ param: "params.p0", n: 5000 });
});
