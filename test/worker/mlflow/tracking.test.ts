import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { compactRun, forgetReceipts } from "../../../worker/db/compact.ts";
import { ask, freshStores, startRun as startNative } from "../worker.ts";
import { fromList, getRun, log, mlflow, startRun } from "./door.ts";

freshStores();

const history = async (run: string, key: string, more = "") =>
  (await mlflow("GET", `/2.0/mlflow/metrics/get-history?run_id=${run}&metric_key=${key}${more}`))
    .json;
const invalid = (message: RegExp | string) => ({
  status: 400,
  json: {
    error_code: "INVALID_PARAMETER_VALUE",
    message: typeof message === "string" ? message : expect.stringMatching(message),
  },
});

test("whole numbers come as text from Java and R, and go as numbers", async () => {
  const run = await startRun({ start_time: "1760000000123" });
  await mlflow("POST", "/2.0/mlflow/runs/log-metric", {
    runId: run,
    key: "m",
    value: "0.5",
    timestamp: "1760000000456",
    step: "-7",
  });
  await log(run, {
    metrics: [{ key: "m", value: "Infinity", timestamp: 1760000000457, step: "9007199254740991" }],
  });
  expect((await getRun(run)).info.start_time).toBe(1760000000123);
  expect(await history(run, "m")).toEqual({
    metrics: [
      { key: "m", value: 0.5, timestamp: 1760000000456, step: -7 },
      { key: "m", value: "Infinity", timestamp: 1760000000457, step: 9007199254740991 },
    ],
  });
  const beyond = { key: "m", value: 1, timestamp: 1, step: "9007199254740993" };
  expect(await log(run, { metrics: [beyond] })).toMatchObject(invalid(/metrics\[0\]\.step.*2\^53/));
});

test("params that are numbers are numbers here, and keep their digits there", async () => {
  const numbers = ["1e-05", "1.0", "0.10", "-3", "-0", "12345678901234567890", "1E+2"];
  const texts = [
    "1e999",
    "01",
    "0x10",
    "NaN",
    " 1",
    "1.",
    ".5",
    "+1",
    "true",
    "null",
    "",
    "[1]",
    '"',
    "日本",
    "{}",
  ];
  const values = [...numbers, ...texts];
  const run = await startRun();
  await log(run, { params: values.map((value, i) => ({ key: `p${i}`, value })) });
  const shown = async () => fromList((await getRun(run)).data.params);
  const wanted = Object.fromEntries(values.map((value, i) => [`p${i}`, value]));
  expect(await shown()).toEqual(wanted);
  const { params } = (await ask("GET", `/runs/${run}`)).json;
  expect(numbers.map((_, i) => params[`p${i}`])).toEqual(numbers.map(Number));
  expect(texts.map((_, i) => typeof params[`p${numbers.length + i}`])).toEqual(
    texts.map(() => "string"),
  );
  await ask("PATCH", `/runs/${run}`, {
    params: { native: 0.5, nothing: null, yes: true },
    tags: { a: "b" },
  });
  expect(await shown()).toEqual({ ...wanted, native: "0.5", nothing: "null", yes: "true" });
});

test("any text is a param, and comes back as it was", async () => {
  const run = await startRun();
  let n = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          fc.string({ unit: "grapheme" }),
          fc.double().map(String),
          fc.integer().map(String),
          fc.json(),
        ),
        { maxLength: 20 },
      ),
      async (values) => {
        const params = values.map((value) => ({ key: `k${n++}`, value }));
        expect((await log(run, { params })).json).toEqual({});
        expect((await log(run, { params })).json).toEqual({});
        const found = fromList((await getRun(run)).data.params);
        expect(params.map(({ key }) => found[key])).toEqual(values);
      },
    ),
    { numRuns: 30 },
  );
});

