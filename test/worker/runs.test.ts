import { expect, test } from "vitest";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

test("a run is created with its experiment, numbered, named and typed", async () => {
  const { status, json } = await ask("POST", "/runs", {
    experiment: "typed",
    params: {
      lr: 0.1,
      on: true,
      none: null,
      optim: { name: "sgd", betas: [0.9, 0.99] },
      far: "Infinity",
    },
    tags: ["baseline"],
  });
  expect(status).toBe(201);
  expect(json).toMatchObject({
    number: 1,
    state: "running",
    params: {
      lr: 0.1,
      on: true,
      none: null,
      "optim.name": "sgd",
      "optim.betas": "[0.9,0.99]",
      far: "Infinity",
    },
    tags: { baseline: "" },
  });
  expect(json.name).toMatch(/^[a-z]+-[a-z]+-1$/);
  expect((await ask("POST", "/runs", { experiment: "typed" })).json.number).toBe(2);
  expect((await ask("GET", "/experiments/typed")).json).toMatchObject({ name: "typed", runs: 2 });
});

test("name, note and tags change, a tag set to null goes, params are added and never changed", async () => {
  const run = await startRun({ params: { lr: 1 }, tags: { a: "1", b: "2" } });
  const { json } = await ask("PATCH", `/runs/${run}`, {
    name: "new",
    note: "*why*",
    tags: { a: null, c: "3" },
    params: { seed: 7, lr: 1 },
  });
  expect(json).toMatchObject({
    name: "new",
    note: "*why*",
    tags: { b: "2", c: "3" },
    params: { lr: 1, seed: 7 },
  });
  expect(json.tags).not.toHaveProperty("a");
  const refused = await ask("PATCH", `/runs/${run}`, { params: { lr: 2, x: 1 } });
  expect([refused.status, refused.json.message]).toEqual([
    409,
    "param is already set: lr = 1, not 2",
  ]);
  expect((await ask("GET", `/runs/${run}`)).json.params).not.toHaveProperty("x");
});

test("changes that meet all land", async () => {
  const run = await startRun();
  await Promise.all(
    Array.from({ length: 8 }, (_, i) => ask("PATCH", `/runs/${run}`, { tags: { [`t${i}`]: "x" } })),
  );
  expect(Object.keys((await ask("GET", `/runs/${run}`)).json.tags)).toHaveLength(8);
});

test("a run ends once, can be set going again, deleted and restored", async () => {
  const run = await startRun();
  expect(
    (await ask("POST", `/runs/${run}/finish`, { state: "failed", error: "out of memory" })).json,
  ).toMatchObject({ state: "failed", error: "out of memory", ended: expect.any(Number) });
  expect((await ask("POST", `/runs/${run}/finish`, { state: "failed" })).status).toBe(200);
  expect((await ask("POST", `/runs/${run}/resume`)).json).toMatchObject({
    state: "running",
    error: "",
    ended: null,
  });
  expect((await ask("DELETE", `/runs/${run}`)).json.deleted).toEqual(expect.any(Number));
  expect((await ask("POST", `/runs/${run}/restore`)).json.deleted).toBeNull();
});

test("the runs table has a column for everything, typed by what is there, and any that is asked for", async () => {
  const a = await startRun({ experiment: "wide", name: "a", params: { lr: 0.1, mixed: 1 } });
  await startRun({ experiment: "wide", name: "b", params: { lr: "NaN", mixed: "x" } });
  await ask("POST", `/runs/${a}/points`, [
    { key: "loss", step: 0, value: 3 },
    { key: "loss", step: 1, value: 1 },
    { key: "loss", step: 2, value: 2 },
  ]);
  const all = (await ask("GET", "/runs.json?experiment=wide&order=name")).json;
  expect(all[0]).toMatchObject({
    name: "a",
    experiment: "wide",
    "params.lr": 0.1,
    "params.mixed": "1",
    "metrics.loss": 2,
  });
  expect(all[1]).toMatchObject({ name: "b", "params.lr": "NaN", "params.mixed": "x" });
  const asked = await ask(
    "GET",
    "/runs.csv?experiment=wide&columns=name,metrics.loss.min,metrics.loss.minStep,metrics.loss.mean&order=name&limit=1",
  );
  expect(asked.text).toBe(
    "name,metrics.loss.min,metrics.loss.minStep,metrics.loss.mean\r\na,1,1,2\r\n",
  );
});

