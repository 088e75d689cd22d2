import { Buffer } from "node:buffer";
import { gunzipSync, gzipSync } from "node:zlib";
import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { tableFromIPC } from "@uwdata/flechette";
import { expect, test } from "vitest";
import worker from "../../worker/index.ts";
import { arrowType, pointsToIPC } from "../../wire/point-ipc.ts";
import { pointsFromJSON } from "../../wire/point.ts";
import { ask, freshStores, refused, startRun } from "./worker.ts";

freshStores();

const point = (more: object = {}) => ({ key: "loss", step: 0, value: 1, ...more });
const read = async (run: string) => (await ask("GET", `/points.json?run=${run}`)).json as any[];

test("a diverging run keeps its NaN, its infinite values and its negative zero", async () => {
  const run = await startRun();
  const values = ["NaN", "Infinity", "-Infinity"];
  const body = `[${values.map((v, step) => `{"key":"loss","step":${step},"value":"${v}"}`).join()},{"key":"loss","step":3,"value":-0.0}]`;
  expect((await ask("POST", `/runs/${run}/points`, body)).json).toEqual({ accepted: 4 });
  const { json } = await ask("GET", `/points.json?run=${run}`);
  expect(json.map((p: any) => p.value)).toEqual([...values, -0]);
});

test("a diverging run is the same by the Arrow door, and in Arrow and CSV", async () => {
  const run = await startRun();
  const values = [NaN, Infinity, -Infinity, -0, 0.1];
  const sent = pointsFromJSON(
    values.map((v, step) => point({ step, time: 1000 + step, value: v })),
  );
  const headers = { "content-type": arrowType };
  await ask("POST", `/runs/${run}/points`, pointsToIPC(sent), headers);
  const { response } = await ask("GET", `/points.arrow?run=${run}`);
  const arrow = tableFromIPC(new Uint8Array(await response.arrayBuffer()), { useDate: false });
  expect(Array.from(arrow.getChild("value"))).toEqual(values);
  expect(Array.from(arrow.getChild("time"))).toEqual([1000, 1001, 1002, 1003, 1004]);
  const lines = (await ask("GET", `/points.csv?run=${run}`)).text.trimEnd().split("\r\n").slice(1);
  expect(lines.map((line) => line.split(",").at(-1))).toEqual([
    "NaN",
    "inf",
    "-inf",
    "-0.0",
    "0.1",
  ]);
});

