import { tableFromIPC } from "@uwdata/flechette";
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
  const all = (await ask("GET", "/runs.json?experiment=wide&order=name&columns=*")).json;
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

test("every change of a run can be told twice: the answer is the same", async () => {
  const id = "0192f0c1aaaa7bbb8cccddddeeee0077";
  const again: [string, string, unknown?][] = [
    [
      "POST",
      "/runs",
      { id, experiment: "twice", params: { far: "-Infinity", lr: 0.1 }, tags: ["a"], started: 7 },
    ],
    ["PATCH", `/runs/${id}`, { name: "n", tags: { a: null, b: 1 }, params: { nan: "NaN" } }],
    ["POST", `/runs/${id}/finish`, { state: "failed", error: "why", ended: 9 }],
    ["POST", `/runs/${id}/resume`],
    ["DELETE", `/runs/${id}`],
    ["POST", `/runs/${id}/restore`],
  ];
  const still = ({ json: { heartbeat: _, ...run } }: any) => run;
  for (const [method, path, body] of again) {
    const first = await ask(method, path, body);
    const second = await ask(method, path, body);
    expect([method, path, second.status, still(second)]).toEqual([
      method,
      path,
      first.status,
      still(first),
    ]);
  }
  expect((await ask(...again[0]!)).json).toMatchObject({ name: "n", params: { nan: "NaN" } });
});

test("the same id for another run is a conflict, and the first run stays as it was", async () => {
  const id = "0192f0c1aaaa7bbb8cccddddeeee0078";
  const first = await ask("POST", "/runs", { id, experiment: "ids", params: { zero: 0 } });
  for (const other of [{ params: { zero: "0" } }, { params: { zero: 0 }, name: "x" }, {}])
    expect(await ask("POST", "/runs", { id, experiment: "ids", ...other })).toMatchObject({
      status: 409,
      json: {
        error_code: "RESOURCE_ALREADY_EXISTS",
        message: `run already exists with other content: ${id}`,
      },
    });
  expect(
    (await ask("POST", "/runs", `{"id":"${id}","experiment":"ids","params":{"zero":-0.0}}`)).status,
  ).toBe(409);
  expect((await ask("GET", `/runs/${id}`)).json).toMatchObject({
    params: first.json.params,
    name: first.json.name,
  });
});

test("a run told two ends keeps the first; one that is deleted cannot end or go on", async () => {
  const run = await startRun();
  await ask("POST", `/runs/${run}/finish`, { state: "killed" });
  expect(await ask("POST", `/runs/${run}/finish`, { state: "finished" })).toMatchObject({
    status: 409,
    json: { error_code: "INVALID_STATE", message: `run is closed: ${run} (killed, not finished)` },
  });
  await ask("DELETE", `/runs/${run}`);
  for (const [action, body] of [
    ["finish", { state: "killed" }],
    ["resume", undefined],
  ] as const)
    expect((await ask("POST", `/runs/${run}/${action}`, body)).json.message).toBe(
      `run is deleted: ${run}`,
    );
  expect((await ask("GET", `/runs/${run}`)).json.state).toBe("killed");
});

test("forty changes that meet while points arrive all land", async () => {
  const run = await startRun();
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      i % 2
        ? ask("PATCH", `/runs/${run}`, { tags: { [`t${i}`]: "x" }, params: { [`p${i}`]: i } })
        : ask("POST", `/runs/${run}/points`, [{ key: "k", step: i, value: i }]),
    ),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  const { json } = await ask("GET", `/runs/${run}`);
  expect([Object.keys(json.tags).length, Object.keys(json.params).length, json.points]).toEqual([
    20, 20, 20,
  ]);
});

test("params and tags of any text come back as they were, nothing of them lost", async () => {
  const odd = {
    "": "",
    empty: "",
    "q\"'\\": "q\"'\\",
    "ü😀\u2028": "\u0000\u001f\u2029",
    "a.b[0].$": "-0",
    on: "true",
    long: "v".repeat(16_384),
  };
  const { "": _, ...params } = odd;
  const run = await startRun({
    params: { ...params, tiny: 5e-324, big: 2 ** 53, list: [[]], none: null },
  });
  const { json } = await ask("GET", `/runs/${run}`);
  expect(json.params).toEqual({ ...params, tiny: 5e-324, big: 2 ** 53, list: "[[]]", none: null });
  const note = "a\u0000b\r\n" + "ü".repeat(50_000);
  expect(
    (await ask("PATCH", `/runs/${run}`, { note, tags: { "q\"'\\": "q\"'\\\u0000" } })).json,
  ).toMatchObject({
    note,
    tags: { "q\"'\\": "q\"'\\\u0000" },
  });
});

test("the runs table says the same as Arrow, CSV and JSON", async () => {
  const experiment = "formats";
  const run = await startRun({
    experiment,
    name: 'q",\r\n'.trim(),
    params: { lr: "NaN", on: false, n: null, t: "a,b" },
    started: 5,
  });
  await ask(
    "POST",
    `/runs/${run}/points`,
    '[{"key":"loss","step":0,"value":-0.0},{"key":"far","step":0,"value":"-Infinity"}]',
  );
  const columns =
    "name,started,ended,params.lr,params.on,params.n,params.t,metrics.loss,metrics.far,metrics.none";
  const get = (format: string) =>
    ask("GET", `/runs.${format}?experiment=${experiment}&columns=${columns}`);
  expect((await get("json")).json).toEqual([
    {
      name: 'q",',
      started: 5,
      "params.lr": "NaN",
      "params.on": false,
      "params.t": "a,b",
      "metrics.loss": -0,
      "metrics.far": "-Infinity",
    },
  ]);
  expect((await get("csv")).text).toBe(
    `${columns}\r\n"q"",",1970-01-01T00:00:00.005Z,,NaN,false,,"a,b",-0.0,-inf,\r\n`,
  );
  const { response, headers } = await get("arrow");
  const arrow = tableFromIPC(new Uint8Array(await response.arrayBuffer()), { useDate: false });
  expect(columns.split(",").map((name) => arrow.getChild(name).at(0))).toEqual([
    'q",',
    5,
    null,
    NaN,
    false,
    null,
    "a,b",
    -0,
    -Infinity,
    null,
  ]);
  expect(arrow.schema.metadata?.get("cursor")).toBe(headers.get("x-assay-cursor"));
});

test("no runs are an empty table in every format", async () => {
  await ask("POST", "/experiments", { name: "empty" });
  for (const table of ["runs", "points"]) {
    expect((await ask("GET", `/${table}.json?experiment=empty`)).json).toEqual([]);
    expect((await ask("GET", `/${table}.csv?experiment=empty`)).text).toMatch(/^[\w,]+\r\n$/);
    const { response } = await ask("GET", `/${table}.arrow?experiment=empty`);
    expect(tableFromIPC(new Uint8Array(await response.arrayBuffer())).numRows).toBe(0);
  }
});