test("a batch is stored whole or not at all", async () => {
  const run = await startRun();
  await log(run, { params: [{ key: "lr", value: "0.1" }] });
  const refusedBatch = {
    params: [
      { key: "new", value: "1" },
      { key: "lr", value: "0.10" },
    ],
    tags: [
      { key: "t", value: "x" },
      { key: "mlflow.runName", value: "other" },
    ],
    metrics: [{ key: "m", value: 1, timestamp: 1, step: 0 }],
  };
  expect(await log(run, refusedBatch)).toMatchObject(
    invalid(
      `Changing param values is not allowed. Params were already logged='[{'key': 'lr', 'old_value': '0.1', 'new_value': '0.10'}]' for run ID='${run}'.`,
    ),
  );
  const { data, info } = await getRun(run);
  expect([fromList(data.params), data.metrics, fromList(data.tags)["t"]]).toEqual([
    { lr: "0.1" },
    undefined,
    undefined,
  ]);
  expect(info.run_name).not.toBe("other");
  expect((await ask("GET", `/runs/${run}`)).json.points).toBe(0);
});

test("a request again is the same request, before and after its points are compacted", async () => {
  const run = await startRun();
  const batch = {
    params: [{ key: "lr", value: "0.1" }],
    tags: [{ key: "t", value: "x" }],
    metrics: Array.from({ length: 100 }, (_, step) => ({
      key: "m",
      value: step / 7,
      timestamp: step,
      step,
    })),
  };
  for (let i = 0; i < 3; i++) expect((await log(run, batch)).json).toEqual({});
  const row = () =>
    env.DB.prepare("SELECT no, points, tail, rev FROM runs WHERE id = ?")
      .bind(run)
      .first<{ no: number; points: number; tail: number; rev: number }>();
  const { no, ...before } = (await row())!;
  expect(before).toEqual({ points: 100, tail: 100, rev: 1 });
  await compactRun(env, no);
  expect((await log(run, batch)).json).toEqual({});
  expect(await row()).toMatchObject({ points: 100, tail: 0 });
  const receipts = async () =>
    (await env.DB.prepare("SELECT count(*) AS n FROM receipts WHERE run = ?")
      .bind(no)
      .first<{ n: number }>())!.n;
  await forgetReceipts(env.DB);
  expect(await receipts()).toBe(1);
  await forgetReceipts(env.DB, { grace: -1000 });
  expect(await receipts()).toBe(0);
});

test("a batch whose answer was lost, or that never came to the database, is sent again and stored once", async () => {
  const run = await startRun();
  const batch = {
    params: [{ key: "lr", value: "0.1" }],
    metrics: [{ key: "m", value: 1, timestamp: 1, step: 0 }],
    tags: [{ key: "t", value: "x" }],
  };
  const real = env.DB.batch.bind(env.DB);
  for (const isStored of [false, true]) {
    vi.spyOn(env.DB, "batch").mockImplementationOnce(async (statements) => {
      if (isStored) await real(statements);
      throw new Error("Network connection lost");
    });
    const { status, headers, json } = await log(run, batch);
    expect([status, headers.get("retry-after"), json.error_code]).toEqual([
      503,
      "2",
      "TEMPORARILY_UNAVAILABLE",
    ]);
  }
  vi.restoreAllMocks();
  expect((await log(run, batch)).json).toEqual({});
  const { json } = await ask("GET", `/runs/${run}`);
  expect(json).toMatchObject({ points: 1, params: { lr: 0.1 }, tags: { t: "x" } });
});

