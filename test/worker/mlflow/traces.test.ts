import { env, exports } from "cloudflare:workers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { selectEvents } from "../../../worker/db/events.ts";
import { collectObjects } from "../../../worker/db/objects.ts";
import type { OtelAttribute, OtelSpan } from "../../../wire/otlp.ts";
import { otlpFromSpans } from "../../wire/otlp-encode.ts";
import { ask, freshStores } from "../worker.ts";
import { mlflow, newExperiment, newRun, refusal } from "./client.ts";

freshStores();

const v3 = "/3.0/mlflow/traces";

let count = 0;
const newTraceId = () => (++count).toString(16).padStart(32, "0");

const text = (key: string, value: string): OtelAttribute => ({
  key,
  value: { string_value: value },
});

const span = (trace: string, more: Partial<OtelSpan> = {}): OtelSpan => ({
  trace,
  id: "00000000000000a1",
  parent: null,
  name: "root",
  kind: 0,
  start: 1_795_433_480_321_193_766n,
  end: 1_795_433_480_365_220_145n,
  attributes: [text("mlflow.spanType", "CHAIN")],
  events: [],
  links: [],
  status: { code: 1, message: "" },
  resource: [],
  ...more,
});

async function sendSpans(
  experiment: string,
  spans: OtelSpan[],
  headers: Record<string, string> = {},
) {
  const response = await exports.default.fetch("http://127.0.0.1/v1/traces", {
    method: "POST",
    headers: {
      "content-type": "application/x-protobuf",
      "x-mlflow-experiment-id": experiment,
      ...headers,
    },
    body: otlpFromSpans(spans),
  });
  return { status: response.status, text: await response.text() };
}

const info = (experiment: string, trace: string, more: object = {}) => ({
  trace: {
    trace_info: {
      trace_id: `tr-${trace}`,
      trace_location: {
        type: "MLFLOW_EXPERIMENT",
        mlflow_experiment: { experiment_id: experiment },
      },
      request_time: "2026-11-23T11:31:20.321Z",
      execution_duration: "0.044s",
      state: "OK",
      ...more,
    },
  },
});

const tell = (experiment: string, trace: string, more: object = {}) =>
  mlflow("POST", v3, info(experiment, trace, more));

const find = async (experiment: string, filter?: string, more: object = {}) => {
  const { json } = await mlflow("POST", `${v3}/search`, {
    locations: [{ mlflow_experiment: { experiment_id: experiment } }],
    ...(filter === undefined ? {} : { filter }),
    ...more,
  });
  return json.traces?.map((trace: any) => trace.trace_id.slice(3)) ?? json.message ?? [];
};

test.for<[object, RegExp, number?]>([
  [{}, /^Missing value for required parameter 'trace'/],
  [{ trace: {} }, /^Missing value for required parameter 'trace.trace_info'/],
  [{ trace: { trace_info: {} } }, /'trace.trace_info.trace_id'/],
  [info("0", "x/../y"), /^Invalid trace ID/],
  [info("0", "a".repeat(200)), /^Invalid trace ID/],
  [info("99", "a"), /^No Experiment with id=99/, 404],
  [info("0", "a", { request_time: "yesterday" }), /for parameter 'trace.trace_info.request_time'/],
  [info("0", "a", { request_time: 5 }), /for parameter 'trace.trace_info.request_time'/],
  [
    info("0", "a", { execution_duration: 5 }),
    /for parameter 'trace.trace_info.execution_duration'/,
  ],
  [
    info("0", "a", { execution_duration: "5" }),
    /for parameter 'trace.trace_info.execution_duration'/,
  ],
  [info("0", "a", { tags: { a: 1 } }), /for parameter 'trace.trace_info.tags\[a\]'/],
  [info("0", "a", { tags: { "mlflow.traceName": "n".repeat(4097) } }), /^'Trace name' exceeds/],
  [
    info("0", "a", {
      tags: Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`t${i}`, "x".repeat(8000)])),
    }),
    /too large/,
  ],
])("a trace told as %j is refused", async ([fields, message, status = 400]) => {
  expect(await mlflow("POST", v3, fields as Record<string, unknown>)).toMatchObject({
    status,
    json: { message: expect.stringMatching(message) },
  });
});

test("what is told of a trace is told again, times in protobuf's spelling", async () => {
  for (const [request_time, execution_duration, time, duration] of [
    ["2026-11-23T11:31:20.321Z", "0.044s", "2026-11-23T11:31:20.321Z", "0.044s"],
    ["2026-11-23T12:31:20+01:00", "0s", "2026-11-23T11:31:20Z", "0s"],
    ["2026-11-23T11:31:20.3219999Z", "1.5s", "2026-11-23T11:31:20.321Z", "1.500s"],
    ["1970-01-01T00:00:00Z", "86400s", "1970-01-01T00:00:00Z", "86400s"],
  ]) {
    const trace = newTraceId();
    const { json } = await tell("0", trace, { request_time, execution_duration });
    expect(json.trace.trace_info).toMatchObject({
      request_time: time,
      execution_duration: duration,
      tags: { "mlflow.artifactLocation": `mlflow-artifacts:/0/traces/tr-${trace}/artifacts` },
    });
    expect((await mlflow("GET", `${v3}/tr-${trace}`)).json).toEqual(json);
  }
});