test.for<[string, string, string | RegExp]>([
  ["malformed JSON", "{not json", /^malformed JSON: /],
  ["a body cut off", '[{"key":"a","st', /^malformed JSON: /],
  ["an object", "{}", "invalid points: {} (expected an array)"],
  ["null", "null", "invalid points: null (expected an array)"],
  ["a list in a list", "[[]]", "invalid point at 0: []"],
  ["lists 200,000 deep", "[".repeat(2e5) + "]".repeat(2e5), /^invalid point at 0: \[+…/],
  ["a missing key", '[{"step":0,"value":1}]', "missing key at 0"],
  ["a key that is an object", '[{"key":{},"step":0,"value":1}]', "invalid key at 0: {}"],
  ["an empty key", '[{"key":"","step":0,"value":1}]', /^invalid key: /],
  [
    "a key of 10^5 characters",
    `[{"key":"${"k".repeat(1e5)}","step":0,"value":1}]`,
    /^invalid key: k{80}… \(100000/,
  ],
  ["a key with a newline", '[{"key":"a\\nb","step":0,"value":1}]', /^invalid key: a\\u000ab /],
  ["a key that is half a character", '[{"key":"\\ud800","step":0,"value":1}]', /^invalid key: /],
  ["a missing step", '[{"key":"a","value":1}]', "missing step at 0"],
  ["a step that is true", '[{"key":"a","step":true,"value":1}]', "invalid step at 0: true"],
  ["a step that is NaN", '[{"key":"a","step":"NaN","value":1}]', "invalid step at 0: NaN"],
  ["a step of 1e300", '[{"key":"a","step":1e300,"value":1}]', "invalid step at 0: 1e+300"],
  [
    "a step of 2^53 + 2",
    '[{"key":"a","step":9007199254740994,"value":1}]',
    "invalid step at 0: 9007199254740994",
  ],
  ["a value that is true", '[{"key":"a","step":0,"value":true}]', "invalid value at 0: true"],
  ["a value that is nan", '[{"key":"a","step":0,"value":"nan"}]', "invalid value at 0: nan"],
  [
    "a time that is text",
    '[{"key":"a","step":0,"value":1,"time":"now"}]',
    "invalid time at 0: now",
  ],
  ["a time before 1970", '[{"key":"a","step":0,"value":1,"time":-1}]', /^invalid time at 0: -1 /],
  [
    "a time in the year 12000",
    '[{"key":"a","step":0,"value":1,"time":316516204800000}]',
    /^invalid time at 0: 316516204800000 /,
  ],
  ["an unknown field", '[{"key":"a","step":0,"value":1,"epoch":2}]', "unknown field at 0: epoch"],
  [
    "an unknown field of an odd name",
    '[{"key":"a","step":0,"value":1,"__proto__":2}]',
    "unknown field at 0: __proto__",
  ],
])(
  "points: %s is refused by name, alone or after a good one, and nothing is kept",
  async ([, body, message]) => {
    const run = await startRun();
    expect(await ask("POST", `/runs/${run}/points`, body)).toMatchObject(refused(message));
    const after = `[${JSON.stringify(point())},${body.slice(1)}`;
    expect((await ask("POST", `/runs/${run}/points`, after)).status).toBe(400);
    expect((await ask("GET", `/runs/${run}`)).json).toMatchObject({ points: 0, metrics: {} });
    expect(await read(run)).toEqual([]);
  },
);

test.for<[string, Uint8Array, Record<string, string>, RegExp]>([
  [
    "Arrow that is noise",
    new TextEncoder().encode("noise noise noise"),
    { "content-type": arrowType },
    /^malformed Arrow stream: /,
  ],
  ["Arrow that is empty", new Uint8Array(0), { "content-type": arrowType }, /./],
  ["JSON that is not UTF-8", Uint8Array.of(0x5b, 0xff, 0x5d), {}, /^malformed JSON: not UTF-8$/],
  [
    "gzip that is noise",
    new TextEncoder().encode("noise"),
    { "content-encoding": "gzip" },
    /^malformed gzip: /,
  ],
  [
    "gzip cut off",
    gzipSync("[".padEnd(5000, " ") + "]").subarray(0, 20),
    { "content-encoding": "gzip" },
    /^malformed gzip: /,
  ],
  [
    "gzip with noise behind it",
    new Uint8Array([...gzipSync("[]"), 1, 2, 3]),
    { "content-encoding": "gzip" },
    /^malformed gzip: /,
  ],
])("points: %s is refused", async ([, body, headers, message]) => {
  const run = await startRun();
  expect(await ask("POST", `/runs/${run}/points`, body, headers)).toMatchObject(refused(message));
});

test("points: gzip is taken, another encoding is refused with 415", async () => {
  const run = await startRun();
  const zipped = gzipSync(JSON.stringify([point()]));
  const send = (encoding: string) =>
    ask("POST", `/runs/${run}/points`, zipped, { "content-encoding": encoding });
  expect((await send("gzip")).json).toEqual({ accepted: 1 });
  expect(await send("br")).toMatchObject(
    refused("invalid content-encoding: br (expected gzip)", 415),
  );
});

test("points: bodies over 8 MB are refused, with a length, without one, and inflated", async () => {
  const run = await startRun();
  const path = `/runs/${run}/points`;
  const big = new Uint8Array(8_000_001).fill(32);
  expect(await ask("POST", path, big)).toMatchObject(
    refused("body is too large: 8000001 bytes, limit 8000000", 413, "REQUEST_TOO_LARGE"),
  );
  expect(await ask("POST", path, new Blob([big]).stream())).toMatchObject(
    refused(/^body is too large: \d+ bytes, limit 8000000$/, 413, "REQUEST_TOO_LARGE"),
  );
  const bomb = gzipSync(new Uint8Array(40_000_000));
  expect(await ask("POST", path, bomb, { "content-encoding": "gzip" })).toMatchObject(
    refused(/^body is too large: \d+ bytes, limit 32000000$/, 413, "REQUEST_TOO_LARGE"),
  );
});

test("60,000 points in one request are too many, by either door", async () => {
  const run = await startRun();
  const many = Array.from({ length: 60_000 }, (_, step) => point({ step }));
  const columns = {
    ...pointsFromJSON([point()]),
    key: new Uint32Array(6e4),
    step: new Float64Array(6e4),
    time: new Float64Array(6e4),
    value: new Float64Array(6e4),
  };
  const tooMany = refused(
    "too many points: 60000, limit 50000 a request",
    413,
    "REQUEST_TOO_LARGE",
  );
  expect(await ask("POST", `/runs/${run}/points`, many)).toMatchObject(tooMany);
  expect(
    await ask("POST", `/runs/${run}/points`, pointsToIPC(columns), { "content-type": arrowType }),
  ).toMatchObject(tooMany);
  expect(await read(run)).toEqual([]);
});

test("10,000 different keys in one request are all kept, and all in the summary", async () => {
  const run = await startRun();
  const sent = Array.from({ length: 10_000 }, (_, i) => point({ key: `layer/${i}`, value: i }));
  expect((await ask("POST", `/runs/${run}/points`, sent)).json).toEqual({ accepted: 10_000 });
  const { metrics } = (await ask("GET", `/runs/${run}`)).json;
  expect(sent.map(({ key }) => metrics[key]?.last)).toEqual(sent.map(({ value }) => value));
  expect(new Map((await read(run)).map(({ key, value }) => [key, value]))).toEqual(
    new Map(sent.map(({ key, value }) => [key, value])),
  );
});

test("an unknown run, a closed run and a deleted run are told apart, and a retry is still a retry", async () => {
  const nobody = "0".repeat(32);
  expect(await ask("POST", `/runs/${nobody}/points`, [point()])).toMatchObject(
    refused(`run not found: ${nobody}`, 404, "RESOURCE_DOES_NOT_EXIST"),
  );
  expect(await ask("POST", `/runs/${nobody}/points`, [])).toMatchObject({ status: 404 });
  const run = await startRun();
  const first = () => ask("POST", `/runs/${run}/points?writer=a&seq=0`, [point()]);
  await first();
  await ask("POST", `/runs/${run}/finish`, { state: "killed" });
  expect(await ask("POST", `/runs/${run}/points?writer=a&seq=1`, [point()])).toMatchObject(
    refused(`run is closed: ${run} (killed)`, 409, "INVALID_STATE"),
  );
  expect((await first()).json).toEqual({ accepted: 1 });
  await ask("DELETE", `/runs/${run}`);
  expect(await ask("POST", `/runs/${run}/points`, [point()])).toMatchObject(
    refused(`run is deleted: ${run}`, 409, "INVALID_STATE"),
  );
  expect(await read(run)).toHaveLength(1);
});

test("a number used for other points is a conflict, and the points of the first stay", async () => {
  const run = await startRun();
  const send = (value: number) =>
    ask("POST", `/runs/${run}/points?writer=w&seq=7`, [point({ value })]);
  await send(1);
  expect(await send(2)).toMatchObject(
    refused("seq was used for other content: 7 of writer w", 409, "RESOURCE_ALREADY_EXISTS"),
  );
  expect((await read(run)).map(({ value }) => value)).toEqual([1]);
});

test.for<[string, string | RegExp]>([
  ["?seq=1", "missing writer: writer and seq go together"],
  ["?writer=a", "missing seq: writer and seq go together"],
  ["?writer=a%20b&seq=1", /^invalid writer: a b \(expected 1 to 64/],
  ["?writer=&seq=1", /^invalid writer: /],
  ["?writer=a&seq=-1", /^invalid seq: -1 /],
  ["?writer=a&seq=1.5", /^invalid seq: 1\.5 /],
  ["?writer=a&seq=9007199254740992", /^invalid seq: 9007199254740992 /],
  ["?writer=a&seq=1&seq=2", /^invalid seq: /],
  ["?writer=a&seq=1&color=red", "unknown field: color"],
])("an append with %s is refused", async ([query, message]) => {
  const run = await startRun();
  expect(await ask("POST", `/runs/${run}/points${query}`, [point()])).toMatchObject(
    refused(message),
  );
});

test("steps that go backwards, repeat or are fractions, and clocks a day off, are kept as sent", async () => {
  const run = await startRun();
  const day = 86_400_000;
  const sent = [
    point({ step: 5, value: 5, time: Date.now() + day }),
    point({ step: 1.5, value: 1, time: Date.now() - day }),
    point({ step: 5, value: 6, time: 1 }),
    point({ step: -3, value: 0, time: 0 }),
  ];
  for (const one of sent) await ask("POST", `/runs/${run}/points`, [one]);
  expect(await read(run)).toEqual([3, 1, 2, 0].map((i) => ({ run, ...sent[i] })));
});

test("any name is a metric's name: those JavaScript knows, quotes, slashes, commas, other scripts", async () => {
  const run = await startRun();
  const names = [
    "__proto__",
    "constructor",
    "toString",
    "prototype",
    'q"\\',
    "a,b",
    "a/b.c",
    "ü😀\u2028",
    "$[0]",
    "last",
    " x",
  ];
  const body = names.map((key) => JSON.stringify(point()).replace('"loss"', JSON.stringify(key)));
  for (const half of [0, 1])
    // the second time merges with what is there
    await ask(
      "POST",
      `/runs/${run}/points`,
      `[${body.join()}]`.replaceAll('"step":0', `"step":${half}`),
    );
  const { text, json } = await ask("GET", `/runs/${run}`);
  expect(Object.keys(json.metrics).sort()).toEqual(names.toSorted());
  expect(JSON.parse(text, (key, v) => (key === "count" ? expect(v).toBe(2) : v))).toBeDefined();
  for (const key of names)
    expect(
      (await ask("GET", `/points.json?run=${run}&key=${encodeURIComponent(key)}`)).json.map(
        (p: any) => [p.key, p.step],
      ),
    ).toEqual([
      [key, 0],
      [key, 1],
    ]);
  expect(({} as any).last).toBeUndefined();
});

test("points are chosen by run, experiment, key and step", async () => {
  const [a, b] = [
    await startRun({ experiment: "chosen" }),
    await startRun({ experiment: "chosen" }),
  ];
  for (const run of [a, b])
    await ask(
      "POST",
      `/runs/${run}/points`,
      ["x", "y", "z"].flatMap((key) => [0, 1, 2].map((step) => point({ key, step }))),
    );
  const count = async (query: string) => (await ask("GET", `/points.json?${query}`)).json.length;
  expect(await count("experiment=chosen")).toBe(18);
  expect(await count(`run=${a}&run=${b}&run=${a}&key=x&key=y`)).toBe(12);
  expect(await count(`experiment=chosen&run=${a}&from=1&to=1`)).toBe(6);
  expect(await count(`run=${a}&key=none`)).toBe(0);
  await ask("DELETE", `/runs/${b}`);
  expect([await count("experiment=chosen"), await count(`run=${b}`)]).toEqual([9, 9]);
});

test.for<[string, string | RegExp]>([
  ["", "missing run or experiment"],
  ["run=RUN&from=x", "invalid from: x (expected a number)"],
  ["run=RUN&from=1&from=2", /^invalid from: /],
  ["run=RUN&to=NaN", "invalid to: NaN (expected a number)"],
  ["run=RUN&since=not%20a%20cursor", "invalid since: not a cursor"],
  ["run=RUN&since=abc.def", "invalid since: abc.def"],
  ["run=RUN&until=not%20a%20cursor", "invalid until: not a cursor"],
  ["run=RUN&from=2&to=1", "invalid range of steps: from 2 to 1"],
  [
    "run=RUN&timeFrom=yesterday",
    "invalid timeFrom: yesterday (expected ms since 1970 or ISO 8601)",
  ],
  ["run=RUN&timeFrom=2026-11-02&timeTo=2026-11-01", /^invalid range of times: /],
  ["run=RUN&regex=(", /^invalid regex: \( /],
  ["run=RUN&regex=a&regex=b", /^invalid regex: /],
  ["run=RUN&buckets=1", "invalid buckets: 1 (expected 2 or more)"],
  ["run=RUN&buckets=1e9", "invalid buckets: 1000000000 (expected a whole number up to 100000)"],
  ["run=RUN&buckets=9&layout=wide", "buckets and layout=wide do not go together"],
  ["run=RUN&layout=tall", "invalid layout: tall (expected long or wide)"],
  ["experiment=test&layout=wide", "layout=wide takes one run, named by run"],
  ["run=RUN&bucket=10", "unknown field: bucket"],
  ["run=RUN&__proto__=1", "unknown field: __proto__"],
])("a question with %j is told what is wrong", async ([query, message]) => {
  const run = await startRun();
  for (const format of ["json", "csv", "arrow", "parquet"])
    expect(await ask("GET", `/points.${format}?${query.replace("RUN", run)}`)).toMatchObject(
      refused(message),
    );
});

test("a made-up cursor of the right shape is answered, not a failure", async () => {
  const run = await startRun();
  await ask("POST", `/runs/${run}/points`, [point()]);
  for (const since of ["0", "zzzzzzzzzzz", "0.zzzzzzzzzzz-zzzzzzzzzzz", "a.1-1.1-2.1-3", ""])
    for (const table of [`/points.json?run=${run}&`, "/runs.json?"])
      expect([since, (await ask("GET", `${table}since=${since}`)).status]).toEqual([since, 200]);
});

test("an answer inflates to the same bytes as the plain one", async () => {
  const run = await startRun();
  await ask(
    "POST",
    `/runs/${run}/points`,
    Array.from({ length: 20_000 }, (_, step) => point({ step, value: Math.sin(step) })),
  );
  for (const format of ["json", "csv", "arrow"]) {
    const bytes = async (encoding: string) => {
      // Asked directly: on the way through a fetch the platform would inflate the answer.
      const request = new Request(`http://127.0.0.1/api/v1/points.${format}?run=${run}`, {
        headers: { "accept-encoding": encoding },
      });
      const answer = await worker.fetch(request, env, createExecutionContext());
      expect(answer.headers.get("content-encoding")).toBe(encoding === "gzip" ? "gzip" : null);
      return new Uint8Array(await answer.arrayBuffer());
    };
    const [zipped, plain] = [await bytes("gzip"), await bytes("identity")];
    expect(plain.length).toBeGreaterThan(400_000);
    expect(zipped.length).toBeLessThan(plain.length / 2);
    expect(Buffer.compare(gunzipSync(zipped), plain)).toBe(0);
  }
});