test("16 writers of one run at once: every param, tag and point is there", async () => {
  const run = await startRun();
  await Promise.all(
    Array.from({ length: 16 }, (_, writer) =>
      log(run, {
        params: [{ key: `p${writer}`, value: String(writer) }],
        tags: [{ key: `t${writer}`, value: "x" }],
        metrics: Array.from({ length: 20 }, (_, i) => ({
          key: "m",
          value: writer,
          timestamp: writer,
          step: writer * 20 + i,
        })),
      }),
    ),
  );
  const { params, tags, metrics } = (await getRun(run)).data;
  expect([
    params.length,
    tags.filter(({ key }: { key: string }) => /^t\d/.test(key)).length,
  ]).toEqual([16, 16]);
  expect(metrics).toEqual([{ key: "m", value: 15, timestamp: 15, step: 319 }]);
  expect((await ask("GET", `/runs/${run}`)).json.metrics.m.count).toBe(320);
});

test("a run that ended takes points by the door alone, and can go on; a deleted one takes nothing", async () => {
  const run = await startRun();
  const update = (body: object) =>
    mlflow("POST", "/2.0/mlflow/runs/update", { run_id: run, ...body });
  expect(
    (await update({ status: "FINISHED", end_time: 1760000005000 })).json.run_info,
  ).toMatchObject({ status: "FINISHED", end_time: 1760000005000 });
  expect((await log(run, { metrics: [{ key: "m", value: 1, timestamp: 1 }] })).json).toEqual({});
  const native = await ask("POST", `/runs/${run}/points`, [{ key: "m", step: 1, value: 1 }]);
  expect(native).toMatchObject({
    status: 409,
    json: { message: `run is closed: ${run} (finished)` },
  });
  expect((await update({ status: 4 })).json.run_info).toMatchObject({
    status: "FAILED",
    end_time: 1760000005000,
  });
  const again = (await update({ status: "RUNNING" })).json.run_info;
  expect([again.status, again.end_time]).toEqual(["RUNNING", undefined]);
  await mlflow("POST", "/2.0/mlflow/runs/delete", { run_id: run });
  const deleted = invalid(
    `The run ${run} must be in the 'active' state. Current state is deleted.`,
  );
  for (const refusal of [
    log(run, { metrics: [{ key: "m", value: 1, timestamp: 1 }] }),
    log(run, { params: [{ key: "p", value: "1" }] }),
    log(run, { tags: [{ key: "t", value: "1" }] }),
    update({ status: "FINISHED" }),
    mlflow("POST", "/2.0/mlflow/runs/log-inputs", { run_id: run, models: [{ model_id: "m-1" }] }),
    mlflow("POST", "/2.0/mlflow/runs/delete-tag", { run_id: run, key: "t" }),
  ])
    expect(await refusal).toMatchObject(deleted);
});

test("name, note and parent are tags there and fields here, both ways", async () => {
  const parent = await startRun();
  const run = await startRun({
    tags: [
      { key: "mlflow.runName", value: "swift" },
      { key: "mlflow.note.content", value: "Why?" },
      { key: "mlflow.parentRunId", value: parent },
    ],
  });
  expect((await ask("GET", `/runs/${run}`)).json).toMatchObject({
    name: "swift",
    note: "Why?",
    parent,
    tags: {},
  });
  await ask("PATCH", `/runs/${run}`, { name: "slow", note: "Because." });
  expect(fromList((await getRun(run)).data.tags)).toEqual({
    "mlflow.runName": "slow",
    "mlflow.note.content": "Because.",
    "mlflow.parentRunId": parent,
  });
  for (const key of ["mlflow.note.content", "mlflow.parentRunId"])
    await mlflow("POST", "/2.0/mlflow/runs/delete-tag", { run_id: run, key });
  expect((await ask("GET", `/runs/${run}`)).json).toMatchObject({ note: "", parent: null });
  const set = (key: string, value: string) =>
    mlflow("POST", "/2.0/mlflow/runs/set-tag", { run_id: run, key, value });
  await set("mlflow.parentRunId", "not a run");
  expect((await ask("GET", `/runs/${run}`)).json).toMatchObject({
    parent: null,
    tags: { "mlflow.parentRunId": "not a run" },
  });
  await set("mlflow.parentRunId", parent);
  expect((await ask("GET", `/runs/${run}`)).json).toMatchObject({ parent, tags: {} });
});