test("long tags and metadata are cut, names that JavaScript knows are kept", async () => {
  const trace = newTraceId();
  const { json } = await tell("0", trace, {
    tags: { long: "é".repeat(9000), constructor: "c" },
    trace_metadata: { long: "m".repeat(9000), toString: "t" },
  });
  expect(json.trace.trace_info.tags.long).toHaveLength(4096);
  expect(json.trace.trace_info.trace_metadata.long).toHaveLength(250);
  expect(json.trace.trace_info.tags.constructor).toBe("c");
  expect(json.trace.trace_info.trace_metadata.toString).toBe("t");
});

test("spans come back with every digit, the whole's first, then by their start", async () => {
  const trace = newTraceId();
  const attributes = [
    text("mlflow.traceRequestId", "tr-forged"),
    { key: "big", value: { int_value: 2n ** 62n + 1n } },
    { key: "mlflow.spanOutputs", value: { array_value: { values: [{ double_value: 0.5 }] } } },
  ];
  const child = (i: number) =>
    span(trace, {
      id: `00000000000000c${i}`,
      parent: "00000000000000a1",
      name: `c${i}`,
      start: 10n ** 18n + BigInt(i),
    });
  expect(await sendSpans("0", [child(2), child(1)])).toEqual({ status: 200, text: "" });
  expect(await sendSpans("0", [span(trace, { attributes }), child(3)])).toMatchObject({
    status: 200,
  });
  const { text: found } = await mlflow("GET", `${v3}/get`, { trace_id: `tr-${trace}` });
  expect(found).toContain('"start_time_unix_nano":1795433480321193766');
  expect(found).toContain('{"int_value":4611686018427387905}');
  const { spans, trace_info } = JSON.parse(found).trace;
  expect(spans.map((s: any) => s.name)).toEqual(["root", "c1", "c2", "c3"]);
  expect(spans[0].attributes[0]).toEqual(text("mlflow.traceRequestId", `tr-${trace}`));
  expect(trace_info.tags["mlflow.trace.spansLocation"]).toBe("TRACKING_STORE");
});

test("a trace whose spans are all that is known is inferred from them", async () => {
  const trace = newTraceId();
  const root = span(trace, {
    attributes: [
      { key: "mlflow.spanInputs", value: { kvlist_value: { values: [text("q", "hi")] } } },
      text("mlflow.spanOutputs", "y".repeat(2000)),
      text("mlflow.traceTag.team", "vision"),
      text("mlflow.traceTag.mlflow.traceName", "asked"),
      text("session.id", "s1"),
      text("user.id", "ana"),
    ],
    resource: [
      text("service.name", "shop"),
      text("telemetry.sdk.name", "x"),
      text("mlflow.x", "y"),
    ],
    status: { code: 2, message: "down" },
  });
  await sendSpans("0", [
    span(trace, {
      id: "00000000000000a2",
      parent: "00000000000000a1",
      start: 1_795_433_480_300_000_000n,
    }),
  ]);
  const partial = await mlflow("GET", `${v3}/tr-${trace}`);
  expect(partial.json.trace.trace_info.state).toBe("IN_PROGRESS");
  await sendSpans("0", [root]);
  const { json } = await mlflow("GET", `${v3}/tr-${trace}`);
  expect(json.trace.trace_info).toMatchObject({
    state: "ERROR",
    request_time: "2026-11-23T11:31:20.300Z",
    execution_duration: "0.065s",
    request_preview: '{"q":"hi"}',
    tags: { team: "vision", "service.name": "shop", "mlflow.traceName": "asked" },
    trace_metadata: { "mlflow.trace.session": "s1", "mlflow.trace.user": "ana" },
  });
  expect(json.trace.trace_info.response_preview).toHaveLength(1000);
  expect(Object.keys(json.trace.trace_info.tags)).not.toContain("mlflow.x");
});

test("whichever comes first, spans or what is told, the trace is the same", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        state: fc.constantFrom("OK", "ERROR", "IN_PROGRESS"),
        request_preview: fc.option(fc.string({ maxLength: 5 }), { nil: undefined }),
        tags: fc.dictionary(fc.constantFrom("a", "b"), fc.string({ maxLength: 3 })),
        trace_metadata: fc.dictionary(
          fc.constantFrom("a", "mlflow.trace.session"),
          fc.string({ minLength: 1, maxLength: 3 }),
        ),
      }),
      fc.boolean(),
      async (told, hasSession) => {
        const [first, second] = [newTraceId(), newTraceId()];
        const spans = (trace: string) => [
          span(trace, {
            attributes: [
              text("mlflow.spanInputs", "in"),
              ...(hasSession ? [text("session.id", "s")] : []),
            ],
          }),
        ];
        await tell("0", first, told);
        await sendSpans("0", spans(first));
        await sendSpans("0", spans(second));
        await tell("0", second, told);
        const read = async (trace: string) => {
          const { text } = await mlflow("GET", `${v3}/get`, { trace_id: `tr-${trace}` });
          return JSON.parse(text.replaceAll(trace, ""), (name, value) =>
            name === "trace_id" ? undefined : value,
          );
        };
        const [a, b] = [await read(first), await read(second)];
        // A run that goes on is ended by its last span, unless it is told to go on after it.
        if (told.state === "IN_PROGRESS") a.trace.trace_info.state = b.trace.trace_info.state;
        expect(a).toEqual(b);
      },
    ),
    { numRuns: 25 },
  );
}, 60_000);

