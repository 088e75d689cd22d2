import { expect, test } from "vitest";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

const at = { created: 1_760_000_000_000, updated: 1_760_000_001_000 };

test("numbers among params keep their digits; told again in other digits they are the same", async () => {
  const literals = '"a":1.0,"b":1e-05,"c":-0.0,"d":12345678901234567890,"e":0.10';
  const body = `{"experiment":"digits","params":{${literals},"n":{"f":2.50}},"started":1.76e12}`;
  const { status, json, text } = await ask("POST", "/runs", body);
  expect(status).toBe(201);
  expect(text).toContain(literals);
  expect(text).toContain('"n.f":2.50');
  const patched = await ask("PATCH", `/runs/${json.id}`, '{"params":{"a":1,"g":3.00}}');
  expect([patched.status, patched.json.params.g]).toEqual([200, 3]);
  expect((await ask("GET", `/runs/${json.id}`)).text).toContain('"g":3.00');
  const other = await ask("PATCH", `/runs/${json.id}`, '{"params":{"a":1.10}}');
  expect([other.status, other.json.message]).toEqual([409, "param is already set: a = 1, not 1.1"]);
});

test("an experiment tells when it was created", async () => {
  const { json } = await ask("POST", "/experiments", { name: "old", created: at.created });
  expect(json.created).toBe(at.created);
});

const version = (number: number, more: object = {}) => ({
  number,
  source: `s3://${number}`,
  ...at,
  ...more,
});

test("a registered model is added whole; again it changes nothing, and versions go on behind the last", async () => {
  const body = {
    name: "clf",
    note: "why",
    tags: { a: "1" },
    aliases: [
      { alias: "champion", number: 2 },
      { alias: "constructor", number: 1 },
      { alias: "nowhere", number: 9 },
    ],
    versions: [version(1, { stage: "Archived" }), version(2, { tags: { t: "x" }, note: "n" })],
    ...at,
  };
  const { status, json } = await ask("POST", "/models", body);
  expect([status, json]).toEqual([
    201,
    { name: "clf", note: "why", tags: { a: "1" }, aliases: { champion: 2, constructor: 1 }, ...at },
  ]);
  expect((await ask("POST", "/models", body)).json).toEqual(json);
  const more = {
    name: "clf",
    tags: { a: "2", b: "3" },
    aliases: [{ alias: "champion", number: 1 }],
    versions: [version(2, { source: "other" }), version(3)],
    ...at,
  };
  expect((await ask("POST", "/models", more)).json).toMatchObject({
    note: "why",
    tags: { a: "1", b: "3" },
    aliases: { champion: 2 },
  });
  const { versions } = (await ask("GET", "/models/clf")).json;
  expect(versions.map(({ number, source }: any) => [number, source])).toEqual([
    [3, "s3://3"],
    [2, "s3://2"],
    [1, "s3://1"],
  ]);
});

const id = `m-${"a".repeat(32)}`;

test("a logged model is added whole, with files; versions made of it find them here", async () => {
  const run = await startRun({ experiment: "models" });
  const point = { key: "rmse", value: 0.5, time: at.created, step: 1, run };
  const body = {
    id,
    experiment: "models",
    name: "linear",
    state: "ready",
    run,
    params: { alpha: "0.5" },
    points: [point, { ...point, value: "NaN", dataset: { name: "eval", digest: "d" } }],
    ...at,
  };
  const { status, json } = await ask("POST", "/logged-models", body);
  expect(status).toBe(201);
  expect(json).toMatchObject({ id, state: "ready", run, deleted: null, ...at });
  expect(json.points).toHaveLength(2);
  expect((await ask("POST", "/logged-models", body)).json).toEqual(json);
  const grown = {
    ...body,
    params: { alpha: "1", beta: "2" },
    points: [point, { ...point, step: 2 }],
  };
  const { params, points } = (await ask("POST", "/logged-models", grown)).json;
  expect([params, points.length]).toEqual([{ alpha: "0.5", beta: "2" }, 3]);
  const stored = await ask("PUT", `/logged-models/${id}/files/deep/a%20b.txt`, "hello");
  expect([stored.status, stored.json]).toMatchObject([201, { path: "deep/a b.txt", size: 5 }]);
  const { files } = (await ask("GET", `/logged-models/${id}/files`)).json;
  expect(files.map(({ path }: any) => path)).toEqual(["deep/a b.txt"]);
  expect((await ask("GET", `/logged-models/${id}/files/deep/a%20b.txt`)).text).toBe("hello");
  expect((await ask("GET", `/logged-models/${id}/files/none`)).status).toBe(404);
  const sources = [
    `models:/${id}`,
    `file:///home/ana/mlruns/1/models/${id}/artifacts/deep`,
    `runs:/${run}/model`,
    `/home/ana/mlruns/1/${run}/artifacts/model`,
    "s3://elsewhere",
  ];
  const versions = sources.map((source, i) => version(i + 1, { source }));
  await ask("POST", "/models", { name: "placed", versions, ...at });
  const { json: placed } = await ask("GET", "/models/placed");
  const experiment = json.experiment;
  expect(placed.versions.toReversed().map(({ location }: any) => location)).toEqual([
    json.location,
    `${json.location}/deep`,
    `mlflow-artifacts:/${experiment}/${run}/artifacts/model`,
    `mlflow-artifacts:/${experiment}/${run}/artifacts/model`,
    "s3://elsewhere",
  ]);
});