test("runs are filtered and ordered, what is missing last and never matching", async () => {
  for (const [name, lr, loss] of [
    ["p", 0.1, 3],
    ["q", 1, 1],
    ["r", 10, undefined],
  ] as const) {
    const run = await startRun({
      experiment: "ask",
      name,
      params: { lr },
      tags: { team: name === "p" ? "x" : "y" },
    });
    if (loss !== undefined)
      await ask("POST", `/runs/${run}/points`, [{ key: "val/loss", step: 0, value: loss }]);
  }
  const names = async (query: string) =>
    (await ask("GET", `/runs.json?experiment=ask&columns=name&${query}`)).json.map(
      (row: { name: string }) => row.name,
    );
  expect(
    await names(`where=${encodeURIComponent("params.lr >= 1 AND tags.team = 'y'")}&order=name`),
  ).toEqual(["q", "r"]);
  expect(await names(`where=${encodeURIComponent('metrics."val/loss" != 7')}&order=name`)).toEqual([
    "p",
    "q",
  ]);
  expect(await names(`order=${encodeURIComponent("metrics.val/loss desc")}`)).toEqual([
    "p",
    "q",
    "r",
  ]);
  expect(await names("order=metrics.val/loss&limit=1")).toEqual(["q"]);
});

test("an experiment is described, renamed, archived and restored", async () => {
  const { json } = await ask("POST", "/experiments", {
    name: "q/ü",
    hypothesis: "Does it?",
    metric: "val/acc",
    direction: "max",
  });
  expect(json).toMatchObject({
    name: "q/ü",
    hypothesis: "Does it?",
    metric: "val/acc",
    direction: "max",
    runs: 0,
    archived: null,
  });
  const path = `/experiments/${encodeURIComponent("q/ü")}`;
  expect((await ask("GET", path)).json.id).toBe(json.id);
  expect(
    (await ask("PATCH", path, { conclusion: "It does.", name: "renamed" })).json,
  ).toMatchObject({ name: "renamed", conclusion: "It does." });
  expect((await ask("POST", "/experiments", { name: "renamed" })).json).toEqual({
    error_code: "RESOURCE_ALREADY_EXISTS",
    message: "experiment name already taken: renamed",
  });
  await ask("DELETE", "/experiments/renamed");
  expect(
    (await ask("GET", "/experiments")).json.map(({ name }: { name: string }) => name),
  ).not.toContain("renamed");
  expect(
    (await ask("GET", "/experiments?archived=true")).json.map(({ name }: { name: string }) => name),
  ).toContain("renamed");
  expect((await ask("POST", "/experiments/renamed/restore")).json.archived).toBeNull();
});

test("console lines are numbered through, read by cursor and from the end, and sent twice kept once", async () => {
  const run = await startRun();
  await ask("POST", `/runs/${run}/console?writer=w&seq=0`, [
    "one",
    { text: "two", stream: "err", time: 5 },
  ]);
  await ask("POST", `/runs/${run}/console?writer=w&seq=0`, [
    "one",
    { text: "two", stream: "err", time: 5 },
  ]);
  await ask("POST", `/runs/${run}/console?writer=w&seq=1`, ["three"]);
  const texts = async (query = "") => {
    const { json } = await ask("GET", `/runs/${run}/console${query}`);
    return [
      json.lines.map(({ n, text }: { n: number; text: string }) => `${n} ${text}`),
      json.total,
      json.next,
    ];
  };
  expect(await texts()).toEqual([["1 one", "2 two", "3 three"], 3, 3]);
  expect(await texts("?after=1&limit=1")).toEqual([["2 two"], 3, 2]);
  expect(await texts("?tail=2")).toEqual([["2 two", "3 three"], 3, 3]);
  expect(await texts("?after=3")).toEqual([[], 3, 3]);
});
