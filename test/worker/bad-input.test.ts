import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ask, freshStores, refused, startRun } from "./worker.ts";

freshStores();

// Points, console lines, experiments and files refuse theirs in their own files; here are the runs and the questions.

const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
const half = "\\ud800";

test.for<[string, string, string | RegExp]>([
  ["malformed JSON", '{"experiment":', /^malformed JSON: /],
  ["null", "null", /^invalid body: null /],
  ["a number", "3", /^invalid body: 3 /],
  ["a text", '"x"', /^invalid body: x /],
  ["a list", "[]", "invalid body: [] (expected an object)"],
  ["no experiment", "{}", "missing field: experiment"],
  ["an experiment that is a number", '{"experiment":1}', "invalid experiment: 1 (expected string)"],
  [
    "an experiment of 10^5 characters",
    `{"experiment":"${"e".repeat(1e5)}"}`,
    /^invalid experiment: e{80}… \(100000 characters\)/,
  ],
  ["an experiment with half a character", `{"experiment":"${half}"}`, /^invalid experiment: /],
  ["an id that is a path", '{"experiment":"q","id":"../x"}', /^invalid id: \.\.\/x /],
  ["an id that is a number", '{"experiment":"q","id":7}', "invalid id: 7 (expected string)"],
  ["a name that is null", '{"experiment":"q","name":null}', "invalid name: null (expected string)"],
  [
    "a name with a control character",
    '{"experiment":"q","name":"a\\u0000"}',
    /^invalid name: a\\u0000 /,
  ],
  [
    "a name of 10^5 characters",
    `{"experiment":"q","name":"${"n".repeat(1e5)}"}`,
    /^invalid name: n{80}…/,
  ],
  ["a state to end in", '{"experiment":"q","state":"finished"}', /^invalid state: finished /],
  [
    "params that are a list",
    '{"experiment":"q","params":[1]}',
    "invalid params: [1] (expected an object)",
  ],
  [
    "a param name of 10^5 characters",
    `{"experiment":"q","params":{"${"p".repeat(1e5)}":1}}`,
    /^invalid param name: p{80}…/,
  ],
  [
    "a param name with a newline",
    '{"experiment":"q","params":{"a\\nb":1}}',
    "invalid param name: a\\u000ab",
  ],
  [
    "a param of 10^5 characters",
    `{"experiment":"q","params":{"p":"${"v".repeat(1e5)}"}}`,
    "param is too long: p has 100000 characters, limit 16384",
  ],
  [
    "a param with half a character",
    `{"experiment":"q","params":{"p":"${half}"}}`,
    "invalid param p: \\ud800",
  ],
  [
    "a param of lists 200,000 deep",
    `{"experiment":"q","params":{"p":${nested(2e5)}}}`,
    /^param is too long: p /,
  ],
  [
    "params 100,000 deep",
    `{"experiment":"q","params":${'{"a":'.repeat(1e5)}1${"}".repeat(1e5)}}`,
    /^invalid param name: a\.a\./,
  ],
  ["tags that are a number", '{"experiment":"q","tags":3}', /^invalid tags: 3 /],
  ["a tag that is an object", '{"experiment":"q","tags":{"t":{}}}', "invalid tag t: {}"],
  ["a tag that is null", '{"experiment":"q","tags":{"t":null}}', "invalid tag t: null"],
  ["a tag name that is a number", '{"experiment":"q","tags":[1]}', "invalid tag name: 1"],
  [
    "a tag of lists 200,000 deep",
    `{"experiment":"q","tags":{"t":${nested(2e5)}}}`,
    /^invalid tag t: /,
  ],
  ["a note that is a list", '{"experiment":"q","note":[]}', "invalid note: [] (expected string)"],
  [
    "a note of 100,001 characters",
    `{"experiment":"q","note":"${"n".repeat(100_001)}"}`,
    /^invalid note: n{80}…/,
  ],
  ["a parent that is a name", '{"experiment":"q","parent":"mother"}', /^invalid parent: mother /],
  [
    "a source that is a number",
    '{"experiment":"q","source":1}',
    "invalid source: 1 (expected string)",
  ],
  [
    "a start that is text",
    '{"experiment":"q","started":"today"}',
    "invalid started: today (expected number)",
  ],
  [
    "a start before 1970",
    '{"experiment":"q","started":-1}',
    "invalid started: -1 (expected milliseconds since 1970)",
  ],
  [
    "a start in the year 12000",
    '{"experiment":"q","started":316516204800000}',
    /^invalid started: 316516204800000 /,
  ],
  ["an unknown field", '{"experiment":"q","colour":"red"}', "unknown field: colour"],
  [
    "an unknown field of an odd name",
    '{"experiment":"q","__proto__":{}}',
    "unknown field: __proto__",
  ],
])(
  "a run described by %s is refused, and its experiment is not created",
  async ([, body, message]) => {
    expect(await ask("POST", "/runs", body)).toMatchObject(refused(message));
    expect((await ask("GET", "/experiments/q")).status).toBe(404);
  },
);