test("spans sent again change nothing, and one that is sent anew stands in the place of the old", async () => {
  const trace = newTraceId();
  for (let i = 0; i < 3; i++) await sendSpans("0", [span(trace)]);
  await sendSpans("0", [span(trace, { name: "renamed" })]);
  const { json } = await mlflow("GET", `${v3}/get`, { trace_id: `tr-${trace}` });
  expect(json.trace.spans.map((s: any) => s.name)).toEqual(["renamed"]);
  const rows = await env.DB.prepare("SELECT count(*) AS n FROM spans WHERE trace = ?")
    .bind(`tr-${trace}`)
    .first();
  expect(rows).toEqual({ n: 2 });
});

test("spans too large for a row are an object, found and collected as the others are", async () => {
  const experiment = await newExperiment("large");
  const trace = newTraceId();
  const large = span(trace, { attributes: [text("large", "x".repeat(3_000_000))] });
  const objects = async () => (await env.FILES.list({ prefix: "spans/" })).objects.length;
  await sendSpans(experiment, [large]);
  await sendSpans(experiment, [large]);
  expect(await objects()).toBe(1);
  const { json } = await mlflow("GET", `${v3}/get`, { trace_id: `tr-${trace}` });
  expect(json.trace.spans[0].attributes[1].value.string_value).toHaveLength(3_000_000);
  expect(await find(experiment, "span.name = 'root'")).toEqual([trace]);
  await env.FILES.put("spans/default/orphan", "x");
  expect(await collectObjects(env, { grace: -1 })).toBe(1);
  expect(await objects()).toBe(1);
  await mlflow("POST", "/2.0/mlflow/traces/delete-traces", {
    experiment_id: experiment,
    request_ids: [`tr-${trace}`],
  });
  await collectObjects(env, { grace: -1 });
  expect(await objects()).toBe(0);
});

test.for<[Record<string, string>, string, number, RegExp]>([
  [{ "x-mlflow-experiment-id": "" }, "", 400, /^Missing header: x-mlflow-experiment-id/],
  [{ "x-mlflow-experiment-id": "99" }, "\n\0", 400, /no spans found/],
  [{ "x-mlflow-experiment-id": "x" }, "", 400, /no spans found/],
  [{ "content-type": "text/plain" }, "{}", 400, /^Invalid Content-Type: text\/plain/],
  [{ "content-type": "application/json" }, "{}", 400, /no spans found/],
  [{ "content-type": "application/json" }, "{", 400, /^malformed JSON/],
  [{ "content-type": "application/json" }, '{"resourceSpans": 1}', 400, /invalid resourceSpans: 1/],
  [{}, "", 400, /no spans found/],
  [{}, "no protobuf", 400, /^Invalid OpenTelemetry format/],
  [{ "content-encoding": "gzip" }, "no gzip", 400, /^malformed gzip/],
  [{ "content-encoding": "br" }, "x", 415, /^invalid content-encoding: br/],
])("spans sent with %j and %j are refused", async ([headers, body, status, message]) => {
  const response = await exports.default.fetch("http://127.0.0.1/v1/traces", {
    method: "POST",
    headers: {
      "content-type": "application/x-protobuf",
      "x-mlflow-experiment-id": "0",
      ...headers,
    },
    body,
  });
  expect([response.status, await response.json()]).toMatchObject([
    status,
    { message: expect.stringMatching(message) },
  ]);
});

test("spans come in JSON, too", async () => {
  const trace = newTraceId();
  const response = await exports.default.fetch("http://127.0.0.1/v1/traces", {
    method: "POST",
    headers: { "content-type": "application/json; charset=utf-8", "x-mlflow-experiment-id": "0" },
    body: JSON.stringify({
      resourceSpans: [
        {
          resource: { attributes: [{ key: "service.name", value: { stringValue: "shop" } }] },
          scopeSpans: [
            {
              spans: [
                {
                  traceId: trace,
                  spanId: "00000000000000A1",
                  name: "root",
                  startTimeUnixNano: "1795433480321193766",
                  endTimeUnixNano: "1795433480365220145",
                  attributes: [{ key: "big", value: { intValue: "4611686018427387905" } }],
                  status: { code: 1 },
                },
              ],
            },
          ],
        },
      ],
    }),
  });
  expect([response.status, await response.text()]).toEqual([200, "{}"]);
  const { text: found, json } = await mlflow("GET", `${v3}/get`, { trace_id: `tr-${trace}` });
  expect(found).toContain('{"int_value":4611686018427387905}');
  expect(found).toContain('"start_time_unix_nano":1795433480321193766');
  expect(json.trace.trace_info.tags["service.name"]).toBe("shop");
});