test("a trace is added whole; its numbers keep their digits, and again it changes nothing", async () => {
  const experiment = (await ask("POST", "/experiments", { name: "traces" })).json.id;
  const body = {
    id: `tr-${"c".repeat(32)}`,
    experiment: "traces",
    name: "ask",
    state: "ok",
    started: at.created,
    duration: 5,
    tags: { lang: "en" },
    assessments: [
      {
        id: "a-1",
        kind: "feedback",
        name: "good",
        value: true,
        source: { type: "HUMAN", id: "ana" },
        ...at,
      },
    ],
    spans: [
      {
        traceId: "c".repeat(32),
        spanId: "d".repeat(16),
        name: "root",
        startTimeUnixNano: "1795433847189637992",
        endTimeUnixNano: "1795433847189637993",
        attributes: [{ key: "n", value: { intValue: "9007199254740993" } }],
        events: [{ name: "e", timeUnixNano: "1795433847189637992", attributes: [] }],
        status: { code: 2, message: "broke" },
      },
    ],
  };
  const { status, json } = await ask("POST", "/traces", body);
  expect(status).toBe(201);
  expect(json).toMatchObject({ experiment, name: "ask", state: "ok", duration: 5 });
  expect((await ask("POST", "/traces", body)).json).toEqual(json);
  const read = await ask("GET", `/traces/${body.id}`);
  expect(read.text).toContain('"n":9007199254740993');
  expect(read.json).toMatchObject({
    assessments: [{ id: "a-1", value: true, valid: true, ...at }],
    spans: [
      {
        id: "d".repeat(16),
        start: "1795433847189637992",
        status: "ERROR",
        message: "broke",
        events: [{ name: "e", time: "1795433847189637992", attributes: {} }],
        links: [],
      },
    ],
  });
});

test("what a run read and made is noted once", async () => {
  const run = await startRun({ experiment: "links" });
  const body = {
    datasets: [{ name: "train", digest: "1", type: "s3", source: "{}", tags: { use: "training" } }],
    models: [{ role: "output", model: id, step: 3 }],
  };
  for (let i = 0; i < 2; i++)
    expect((await ask("POST", `/runs/${run}/links`, body)).status).toBe(200);
  expect((await ask("GET", `/runs/${run}/links`)).json).toEqual({
    datasets: [{ ...body.datasets[0], schema: "", profile: "" }],
    models: body.models,
  });
});

const deep = JSON.parse("[".repeat(5_000) + "]".repeat(5_000)) as unknown;

test.for<[string, object, number?]>([
  ["/models", { name: "a/b", ...at }],
  ["/models", { name: "a", created: -1, updated: 0 }],
  ["/models", { name: "a", versions: [version(0)], ...at }],
  ["/models", { name: "a", versions: Array.from({ length: 51 }, (_, i) => version(i + 1)), ...at }],
  ["/models", { name: "a", tags: { k: 1 }, ...at }],
  ["/logged-models", { id: "../up", experiment: "models", state: "ready", ...at }],
  ["/logged-models", { id: "m", experiment: "models", state: "done", ...at }],
  ["/logged-models", { id: "m", experiment: "no such", state: "ready", ...at }, 404],
  ["/traces", { id: "../up", experiment: "traces", state: "ok", started: 1 }],
  ["/traces", { id: "t", experiment: "no such", state: "ok", started: 1 }, 404],
  ["/traces", { id: "t", experiment: "traces", state: "ok", started: 1, spans: [{}] }],
  ["/traces", { id: "t", experiment: "traces", state: "ok", started: 1, spans: [null] }],
  [
    "/traces",
    {
      id: "t",
      experiment: "traces",
      state: "ok",
      started: 1,
      assessments: [
        { id: "a", kind: "feedback", name: "x", value: deep, source: { type: "", id: "" }, ...at },
      ],
    },
  ],
  [`/runs/${"0".repeat(32)}/links`, { models: [{ role: "input", model: "m" }] }, 404],
  [`/runs/${"0".repeat(32)}/links`, { datasets: [{ name: "" }] }],
])("POST %s is refused", async ([path, body, status = 400]) => {
  await ask("POST", "/experiments", { name: "traces" });
  await ask("POST", "/experiments", { name: "models" });
  expect((await ask("POST", path, body)).status).toBe(status);
});