test.for<[string, unknown, string | RegExp]>([
  ["PATCH", [], "invalid body: [] (expected an object)"],
  ["PATCH", { state: "finished" }, "unknown field: state"],
  ["PATCH", { tags: ["a"] }, /^invalid tags: \["a"\] /],
  ["PATCH", { tags: { a: [1] } }, "invalid tag a: [1]"],
  ["PATCH", { note: null }, "invalid note: null (expected string)"],
  ["POST finish", {}, "missing field: state"],
  ["POST finish", { state: "running" }, /^invalid state: running /],
  ["POST finish", { state: "failed", error: 3 }, "invalid error: 3 (expected string)"],
  ["POST finish", { state: "failed", error: "e".repeat(100_001) }, /^invalid error: e{80}…/],
  ["POST finish", { state: "failed", ended: -5 }, /^invalid ended: -5 /],
])("%s of a run with %j is refused, and changes nothing", async ([what, body, message]) => {
  const run = await startRun();
  const [method, action] = what.split(" ") as [string, string?];
  const { heartbeat: _, ...before } = (await ask("GET", `/runs/${run}`)).json;
  expect(await ask(method, `/runs/${run}${action ? `/${action}` : ""}`, body)).toMatchObject(
    refused(message),
  );
  expect((await ask("GET", `/runs/${run}`)).json).toMatchObject(before);
});

test("a run that is not there is named by every route, however long its id", async () => {
  const id = "e".repeat(5000);
  for (const [method, path, body] of [
    ["GET", ""],
    ["PATCH", "", {}],
    ["DELETE", ""],
    ["POST", "/finish", { state: "killed" }],
    ["POST", "/resume"],
    ["POST", "/heartbeat"],
    ["POST", "/restore"],
    ["POST", "/purge"],
    ["GET", "/console"],
    ["GET", "/files"],
    ["GET", "/files/a"],
    ["PUT", "/files/a", "x"],
    ["DELETE", "/files/a"],
  ] as [string, string, unknown?][])
    expect(await ask(method, `/runs/${id}${path}`, body)).toMatchObject(
      refused(
        `run not found: ${"e".repeat(80)}… (5000 characters)`,
        404,
        "RESOURCE_DOES_NOT_EXIST",
      ),
    );
  expect((await ask("GET", `/points.json?run=${id}`)).status).toBe(404);
});

test("a time between two milliseconds is the earlier one", async () => {
  const { status, json } = await ask("POST", "/runs", { experiment: "times", started: 1.5 });
  expect([status, json.started]).toEqual([201, 1]);
  const ended = await ask("POST", `/runs/${json.id}/finish`, { state: "finished", ended: 2.9 });
  expect([ended.status, ended.json.ended]).toEqual([200, 2]);
});