test("spans come compressed, too, and only into experiments that are there", async () => {
  const trace = newTraceId();
  const stream = new Blob([otlpFromSpans([span(trace)])]).stream();
  const body = await new Response(stream.pipeThrough(new CompressionStream("gzip"))).arrayBuffer();
  const response = await exports.default.fetch("http://127.0.0.1/v1/traces", {
    method: "POST",
    headers: {
      "content-type": "application/x-protobuf",
      "content-encoding": "gzip",
      "x-mlflow-experiment-id": "0",
    },
    body,
  });
  expect(response.status).toBe(200);
  expect((await mlflow("GET", `${v3}/tr-${trace}`)).status).toBe(200);
  expect((await sendSpans("99", [span(newTraceId())])).status).toBe(404);
});

test("a trace that lacks spans is given in part to those who take that, and to others not", async () => {
  const trace = newTraceId();
  await tell("0", trace, { trace_metadata: { "mlflow.trace.sizeStats": '{"num_spans": 2}' } });
  const get = (more: object = {}) =>
    mlflow("GET", `${v3}/get`, { trace_id: `tr-${trace}`, ...more });
  expect(await get()).toMatchObject(
    refusal("BAD_REQUEST", "Trace data not stored in tracking store"),
  );
  await sendSpans("0", [span(trace)]);
  expect(await get()).toMatchObject(
    refusal("RESOURCE_DOES_NOT_EXIST", expect.stringContaining("not fully exported yet"), 404),
  );
  expect((await get({ allow_partial: "True" })).json.trace.spans).toHaveLength(1);
  expect((await mlflow("GET", `${v3}/batchGet`, { trace_ids: [`tr-${trace}`] })).json).toEqual({});
  const waiting = get();
  await sendSpans("0", [span(trace, { id: "00000000000000a2", parent: "00000000000000a1" })]);
  expect((await waiting).json.trace.spans).toHaveLength(2);
  const [a, b] = [newTraceId(), newTraceId()];
  for (const id of [a, b]) await sendSpans("0", [span(id)]);
  const many = await mlflow("GET", `${v3}/batchGet`, {
    trace_ids: [`tr-${b}`, "tr-none", `tr-${a}`, `tr-${b}`],
  });
  expect(many.json.traces.map((it: any) => it.trace_info.trace_id)).toEqual([`tr-${b}`, `tr-${a}`]);
  const infos = await mlflow("POST", `${v3}/batchGetInfos`, {
    trace_ids: [`tr-${a}`],
    experiment_ids: ["7"],
  });
  expect(infos.json).toEqual({});
  expect((await mlflow("GET", `${v3}/batchGet`)).status).toBe(400);
});

