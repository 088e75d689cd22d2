import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { selectEvents } from "../../../worker/db/events.ts";
import { ask, freshStores } from "../worker.ts";
import { mlflow, newExperiment, newRun, refusal } from "./client.ts";

freshStores();

const base = "/2.0/mlflow/logged-models";

async function newModel(experiment: string, more: object = {}): Promise<string> {
  const { json } = await mlflow("POST", base, { experiment_id: experiment, ...more });
  return json.model.info.model_id as string;
}

const search = (experiment: string, more: object = {}) =>
  mlflow("POST", `${base}/search`, { experiment_ids: [experiment], ...more });

const namesOf = async (experiment: string, more: object = {}) =>
  (await search(experiment, more)).json.models?.map((model: any) => model.info.name) ?? [];

test.for<[object, RegExp, number?]>([
  [{}, /^Missing value for required parameter 'experiment_id'/],
  [{ experiment_id: 1 }, /^Invalid value 1 for parameter 'experiment_id'/],
  [{ experiment_id: "x" }, /^Invalid experiment ID 'x'/],
  [{ experiment_id: "99" }, /^No Experiment with id=99/, 404],
  ...["a/b", "a:b", "a.b", "a%b", 'a"b', "a'b"].map((name): [object, RegExp] => [
    { experiment_id: "0", name },
    /^Invalid model name \(/,
  ]),
  [{ experiment_id: "0", name: "x".repeat(501) }, /^'name' exceeds/],
  [
    { experiment_id: "0", tags: [{ key: "" }] },
    /^Missing value for required parameter 'tags\[0\].key'/,
  ],
  [{ experiment_id: "0", tags: [{ key: "k".repeat(251) }] }, /^'tag key' exceeds/],
  [
    {
      experiment_id: "0",
      params: [
        { key: "p", value: "1" },
        { key: "p", value: "2" },
      ],
    },
    /^Duplicate parameter keys/,
  ],
  [{ experiment_id: "0", params: "x" }, /for parameter 'params'/],
  [{ experiment_id: "0", source_run_id: "r".repeat(257) }, /^'source_run_id' exceeds/],
])("a model described by %j is refused", async ([fields, message, status = 400]) => {
  expect(await mlflow("POST", base, fields as Record<string, unknown>)).toMatchObject({
    status,
    json: { message: expect.stringMatching(message) },
  });
});

test("a model of an archived experiment is refused", async () => {
  const experiment = await newExperiment("archived");
  await mlflow("POST", "/2.0/mlflow/experiments/delete", { experiment_id: experiment });
  expect(await mlflow("POST", base, { experiment_id: experiment })).toMatchObject(
    refusal("INVALID_PARAMETER_VALUE", expect.stringContaining("must be in the 'active' state")),
  );
});

test("one that is not there is told so, on every route", async () => {
  const id = `m-${"0".repeat(32)}`;
  for (const [method, path] of [
    ["GET", ""],
    ["PATCH", ""],
    ["DELETE", ""],
    ["PATCH", "/tags"],
    ["DELETE", "/tags/k"],
    ["POST", "/params"],
    ["GET", "/artifacts/directories"],
  ] as const)
    expect([
      method,
      path,
      await mlflow(method, `${base}/${id}${path}`, { status: "LOGGED_MODEL_READY" }),
    ]).toMatchObject([
      method,
      path,
      refusal("RESOURCE_DOES_NOT_EXIST", `Logged model with ID '${id}' not found.`, 404),
    ]);
});

test("a model without a name gets one, and states may be told by word or number", async () => {
  const id = await newModel("0");
  for (const [status, word] of [
    ["LOGGED_MODEL_READY", "LOGGED_MODEL_READY"],
    [3, "LOGGED_MODEL_UPLOAD_FAILED"],
  ] as const) {
    const { json } = await mlflow("PATCH", `${base}/${id}`, { model_id: id, status });
    expect(json.model.info).toMatchObject({
      status: word,
      name: expect.stringMatching(/^\w+-\w+/),
    });
  }
  for (const status of [undefined, "LOGGED_MODEL_BOGUS", 0, 9])
    expect([
      status,
      (await mlflow("PATCH", `${base}/${id}`, { model_id: id, status })).status,
    ]).toEqual([status, 400]);
});

test("params are set once; the same again is no error", async () => {
  const id = await newModel("0", { params: [{ key: "a", value: "1" }] });
  const add = (key: string, value: string) =>
    mlflow("POST", `${base}/${id}/params`, { model_id: id, params: [{ key, value }] });
  expect([(await add("b", "2")).status, (await add("b", "2")).status]).toEqual([200, 200]);
  expect(await add("a", "2")).toMatchObject(
    refusal("BAD_REQUEST", expect.stringContaining("already logged with value='1'")),
  );
  await add("long", "x".repeat(7000));
  const { json } = await mlflow("GET", `${base}/${id}`);
  const lengths = json.model.data.params.map(({ key, value }: any) => [key, value.length]);
  expect(Object.fromEntries(lengths)).toEqual({ a: 1, b: 1, long: 6000 });
});

test("tags come and go by keys with slashes, and a missing one is told", async () => {
  const id = await newModel("0");
  await mlflow("PATCH", `${base}/${id}/tags`, {
    tags: [
      { key: "a/b c", value: "1" },
      { key: "__proto__", value: "2" },
    ],
  });
  expect((await mlflow("DELETE", `${base}/${id}/tags/a/b%20c`)).status).toBe(200);
  expect(await mlflow("DELETE", `${base}/${id}/tags/a/b%20c`)).toMatchObject(
    refusal("RESOURCE_DOES_NOT_EXIST", expect.stringContaining("No tag with key 'a/b c'"), 404),
  );
  const { json } = await mlflow("GET", `${base}/${id}`);
  expect(json.model.info.tags).toEqual([{ key: "__proto__", value: "2" }]);
});

test("points of a model are kept once however often they are sent, and the run has them, too", async () => {
  const experiment = await newExperiment("points");
  const run = await newRun(experiment);
  const id = await newModel(experiment, { name: "measured", source_run_id: run.id });
  const metrics = [
    { key: "a", value: 1, timestamp: 10, step: 0, model_id: id },
    {
      key: "a",
      value: 0.5,
      timestamp: 20,
      step: 1,
      model_id: id,
      dataset_name: "d",
      dataset_digest: "x",
    },
    { key: "nan", value: "NaN", timestamp: 30, step: 0, model_id: id },
    { key: "up", value: "Infinity", timestamp: 30, step: 0, model_id: id },
    { key: "other", value: 3, timestamp: 30, step: 0 },
  ];
  for (let i = 0; i < 3; i++)
    expect(
      (await mlflow("POST", "/2.0/mlflow/runs/log-batch", { run_id: run.id, metrics })).status,
    ).toBe(200);
  await mlflow("POST", "/2.0/mlflow/runs/log-metric", {
    run_id: run.id,
    ...metrics[0],
    step: "7",
    timestamp: "40",
  });
  const { json } = await mlflow("GET", `${base}/${id}`);
  expect(json.model.data.metrics).toEqual([
    { key: "a", value: 1, timestamp: 10, step: 0, model_id: id, run_id: run.id },
    {
      key: "a",
      value: 0.5,
      timestamp: 20,
      step: 1,
      model_id: id,
      run_id: run.id,
      dataset_name: "d",
      dataset_digest: "x",
    },
    { key: "nan", value: "NaN", timestamp: 30, step: 0, model_id: id, run_id: run.id },
    { key: "up", value: Number.MAX_VALUE, timestamp: 30, step: 0, model_id: id, run_id: run.id },
    { key: "a", value: 1, timestamp: 40, step: 7, model_id: id, run_id: run.id },
  ]);
  expect((await ask("GET", `/runs/${run.id}`)).json.metrics).toMatchObject({
    a: { count: 3 },
    nan: { last: "NaN" },
    up: { last: "Infinity" },
    other: { last: 3 },
  });
  const unknown = [
    { ...metrics[0], key: "b" },
    { ...metrics[0], key: "b", model_id: "m-nobody" },
  ];
  expect(
    await mlflow("POST", "/2.0/mlflow/runs/log-batch", { run_id: run.id, metrics: unknown }),
  ).toMatchObject(refusal("BAD_REQUEST", "Logged model with ID 'm-nobody' not found."));
  expect((await ask("GET", `/runs/${run.id}`)).json.metrics.b).toBeUndefined();
});

test("a search filters by everything that a model has", async () => {
  const experiment = await newExperiment("search");
  const run = await newRun(experiment);
  for (const [i, name] of ["one", "two", "three"].entries()) {
    const id = await newModel(experiment, {
      name,
      model_type: i ? "agent" : "net",
      source_run_id: i ? run.id : undefined,
      params: [{ key: "depth", value: String(i) }],
      tags: [{ key: "t", value: name.toUpperCase() }],
    });
    if (i === 2) continue;
    const metrics = [
      {
        key: "acc",
        value: i,
        timestamp: 1,
        step: 0,
        model_id: id,
        dataset_name: "train",
        dataset_digest: "1",
      },
      {
        key: "acc",
        value: -i,
        timestamp: 2,
        step: 0,
        model_id: id,
        dataset_name: "test",
        dataset_digest: "2",
      },
    ];
    await mlflow("POST", "/2.0/mlflow/runs/log-batch", { run_id: run.id, metrics });
    await mlflow("PATCH", `${base}/${id}`, { model_id: id, status: "LOGGED_MODEL_READY" });
  }
  for (const [filter, found] of [
    ["", ["three", "two", "one"]],
    ["name = 'two'", ["two"]],
    ["name LIKE 't%' AND model_type = 'agent'", ["three", "two"]],
    ["name ILIKE 'T%'", ["three", "two"]],
    ["name IN ('one', 'three')", ["three", "one"]],
    ["params.depth = '1'", ["two"]],
    ["tags.t != 'ONE'", ["three", "two"]],
    ["status = 'READY'", ["two", "one"]],
    [`source_run_id = '${run.id}'`, ["three", "two"]],
    ["metrics.acc > 0.5", ["two"]],
    ["metrics.acc < 0", ["two"]],
    ["metrics.nothing > 0", []],
    ["creation_timestamp > 0 AND last_updated_timestamp < 99999999999999", ["three", "two", "one"]],
  ] as const)
    expect([filter, await namesOf(experiment, { filter })]).toEqual([filter, found]);
  const onTest = [{ dataset_name: "test", dataset_digest: "2" }];
  expect(await namesOf(experiment, { filter: "metrics.acc > 0.5", datasets: onTest })).toEqual([]);
  expect(await namesOf(experiment, { filter: "metrics.acc < -0.5", datasets: onTest })).toEqual([
    "two",
  ]);
  expect(await namesOf(experiment, { datasets: onTest })).toEqual(["two", "one"]);
  expect(await namesOf(experiment, { datasets: [{ dataset_name: "test" }] })).toEqual([]);
  const by = (field_name: string, more: object = {}) =>
    namesOf(experiment, { order_by: [{ field_name, ...more }] });
  expect(await by("name")).toEqual(["one", "three", "two"]);
  expect(await by("name", { ascending: false })).toEqual(["two", "three", "one"]);
  expect(await by("metrics.acc")).toEqual(["two", "one", "three"]);
  expect(await by("metrics.acc", { dataset_name: "train" })).toEqual(["one", "two", "three"]);
  expect(await by("metrics.acc", { ascending: false, dataset_name: "train" })).toEqual([
    "two",
    "one",
    "three",
  ]);
  expect(await by("creation_timestamp")).toEqual(["one", "two", "three"]);
});

test("pages of models lead through all of them once, by a metric that some lack, too", async () => {
  const experiment = await newExperiment("pages");
  const run = await newRun(experiment);
  for (let i = 0; i < 13; i++) {
    const id = await newModel(experiment, { name: `m${i}` });
    if (i % 3)
      await mlflow("POST", "/2.0/mlflow/runs/log-metric", {
        run_id: run.id,
        key: "acc",
        value: i % 4,
        timestamp: i,
        model_id: id,
      });
  }
  for (const order_by of [
    [],
    [{ field_name: "metrics.acc", ascending: false }],
    [{ field_name: "status" }],
  ]) {
    const names: string[] = [];
    for (let page_token = ""; ;) {
      const { json } = await search(experiment, { order_by, max_results: 4, page_token });
      names.push(...json.models.map((model: any) => model.info.name));
      page_token = json.next_page_token ?? "";
      if (!page_token) break;
    }
    expect([names.length, new Set(names).size]).toEqual([13, 13]);
    if (order_by[0]?.field_name === "metrics.acc")
      expect(names.slice(-5).sort()).toEqual(["m0", "m12", "m3", "m6", "m9"]);
  }
  const { json } = await search(experiment, { max_results: 4 });
  for (const more of [{ filter: "name = 'x'" }, { order_by: [{ field_name: "name" }] }])
    expect(await search(experiment, { ...more, page_token: json.next_page_token })).toMatchObject(
      refusal("INVALID_PARAMETER_VALUE", expect.stringMatching(/^Invalid page token/)),
    );
});

test.for<[object, RegExp]>([
  [{ experiment_ids: [] }, /^Missing value for required parameter 'experiment_ids'/],
  [{ experiment_ids: ["x"] }, /^Invalid experiment ID 'x'/],
  [{ experiment_ids: "0" }, /for parameter 'experiment_ids'/],
  [{ experiment_ids: [0] }, /for parameter 'experiment_ids\[0\]'/],
  [{ filter: "nothing = 1" }, /^Invalid attribute key 'nothing'/],
  [{ filter: "metrics.a > 'x'" }, /^Expected numeric value type for metric/],
  [{ filter: "name = 'a' OR name = 'b'" }, /^Invalid clause/],
  [{ order_by: [{ field_name: "nothing" }] }, /^Invalid order by field name: nothing/],
  [{ order_by: [{ field_name: "params.a" }] }, /Only metrics are supported/],
  [{ order_by: [{}] }, /^Invalid order by field name/],
  [{ order_by: ["name"] }, /for parameter 'order_by\[0\]'/],
  [{ datasets: [{}] }, /^`dataset_name` in the `datasets` clause/],
  [{ max_results: -1 }, /^Invalid value for max_results/],
  [{ max_results: "many" }, /for parameter 'max_results'/],
  [{ page_token: "made up" }, /^Invalid page token/],
])("a search for %j is refused", async ([more, message]) => {
  expect(await search("0", more)).toMatchObject(
    refusal("INVALID_PARAMETER_VALUE", expect.stringMatching(message)),
  );
});

test("a deleted model is found no more, but by those who allow it", async () => {
  const experiment = await newExperiment("deleted");
  const id = await newModel(experiment, { name: "gone" });
  await mlflow("DELETE", `${base}/${id}`);
  expect((await mlflow("GET", `${base}/${id}`)).status).toBe(404);
  expect((await mlflow("GET", `${base}/${id}`, { allow_deleted: true })).status).toBe(200);
  expect(await namesOf(experiment)).toEqual([]);
});

test("files of a model are listed where they lie", async () => {
  const id = await newModel("0");
  const store = `http://127.0.0.1/api/2.0/mlflow-artifacts/artifacts/0/models/${id}/artifacts`;
  const { exports } = await import("cloudflare:workers");
  for (const path of ["MLmodel", "data/weights.bin"])
    await exports.default.fetch(`${store}/${path}`, { method: "PUT", body: "x" });
  const list = (folder?: string) =>
    mlflow(
      "GET",
      `${base}/${id}/artifacts/directories`,
      folder ? { artifact_directory_path: folder } : {},
    );
  expect((await list()).json).toEqual({
    root_uri: `mlflow-artifacts:/0/models/${id}/artifacts`,
    files: [
      { path: "MLmodel", is_dir: false, file_size: 1 },
      { path: "data", is_dir: true },
    ],
  });
  expect((await list("data")).json.files).toEqual([
    { path: "data/weights.bin", is_dir: false, file_size: 1 },
  ]);
  expect((await list("../..")).status).toBe(400);
});

test("every change writes one event", async () => {
  const after = (await selectEvents(env.DB, { limit: 100_000 })).at(-1)!.no;
  const id = await newModel("0");
  await mlflow("PATCH", `${base}/${id}/tags`, { tags: [{ key: "a", value: "1" }] });
  await mlflow("PATCH", `${base}/${id}/tags`, { tags: [{ key: "a", value: "1" }] });
  await mlflow("POST", `${base}/${id}/params`, { params: [{ key: "p", value: "1" }] });
  await mlflow("POST", `${base}/${id}/params`, { params: [{ key: "p", value: "1" }] });
  await mlflow("PATCH", `${base}/${id}`, { status: "LOGGED_MODEL_READY" });
  await mlflow("DELETE", `${base}/${id}`);
  await mlflow("DELETE", `${base}/${id}`);
  expect(
    (await selectEvents(env.DB, { after })).map(({ what, subject }) => [what, subject === id]),
  ).toEqual([
    ["logged-model.create", true],
    ["logged-model.tag", true],
    ["logged-model.params", true],
    ["logged-model.finish", true],
    ["logged-model.delete", true],
  ]);
});