test("runs of our own client are runs there", async () => {
  const run = await startNative({
    experiment: "native",
    name: "n",
    params: { lr: 1e-5, on: true },
    tags: { a: "b" },
  });
  await ask("POST", `/runs/${run}/points`, [{ key: "loss", step: 0.5, time: 5, value: "NaN" }]);
  const { info, data } = await getRun(run);
  expect(info).toMatchObject({ run_name: "n", status: "RUNNING", user_id: "unknown" });
  expect(data).toMatchObject({ metrics: [{ key: "loss", value: "NaN", timestamp: 5, step: 0.5 }] });
  expect(fromList(data.params)).toEqual({ lr: "0.00001", on: "true" });
  const { json } = await mlflow(
    "GET",
    "/2.0/mlflow/experiments/get-by-name?experiment_name=native",
  );
  expect(json.experiment.experiment_id).toBe(info.experiment_id);
});

test("the default experiment is there when it is asked for, here too, and its name may be another's", async () => {
  const run = await startRun();
  expect((await ask("GET", `/runs/${run}`)).json.experiment).toBe("0");
  expect((await ask("GET", "/experiments/0")).json).toMatchObject({ id: "0", name: "Default" });
  expect((await ask("GET", "/runs.json?experiment=0")).json.length).toBeGreaterThan(0);
  expect((await ask("POST", "/runs", { experiment: "0" })).json.experiment).toBe("0");
  expect((await ask("POST", "/experiments", { name: "0" })).status).toBe(400);
});

test("an experiment is deleted and restored with its runs, but for those deleted before", async () => {
  const { experiment_id } = (
    await mlflow("POST", "/2.0/mlflow/experiments/create", { name: "to go" })
  ).json;
  const [a, b] = [await startRun({ experiment_id }), await startRun({ experiment_id })];
  const stages = async () => [
    (await getRun(a)).info.lifecycle_stage,
    (await getRun(b)).info.lifecycle_stage,
  ];
  await mlflow("POST", "/2.0/mlflow/runs/delete", { run_id: a });
  await mlflow("POST", "/2.0/mlflow/experiments/delete", { experiment_id });
  expect(await stages()).toEqual(["deleted", "deleted"]);
  expect((await mlflow("POST", "/2.0/mlflow/experiments/delete", { experiment_id })).status).toBe(
    404,
  );
  await mlflow("POST", "/2.0/mlflow/experiments/restore", { experiment_id });
  expect(await stages()).toEqual(["deleted", "active"]);
});

test.each([
  "file:///etc/",
  "/etc",
  "C:\\x",
  "runs:/abc",
  "dbfs:/x",
  "http:///#/../../etc/",
  "s3://b/?/../../x",
  "s3://b/;x",
  "mlflow-artifacts:/../x",
  "mlflow-artifacts:/%252e%252e/x",
  "s3://b/..%2fx",
  "s3://b/a\\..\\x",
  `s3://${"x".repeat(2050)}`,
])("files of an experiment cannot lie at %s", async (artifact_location) => {
  expect(
    await mlflow("POST", "/2.0/mlflow/experiments/create", {
      name: artifact_location.slice(0, 100),
      artifact_location,
    }),
  ).toMatchObject(invalid(/./));
});

test("a metric's history goes by time, page by page, each point once", async () => {
  const run = await startRun();
  const points = Array.from({ length: 500 }, (_, i) => ({
    key: "m",
    value: i % 7,
    timestamp: Math.floor(((i * 37) % 500) / 3),
    step: (i * 13) % 50,
  }));
  await log(run, { metrics: points });
  await log(run, { metrics: points.slice(0, 100) }); // points again, in another request
  const sorted = points.toSorted(
    (a, b) => a.timestamp - b.timestamp || a.step - b.step || a.value - b.value,
  );
  expect((await history(run, "m")).metrics).toEqual(sorted);
  const paged: unknown[] = [];
  for (let token = ""; ;) {
    const page = await history(run, "m", `&max_results=33${token && `&page_token=${token}`}`);
    paged.push(...page.metrics);
    if (!page.next_page_token) break;
    token = page.next_page_token;
  }
  expect(paged).toEqual(sorted);
  expect(await history(run, "none")).toEqual({});
});