test("a search filters by everything that a trace has", async () => {
  const experiment = await newExperiment("search");
  const run = await newRun(experiment);
  const [a, b, c] = [newTraceId(), newTraceId(), newTraceId()];
  await tell(experiment, a, {
    request_time: "2026-01-01T00:00:00Z",
    execution_duration: "1s",
    tags: { "mlflow.traceName": "ask", lang: "en" },
    client_request_id: "c1",
  });
  await tell(experiment, b, {
    request_time: "2026-01-02T00:00:00Z",
    execution_duration: "2s",
    state: "ERROR",
    trace_metadata: { "mlflow.sourceRun": run.id, m: "1" },
  });
  await tell(experiment, c, {
    request_time: "2026-01-03T00:00:00Z",
    execution_duration: undefined,
    state: "IN_PROGRESS",
  });
  await sendSpans(experiment, [
    span(a, {
      name: "retrieve",
      attributes: [text("mlflow.spanType", "RETRIEVER"), text("model", "gpt")],
    }),
    span(a, {
      id: "00000000000000a2",
      name: "generate",
      status: { code: 2, message: "" },
      attributes: [text("mlflow.spanType", "LLM")],
    }),
  ]);
  await mlflow("POST", "/2.0/mlflow/traces/link-prompts", {
    trace_id: `tr-${c}`,
    prompt_versions: [{ name: "greet", version: "1" }],
  });
  await mlflow("POST", "/2.0/mlflow/traces/link-to-run", {
    trace_ids: [`tr-${a}`],
    run_id: run.id,
  });
  for (const [name, value] of [
    ["score", 0.5],
    ["right", true],
    ["word", "yes"],
    ["list", [1]],
  ] as const)
    await mlflow("POST", `${v3}/tr-${a}/assessments`, {
      assessment: { assessment_name: name, feedback: { value }, valid: true },
    });
  await mlflow("POST", `${v3}/tr-${b}/assessments`, {
    assessment: { assessment_name: "expected", expectation: { value: "yes" } },
  });
  for (const [filter, found] of [
    [undefined, [c, b, a]],
    ["", [c, b, a]],
    ["status = 'OK'", [a]],
    ["status IN ('OK', 'ERROR')", [b, a]],
    ["status != 'OK'", [c, b]],
    ["trace.status = 'IN_PROGRESS'", [c]],
    ["timestamp_ms > 1767225600000", [c, b]],
    ["timestamp >= 1767225600000 AND attributes.timestamp_ms < 1767312000000", [a]],
    ["execution_time_ms > 1000", [b]],
    ["execution_time <= 2000", [b, a]],
    ["end_time > 1767312001000", [b]],
    [`request_id = 'tr-${a}'`, [a]],
    [`trace.request_id IN ('tr-${a}', 'tr-${b}')`, [b, a]],
    ["client_request_id = 'c1'", [a]],
    ["name = 'ask'", [a]],
    ["name LIKE 'a%'", [a]],
    ["name RLIKE '^as'", [a]],
    ["tags.`mlflow.traceName` = 'ask'", [a]],
    ["tags.lang = 'en'", [a]],
    ["tags.lang IS NULL", [c, b]],
    ["tags.lang IS NOT NULL", [a]],
    ["metadata.m = '1'", [b]],
    ["request_metadata.m IS NULL", [c, a]],
    [`run_id = '${run.id}'`, [b, a]],
    [`run_id IN ('${run.id}')`, [b, a]],
    ["prompt = 'greet/1'", [c]],
    ["prompt = 'greet/2'", []],
    ["span.name = 'retrieve'", [a]],
    ["span.name = 'retrieve' AND span.type = 'RETRIEVER'", [a]],
    ["span.name = 'retrieve' AND span.type = 'LLM'", []],
    ["span.status = 'ERROR'", [a]],
    ["span.attributes.model LIKE '%gpt%'", [a]],
    ["span.attributes.model LIKE '%claude%'", []],
    ["span.content LIKE '%RETRIEVER%'", [a]],
    ["trace.text LIKE '%gpt%'", [a]],
    ["feedback.score > 0.4", [a]],
    ["feedback.score > 0.5", []],
    ["feedback.right = 'true'", [a]],
    ["feedback.word = 'yes'", [a]],
    ["feedback.word IS NULL", [c, b]],
    ["feedback.list IS NOT NULL", [a]],
    ["expectation.expected = 'yes'", [b]],
    ["feedback.expected = 'yes'", []],
  ] as const)
    expect([filter, await find(experiment, filter)]).toEqual([filter, found]);
  for (const [order_by, found] of [
    [["timestamp_ms ASC"], [a, b, c]],
    [["execution_time_ms DESC"], [b, a, c]],
    [["execution_time_ms ASC"], [a, b, c]],
    [["status ASC"], [b, c, a]],
    [["name"], [a, c, b]],
    [
      ["tags.lang", "timestamp_ms"],
      [a, b, c],
    ],
    [["metadata.m DESC"], [b, c, a]],
    [["request_id DESC"], [a, b, c].sort().toReversed()],
  ] as const)
    expect([order_by, await find(experiment, undefined, { order_by })]).toEqual([order_by, found]);
  const pages: string[][] = [];
  for (let page_token = ""; ;) {
    const { json } = await mlflow("POST", `${v3}/search`, {
      locations: [{ mlflow_experiment: { experiment_id: experiment } }],
      order_by: ["execution_time_ms DESC"],
      max_results: 1,
      page_token,
    });
    pages.push(json.traces.map((trace: any) => trace.trace_id.slice(3)));
    page_token = json.next_page_token ?? "";
    if (!page_token) break;
  }
  expect(pages).toEqual([[b], [a], [c]]);
});

test.for<[object, RegExp]>([
  [{ locations: [] }, /^Missing value for required parameter 'locations'/],
  [{ locations: "0" }, /for parameter 'locations'/],
  [{ locations: [{ mlflow_experiment: {} }] }, /'locations\[0\].mlflow_experiment.experiment_id'/],
  [
    { max_results: 0 },
    /^Invalid value 0 for parameter 'max_results' supplied. It must be a positive/,
  ],
  [
    { max_results: 501 },
    /^Invalid value 501 for parameter 'max_results' supplied. It must be at most/,
  ],
  [{ filter: "nothing > 1" }, /^Invalid attribute key 'nothing'/],
  [{ filter: "status > 'OK'" }, /^Invalid comparator/],
  [{ filter: "x".repeat(100_001) }, /^Error on parsing filter/],
  [{ order_by: ["nothing"] }, /nothing/],
  [{ order_by: ["timestamp_ms", "timestamp DESC"] }, /contains duplicate fields/],
  [{ page_token: "made up" }, /^Invalid page token/],
])("a search for %j is refused", async ([more, message]) => {
  const locations = [{ mlflow_experiment: { experiment_id: "0" } }];
  expect(await mlflow("POST", `${v3}/search`, { locations, ...more })).toMatchObject(
    refusal("INVALID_PARAMETER_VALUE", expect.stringMatching(message)),
  );
});