test("names that JavaScript knows are ordinary params and tags", async () => {
  const names = '{"__proto__":1,"constructor":2,"toString":3,"prototype":4}';
  const { text, json } = await ask(
    "POST",
    "/runs",
    `{"experiment":"odd","params":${names},"tags":${names}}`,
  );
  expect(text).toContain(`"params":${names}`);
  expect(text).toContain(`"tags":${names.replaceAll(/\d/g, '"$&"')}`);
  expect((await ask("PATCH", `/runs/${json.id}`, '{"params":{"__proto__":5}}')).json.message).toBe(
    "param is already set: __proto__ = 1, not 5",
  );
  const table = await ask(
    "GET",
    "/runs.csv?experiment=odd&columns=params.__proto__,tags.constructor,params.valueOf,metrics.toString",
  );
  expect(table.text).toBe(
    "params.__proto__,tags.constructor,params.valueOf,metrics.toString\r\n1,2,,\r\n",
  );
  expect(({} as any)[2]).toBeUndefined();
});

test.for<[string, string | RegExp]>([
  ["where=params.lr%20%3C", 'invalid where: expected a value after "<" at 11'],
  ["where=state%20=%20%27x", "invalid where: expected the text that begins with ' to end at 8"],
  ["where=%00", "invalid where: unexpected \\u0000 at 0"],
  ["where=__proto__=1", "invalid where: unknown field __proto__ at 0"],
  [`where=${"(".repeat(10_000)}`, "invalid where: nested more than 100 deep at 101"],
  ["where=a&where=b", /^invalid where: /],
  ["order=colour", "invalid order: unknown field colour"],
  ["order=", "invalid order: unknown field "],
  ["order=name,,state", "invalid order: unknown field "],
  ["order=constructor%20desc", "invalid order: unknown field constructor"],
  ["columns=name,colour", "unknown column: colour"],
  ["columns=params.", "unknown column: params."],
  ["columns=toString", "unknown column: toString"],
  ["limit=-1", /^invalid limit: -1 /],
  ["limit=1.5", /^invalid limit: 1\.5 /],
  ["limit=many", "invalid limit: many (expected a number)"],
  ["limit=1&limit=2", /^invalid limit: /],
  ["since=%27%3Bdrop", "invalid since: ';drop"],
  ["buckets=10", "unknown field: buckets"],
])("runs asked for with %s are refused", async ([query, message]) => {
  for (const format of ["json", "csv", "arrow"])
    expect(await ask("GET", `/runs.${format}?${query}`)).toMatchObject(refused(message));
});

test("a question made to take long is answered at once", async () => {
  const before = performance.now();
  const blank = "%20".repeat(20_000);
  for (const query of [
    `order=a${blank}b`,
    `order=${blank}`,
    `where=state=1${blank}=`,
    `where='${"\\".repeat(40_000)}`,
  ])
    expect((await ask("GET", `/runs.json?${query}`)).status).toBe(400);
  expect(performance.now() - before).toBeLessThan(1000);
});

test("whatever a body holds, the answer is never a failure of ours", async () => {
  const run = await startRun({ experiment: "any" });
  const value = fc.anything({ withNullPrototype: true, maxDepth: 3 });
  const named = (...names: string[]) =>
    fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string({ unit: "binary" })), value);
  const bodies = fc.oneof(
    fc.tuple(
      fc.constantFrom(
        "POST /runs",
        "POST /experiments",
        "PATCH /experiments/any",
        `PATCH /runs/${run}`,
        `POST /runs/${run}/finish`,
      ),
      named(
        "experiment",
        "name",
        "id",
        "params",
        "tags",
        "note",
        "state",
        "started",
        "ended",
        "error",
        "metric",
      ),
    ),
    fc.tuple(
      fc.constantFrom(`POST /runs/${run}/points`, `POST /runs/${run}/console`),
      fc.array(named("key", "step", "value", "time", "text", "stream"), { maxLength: 3 }),
    ),
    fc.tuple(fc.constantFrom("POST /runs", `POST /runs/${run}/console`), value),
  );
  await fc.assert(
    fc.asyncProperty(bodies, async ([route, body]) => {
      const [method, path] = route.split(" ") as [string, string];
      const text = JSON.stringify(body, (_, v) => (typeof v === "bigint" ? String(v) : v)) ?? "";
      const { status, json } = await ask(method, path, text);
      expect(status).toBeLessThan(500);
      if (status >= 400)
        expect(json).toEqual({ error_code: expect.any(String), message: expect.any(String) });
    }),
    { numRuns: 400 },
  );
});