test.each(["garbage", "e30", btoa('["a"]'), btoa("[1,2]"), btoa("[1e999,0,0]"), "W10"])(
  "the page token %s is made up",
  async (token) => {
    const run = await startRun();
    const path = `/2.0/mlflow/metrics/get-history?run_id=${run}&metric_key=m&page_token=${token}`;
    expect(await mlflow("GET", path)).toMatchObject(invalid(/^Invalid page token/));
  },
);

test("some points of runs, evenly, the first and the last of each among them", async () => {
  const [a, b] = [await startRun(), await startRun()];
  const series = (count: number) =>
    Array.from({ length: count }, (_, step) => ({ key: "m", value: step, timestamp: step, step }));
  await log(a, { metrics: series(1000) });
  await log(b, { metrics: series(3) });
  const ask = async (query: string) =>
    (
      await mlflow(
        "GET",
        `/2.0/mlflow/metrics/get-history-bulk-interval?run_ids=${a}&run_ids=${b}&metric_key=m${query}`,
      )
    ).json;
  const { metrics } = await ask("&max_results=11");
  expect(metrics.map(({ step }: any) => step)).toEqual([
    0, 100, 200, 300, 400, 500, 599, 699, 799, 899, 999, 0, 1, 2,
  ]);
  expect(metrics.map(({ run_id }: any) => run_id)).toEqual([...Array(11).fill(a), b, b, b]);
  expect((await ask("&start_step=1&end_step=2")).metrics).toHaveLength(4);
  expect((await ask("&start_step=1")).error_code).toBe("INVALID_PARAMETER_VALUE");
  expect((await ask("&max_results=0")).error_code).toBe("INVALID_PARAMETER_VALUE");
  const bulk = await mlflow(
    "GET",
    `/2.0/mlflow/metrics/get-history-bulk?run_id=${b}&run_id=${a}&metric_key=m&max_results=5`,
  );
  expect(bulk.json.metrics.map(({ run_id }: any) => run_id)).toEqual(
    Array(5).fill([a, b].sort()[0]),
  );
});

test("what runs read and made: a dataset stands as it was first described", async () => {
  const { experiment_id } = (
    await mlflow("POST", "/2.0/mlflow/experiments/create", { name: "data" })
  ).json;
  const [a, b] = [await startRun({ experiment_id }), await startRun({ experiment_id })];
  const input = (source: string, context: string) => ({
    tags: [{ key: "mlflow.data.context", value: context }],
    dataset: { name: "digits", digest: "d1", source_type: "s3", source, schema: "{}" },
  });
  const inputs = (run: string, body: object) =>
    mlflow("POST", "/2.0/mlflow/runs/log-inputs", { run_id: run, ...body });
  await inputs(a, { datasets: [input("s3://one", "train")], models: [{ model_id: "m-1" }] });
  await inputs(b, { datasets: [input("s3://two", "test")] });
  await inputs(b, { datasets: [input("s3://three", "again")] });
  await mlflow("POST", "/2.0/mlflow/runs/outputs", {
    run_id: a,
    models: [{ model_id: "m-2", step: "3" }],
  });
  const run = await getRun(a);
  expect(run.inputs).toEqual({
    dataset_inputs: [
      {
        tags: [{ key: "mlflow.data.context", value: "train" }],
        dataset: {
          name: "digits",
          digest: "d1",
          source_type: "s3",
          source: "s3://one",
          schema: "{}",
        },
      },
    ],
    model_inputs: [{ model_id: "m-1" }],
  });
  expect((await ask("GET", `/runs/${a}/datasets`)).json).toEqual([
    {
      name: "digits",
      digest: "d1",
      type: "s3",
      source: "s3://one",
      schema: "{}",
      profile: "",
      tags: { "mlflow.data.context": "train" },
    },
  ]);
  expect((await ask("GET", `/runs/${"0".repeat(32)}/datasets`)).status).toBe(404);
  expect(run.outputs).toEqual({ model_outputs: [{ model_id: "m-2", step: 3 }] });
  expect((await getRun(b)).inputs.dataset_inputs).toMatchObject([
    { tags: [{ value: "test" }], dataset: { source: "s3://one" } },
  ]);
  const found = await mlflow("POST", "/2.0/mlflow/experiments/search-datasets", {
    experiment_ids: [experiment_id],
  });
  expect(found.json.dataset_summaries).toEqual(
    expect.arrayContaining([
      { experiment_id, name: "digits", digest: "d1", context: "train" },
      { experiment_id, name: "digits", digest: "d1", context: "test" },
    ]),
  );
  expect(
    await inputs(a, {
      datasets: [{ dataset: { name: "x", digest: "d".repeat(37), source_type: "a", source: "b" } }],
    }),
  ).toMatchObject(invalid("'digest' exceeds the maximum length of 36 characters"));
});