test("what is not there is told so, on every route", async () => {
  for (const [method, path, fields] of [
    ["GET", `${v3}/tr-x`],
    ["GET", "/2.0/mlflow/traces/tr-x/info"],
    ["PATCH", "/2.0/mlflow/traces/tr-x"],
    ["PATCH", "/2.0/mlflow/traces/tr-x/tags", { key: "k", value: "v" }],
    ["PATCH", `${v3}/tr-x/tags`, { key: "k", value: "v" }],
    ["DELETE", "/2.0/mlflow/traces/tr-x/tags", { key: "k" }],
    [
      "POST",
      "/2.0/mlflow/traces/link-prompts",
      { trace_id: "tr-x", prompt_versions: [{ name: "a", version: "1" }] },
    ],
    ["POST", `${v3}/tr-x/assessments`, { assessment: { feedback: { value: 1 } } }],
    ["GET", `${v3}/tr-x/assessments/a-x`],
    [
      "PATCH",
      `${v3}/tr-x/assessments/a-x`,
      { assessment: { feedback: { value: 1 } }, update_mask: "feedback" },
    ],
  ] as [string, string, Record<string, unknown>?][])
    expect([path, await mlflow(method, path, fields)]).toMatchObject([
      path,
      refusal("RESOURCE_DOES_NOT_EXIST", "Trace with ID 'tr-x' not found.", 404),
    ]);
  expect((await mlflow("GET", `${v3}/get`, { trace_id: "tr-x" })).json.message).toBe(
    "Trace with ID tr-x is not found.",
  );
  expect((await mlflow("DELETE", `${v3}/tr-x/assessments/a-x`)).status).toBe(200);
  expect(
    await mlflow("POST", "/2.0/mlflow/traces/link-to-run", {
      trace_ids: ["tr-x"],
      run_id: "0".repeat(32),
    }),
  ).toMatchObject(
    refusal("RESOURCE_DOES_NOT_EXIST", expect.stringMatching(/^Run with id=0+ not found/), 404),
  );
});

test("tags are set and taken, the name is one of them, and where spans are nobody may say", async () => {
  const trace = newTraceId();
  await tell("0", trace);
  const tags = `/2.0/mlflow/traces/tr-${trace}/tags`;
  const read = async () => (await mlflow("GET", `${v3}/tr-${trace}`)).json.trace.trace_info.tags;
  await mlflow("PATCH", tags, { key: "mlflow.traceName", value: "named" });
  await mlflow("PATCH", tags, { key: "long", value: "x".repeat(9000) });
  expect(await read()).toMatchObject({ "mlflow.traceName": "named", long: "x".repeat(4096) });
  await mlflow("DELETE", tags, { key: "mlflow.traceName" });
  expect(Object.keys(await read())).not.toContain("mlflow.traceName");
  for (const key of ["mlflow.traceName", "nothing"])
    expect(await mlflow("DELETE", tags, { key })).toMatchObject(
      refusal("RESOURCE_DOES_NOT_EXIST", expect.stringMatching(/^No trace tag with key/), 404),
    );
  for (const method of ["PATCH", "DELETE"])
    expect(
      await mlflow(method, tags, { key: "mlflow.trace.spansLocation", value: "x" }),
    ).toMatchObject(refusal("INVALID_PARAMETER_VALUE", expect.stringContaining("is immutable")));
  for (const key of ["", "a//b", "..", "k".repeat(251)])
    expect([key, (await mlflow("PATCH", tags, { key, value: "v" })).status]).toEqual([key, 400]);
});

test("assessments are kept in their order, change, take each other's place, and are taken back", async () => {
  const trace = newTraceId();
  await tell("0", trace);
  const said = `${v3}/tr-${trace}/assessments`;
  const say = async (assessment: object) =>
    (await mlflow("POST", said, { assessment })).json.assessment;
  const first = await say({
    assessment_name: "right",
    feedback: { value: true },
    valid: true,
    rationale: "r",
  });
  const second = await say({
    assessment_name: "right",
    feedback: { value: false },
    overrides: first.assessment_id,
    valid: true,
  });
  const valid = async (id: string) => (await mlflow("GET", `${said}/${id}`)).json.assessment.valid;
  expect([await valid(first.assessment_id), await valid(second.assessment_id)]).toEqual([
    false,
    true,
  ]);
  await mlflow("DELETE", `${said}/${second.assessment_id}`);
  expect(await valid(first.assessment_id)).toBe(true);
  const expected = await say({
    assessment_name: "expected",
    expectation: {
      serialized_value: { serialization_format: "JSON_FORMAT", value: '{"a":[1,null]}' },
    },
  });
  expect(JSON.parse(expected.expectation.serialized_value.value)).toEqual({ a: [1, null] });
  const patch = (id: string, assessment: object, update_mask: string) =>
    mlflow("PATCH", `${said}/${id}`, { assessment, update_mask });
  const changed = await patch(
    first.assessment_id,
    { feedback: { value: 3 }, rationale: "s", metadata: { a: "1" }, assessment_name: "kept out" },
    "feedback,rationale,metadata",
  );
  expect(changed.json.assessment).toMatchObject({
    assessment_name: "right",
    feedback: { value: 3 },
    rationale: "s",
    metadata: { a: "1" },
  });
  await patch(first.assessment_id, { metadata: { b: "2" } }, "metadata");
  const renamed = await patch(first.assessment_id, { assessment_name: "new" }, "assessmentName");
  expect(renamed.json.assessment).toMatchObject({
    assessment_name: "new",
    metadata: { a: "1", b: "2" },
  });
  for (const [assessment, mask] of [
    [{ expectation: { value: 1 } }, "expectation"],
    [{ feedback: { value: 1 } }, ""],
  ] as const)
    expect((await patch(first.assessment_id, assessment, mask)).status).toBe(400);
  const infoNow = (await mlflow("GET", `${v3}/tr-${trace}`)).json.trace.trace_info;
  expect(infoNow.assessments.map((it: any) => it.assessment_name)).toEqual(["new", "expected"]);
  expect(
    await mlflow("POST", said, { assessment: { feedback: { value: 1 }, overrides: "a-nobody" } }),
  ).toMatchObject(refusal("RESOURCE_DOES_NOT_EXIST", expect.stringContaining("a-nobody"), 404));
  for (const assessment of [
    undefined,
    {},
    { assessment_name: "x" },
    { feedback: { value: "x".repeat(100_001) } },
    { expectation: { serialized_value: { serialization_format: "PICKLE", value: "x" } } },
    { expectation: { serialized_value: { serialization_format: "JSON_FORMAT", value: "{" } } },
    { assessment_name: "n".repeat(251), feedback: { value: 1 } },
    { feedback: { value: 1 }, create_time: "now" },
  ])
    expect([assessment, (await mlflow("POST", said, { assessment })).status]).toEqual([
      assessment,
      400,
    ]);
});

test("a value nested a hundred thousand deep is refused, and so is a span's", async () => {
  const trace = newTraceId();
  await tell("0", trace);
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  const said = await mlflow(
    "POST",
    `${v3}/tr-${trace}/assessments`,
    `{"assessment": {"feedback": {"value": ${deep}}}}`,
  );
  expect(said).toMatchObject(refusal("INVALID_PARAMETER_VALUE"));
  const value = '{"arrayValue":{"values":['.repeat(20_000) + "]}}".repeat(20_000);
  const response = await exports.default.fetch("http://127.0.0.1/v1/traces", {
    method: "POST",
    headers: { "content-type": "application/json", "x-mlflow-experiment-id": "0" },
    body: `{"resourceSpans":[{"resource":{"attributes":[{"key":"k","value":${value}}]}}]}`,
  });
  expect([response.status, await response.text()]).toMatchObject([
    400,
    expect.stringContaining("nested deeper than 100"),
  ]);
});

test("forty judges at once are all heard", async () => {
  const trace = newTraceId();
  await tell("0", trace);
  await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      mlflow("POST", `${v3}/tr-${trace}/assessments`, {
        assessment: { assessment_name: `j${i}`, feedback: { value: i } },
      }),
    ),
  );
  const { json } = await mlflow("GET", `${v3}/tr-${trace}`);
  expect(json.trace.trace_info.assessments).toHaveLength(40);
});