test("models among a run's files are noted once each, several at once too", async () => {
  const run = await startRun();
  const model = (path: string) =>
    JSON.stringify({
      artifact_path: path,
      flavors: { sklearn: { code: null, config: "x" } },
      utc_time_created: "now",
      run_id: run,
    });
  const note = (path: string) =>
    mlflow("POST", "/2.0/mlflow/runs/log-model", { run_id: run, model_json: model(path) });
  await Promise.all(["a", "b", "c", "a"].map(note));
  const noted = JSON.parse(fromList((await getRun(run)).data.tags)["mlflow.log-model.history"]);
  expect(noted.map((it: any) => it.artifact_path).sort()).toEqual(["a", "b", "c"]);
  expect(noted[0].flavors).toEqual({ sklearn: { code: null } });
  expect(
    await mlflow("POST", "/2.0/mlflow/runs/log-model", { run_id: run, model_json: "{}" }),
  ).toMatchObject(invalid(/missing mandatory fields: \{'artifact_path'/));
});

test.each<[string, string, object]>([
  ["a key with a comma", "/runs/log-metric", { key: "a,b", value: 1, timestamp: 1 }],
  ["a key of spaces", "/runs/log-metric", { key: "  ", value: 1, timestamp: 1 }],
  ["a key that leads up", "/runs/log-parameter", { key: "../up", value: "1" }],
  ["a time before 1970", "/runs/log-metric", { key: "a", value: 1, timestamp: -1 }],
  [
    "a time in microseconds far ahead",
    "/runs/log-metric",
    { key: "a", value: 1, timestamp: 1760000000000000 },
  ],
  ["a tag that is a list", "/runs/set-tag", { key: "a", value: [1] }],
  ["a batch that is no list", "/runs/log-batch", { metrics: { key: "a" } }],
  ["a point without a value", "/runs/log-batch", { metrics: [{ key: "a", timestamp: 1 }] }],
  ["a lone surrogate", "/runs/set-tag", { key: "a", value: "\ud800" }],
])("%s is refused", async (_, path, body) => {
  const run = await startRun();
  expect(await mlflow("POST", `/2.0/mlflow${path}`, { run_id: run, ...body })).toMatchObject(
    invalid(/./),
  );
});

test("a body beyond 16 MB is refused, whatever is in it", async () => {
  const run = await startRun();
  const { status, json } = await log(run, { tags: [{ key: "a", value: "x".repeat(16_000_000) }] });
  expect([status, json.error_code]).toEqual([413, "INVALID_PARAMETER_VALUE"]);
});