test("traces are deleted by name, or the oldest first, and nothing of them stays", async () => {
  const experiment = await newExperiment("deleting");
  const ids = Array.from({ length: 6 }, newTraceId);
  for (const [i, id] of ids.entries()) {
    await tell(experiment, id, { request_time: `2026-01-0${i + 1}T00:00:00Z` });
    await sendSpans(experiment, [span(id)]);
    await mlflow("POST", `${v3}/tr-${id}/assessments`, { assessment: { feedback: { value: 1 } } });
  }
  const remove = (more: object) =>
    mlflow("POST", "/2.0/mlflow/traces/delete-traces", { experiment_id: experiment, ...more });
  for (const [more, message] of [
    [{}, /^Either/],
    [{ request_ids: ["a"], max_timestamp_millis: 1 }, /^Only one of/],
    [{ request_ids: ["a"], max_traces: 1 }, /can't be specified if/],
    [{ max_timestamp_millis: 1, max_traces: 0 }, /positive integer, received 0/],
    [{ max_timestamp_millis: "x" }, /for parameter 'max_timestamp_millis'/],
  ] as const)
    expect(await remove(more)).toMatchObject(
      refusal("INVALID_PARAMETER_VALUE", expect.stringMatching(message)),
    );
  expect((await remove({ request_ids: [`tr-${ids[5]}`, "tr-none"] })).json).toEqual({
    traces_deleted: 1,
  });
  expect((await remove({ max_timestamp_millis: "4102444800000", max_traces: "2" })).json).toEqual({
    traces_deleted: 2,
  });
  expect(await find(experiment)).toEqual([ids[4], ids[3], ids[2]]);
  expect((await remove({ max_timestamp_millis: Date.parse("2026-01-04T00:00:00Z") })).json).toEqual(
    { traces_deleted: 2 },
  );
  for (const table of ["spans", "assessments"]) {
    const { n } = (await env.DB.prepare(
      `SELECT count(*) AS n FROM ${table} WHERE trace IN (SELECT value FROM json_each(?))`,
    )
      .bind(JSON.stringify(ids.map((id) => `tr-${id}`)))
      .first<{ n: number }>())!;
    expect([table, n]).toEqual([table, 1]);
  }
  const deletions = (await selectEvents(env.DB, { limit: 100_000 })).filter(
    ({ what }) => what === "trace.delete",
  );
  expect(deletions.filter(({ subject }) => ids.includes(subject.slice(3)))).toHaveLength(5);
});

test("MLflow 2 tells of a trace at its beginning and its end", async () => {
  const experiment = await newExperiment("old");
  const v2 = "/2.0/mlflow/traces";
  const { json } = await mlflow("POST", v2, {
    experiment_id: experiment,
    timestamp_ms: 1000,
    request_metadata: [{ key: "m", value: "1" }],
    tags: [{ key: "mlflow.traceName", value: "ask" }],
  });
  const { request_id } = json.trace_info;
  expect(json.trace_info).toMatchObject({
    experiment_id: experiment,
    timestamp_ms: 1000,
    status: "IN_PROGRESS",
  });
  await mlflow("PATCH", `${v2}/${request_id}`, {
    timestamp_ms: "1500",
    status: "OK",
    request_metadata: [{ key: "n", value: "2" }],
    tags: [{ key: "t", value: "3" }],
  });
  const found = await mlflow("GET", `${v2}/${request_id}/info`);
  expect(found.json.trace_info).toMatchObject({ status: "OK", execution_time_ms: 500 });
  const pairs = (list: { key: string; value: string }[]) =>
    Object.fromEntries(list.map(({ key, value }) => [key, value]));
  expect(pairs(found.json.trace_info.request_metadata)).toMatchObject({ m: "1", n: "2" });
  expect(pairs(found.json.trace_info.tags)).toMatchObject({ "mlflow.traceName": "ask", t: "3" });
  const searched = await mlflow("GET", v2, {
    experiment_ids: [experiment],
    filter: "tags.t = '3'",
    max_results: 5,
  });
  expect(searched.json.traces).toEqual([found.json.trace_info]);
});

test("what is told of a trace many times writes an event each time, its spans write none", async () => {
  const trace = newTraceId();
  const after = (await selectEvents(env.DB, { limit: 100_000 })).at(-1)!.no;
  await tell("0", trace);
  await sendSpans("0", [span(trace)]);
  await mlflow("PATCH", `${v3}/tr-${trace}/tags`, { key: "k", value: "v" });
  await mlflow("PATCH", `${v3}/tr-${trace}/tags`, { key: "k", value: "v" });
  const events = await selectEvents(env.DB, { after });
  expect(events.map(({ what, subject }) => `${what} ${subject}`)).toEqual([
    `trace.put tr-${trace}`,
    `trace.tag tr-${trace}`,
  ]);
});

test("our own API shows traces and their spans, page by page", async () => {
  const experiment = await newExperiment("native");
  const run = await newRun(experiment);
  const ids = Array.from({ length: 5 }, newTraceId);
  for (const [i, id] of ids.entries())
    await tell(experiment, id, {
      request_time: `2026-01-0${i + 1}T00:00:00Z`,
      ...(i === 1 ? { trace_metadata: { "mlflow.sourceRun": run.id } } : {}),
    });
  await sendSpans(experiment, [
    span(ids[0]!, { attributes: [text("k", "v"), { key: "n", value: { int_value: 3n } }] }),
  ]);
  const first = await ask("GET", "/traces?experiment=native&limit=3");
  expect(first.json.traces.map((it: any) => it.id.slice(3))).toEqual([ids[4], ids[3], ids[2]]);
  const rest = await ask("GET", `/traces?experiment=native&limit=3&after=${first.json.next}`);
  expect(rest.json.traces.map((it: any) => it.id.slice(3))).toEqual([ids[1], ids[0]]);
  expect(rest.json.next).toBeNull();
  const ofRun = await ask("GET", `/traces?run=${run.id}`);
  expect(ofRun.json.traces.map((it: any) => it.id.slice(3))).toEqual([ids[1]]);
  const { json } = await ask("GET", `/traces/tr-${ids[0]}`);
  expect(json).toMatchObject({
    experiment,
    state: "ok",
    duration: 44,
    spans: [{ name: "root", start: "1795433480321193766", attributes: { k: "v", n: 3 } }],
  });
  expect((await ask("GET", "/traces/tr-none")).json).toEqual({
    error_code: "RESOURCE_DOES_NOT_EXIST",
    message: "trace not found: tr-none",
  });
  expect((await ask("GET", "/traces?experiment=nowhere")).status).toBe(404);
  expect((await ask("GET", "/traces?after=tr-none")).status).toBe(404);
});
