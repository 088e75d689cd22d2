import { request } from "node:http";
import { expect, test } from "vitest";
import { arrowType } from "../../wire/point-ipc.ts";
import { serverForTests } from "./server.ts";

const server = await serverForTests();
const api = `${server.url}/api/v1`;

/** Sends a body as it is; returns the status and the error, if the answer is one. */
async function send(
  method: string,
  path: string,
  body?: BodyInit,
  headers: Record<string, string> = {},
) {
  for (let tries = 1; ; tries++)
    try {
      const response = await fetch(api + path, {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
      });
      const { error_code, message } = (await response.json()) as {
        error_code?: string;
        message?: string;
      };
      return { status: response.status, error_code, message };
    } catch (error) {
      // Refused before all of a large body is read, a sender may see its connection close first.
      const { code } = ((error as Error).cause ?? {}) as { code?: string };
      if (!["EPIPE", "ECONNRESET", "UND_ERR_SOCKET"].includes(code ?? "") || tries === 5)
        throw error;
    }
}

/** Sends a path that fetch would tidy up first. */
function sendRaw(
  method: string,
  path: string,
  body = "",
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string }> {
  const { hostname, port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    const sent = request(
      { hostname, port, method, path: `/api/v1${path}`, headers },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode!, text }));
      },
    );
    sent.on("error", reject).end(body);
  });
}

const newRun = async (): Promise<string> =>
  (await (await fetch(`${api}/runs`, { method: "POST", body: '{"experiment":"bad"}' })).json()).id;
const valuesOf = async (run: string) =>
  ((await (await fetch(`${api}/points.json?run=${run}`)).json()) as { value: unknown }[]).map(
    ({ value }) => value,
  );
const point = (more: object = {}) => ({ key: "loss", step: 0, value: 1, ...more });
const invalid = (message: string | RegExp) => ({
  status: 400,
  error_code: "INVALID_PARAMETER_VALUE",
  message: typeof message === "string" ? message : expect.stringMatching(message),
});

const run = await newRun();

test.for<[string, string, RegExp]>([
  ["malformed JSON", "{not json", /^malformed JSON: .*position/],
  ["JSON that is not UTF-8", "\u00ff", /./],
  ["an object in the place of a list", "{}", /^invalid points: \{\} \(expected an array\)$/],
  ["a list of numbers", "[1]", /^invalid point at 0: 1$/],
  ["a null point", "[null]", /^invalid point at 0: null$/],
  ["a missing key", '[{"step":0,"value":1}]', /^missing key at 0$/],
  ["a key that is a number", '[{"key":1,"step":0,"value":1}]', /^invalid key at 0: 1$/],
  ["an empty key", '[{"key":"","step":0,"value":1}]', /^invalid key: /],
  ["a missing step", '[{"key":"a","value":1}]', /^missing step at 0$/],
  ["a step that is text", '[{"key":"a","step":"1","value":1}]', /^invalid step at 0: 1$/],
  [
    "a step beyond 2^53",
    '[{"key":"a","step":9007199254740994,"value":1}]',
    /^invalid step at 0: 9007199254740994$/,
  ],
  [
    "a step that is infinite",
    '[{"key":"a","step":1e999,"value":1}]',
    /^invalid step at 0: Infinity$/,
  ],
  ["a missing value", '[{"key":"a","step":0}]', /^missing value at 0$/],
  ["a null value", '[{"key":"a","step":0,"value":null}]', /^invalid value at 0: null$/],
  ["a value that is text", '[{"key":"a","step":0,"value":"big"}]', /^invalid value at 0: big$/],
  ["a negative time", '[{"key":"a","step":0,"value":1,"time":-1}]', /^invalid time at 0: -1 /],
  [
    "a time in the year 33658",
    '[{"key":"a","step":0,"value":1,"time":1e15}]',
    /^invalid time at 0: 1000000000000000 /,
  ],
  ["an unknown field", '[{"key":"a","step":0,"value":1,"epoch":2}]', /^unknown field at 0: epoch$/],
  [
    "a key of 100,000 characters",
    `[{"key":"${"k".repeat(1e5)}","step":0,"value":1}]`,
    /^invalid key: k{80}… \(100000 characters\)/,
  ],
  [
    "a key with a control character",
    '[{"key":"a\\u0000b","step":0,"value":1}]',
    /^invalid key: a\\u0000b /,
  ],
])(
  "points: %s is refused by name, and nothing of the request is kept",
  async ([, body, message]) => {
    const good = JSON.stringify(point());
    const answer = await send("POST", `/runs/${run}/points`, body);
    expect(answer).toEqual(invalid(message));
    if (body.startsWith("[{"))
      expect(await send("POST", `/runs/${run}/points`, `[${good},${body.slice(1)}`)).toMatchObject({
        status: 400,
      });
    expect(await valuesOf(run)).toEqual([]);
  },
);

test.for<[string, BodyInit, Record<string, string>, RegExp]>([
  [
    "Arrow that is noise",
    "noise noise noise noise",
    { "content-type": arrowType },
    /^malformed Arrow stream: /,
  ],
  ["Arrow that is empty", "", { "content-type": arrowType }, /./],
  ["gzip that is noise", "noise", { "content-encoding": "gzip" }, /^malformed gzip: /],
])("points: %s is refused", async ([, body, headers, message]) => {
  expect(await send("POST", `/runs/${run}/points`, body, headers)).toEqual(invalid(message));
});

test("an encoding that is not gzip is refused with 415", async () => {
  expect(
    await send("POST", `/runs/${run}/points`, "[]", { "content-encoding": "br" }),
  ).toMatchObject({ status: 415 });
});

test("runs and experiments: wrong types, unknown fields and missing ones are named", async () => {
  const cases: [string, unknown, string | RegExp][] = [
    ["/runs", {}, "missing field: experiment"],
    ["/runs", { experiment: 1 }, "invalid experiment: 1 (expected string)"],
    ["/runs", { experiment: "a", id: "../x" }, /^invalid id: \.\.\/x/],
    ["/runs", { experiment: "a", colour: "red" }, "unknown field: colour"],
    ["/runs", { experiment: "a", params: 3 }, /^invalid params: 3/],
    ["/runs", { experiment: "a", params: { ["k".repeat(300)]: 1 } }, /param name: k+/],
    [
      "/runs",
      { experiment: "a", params: { x: "v".repeat(1e5) } },
      /param is too long: x has 100000 characters/,
    ],
    ["/runs", { experiment: "a", tags: { x: {} } }, "invalid tag x: {}"],
    ["/runs", { experiment: "a", started: "today" }, /^invalid started: today/],
    ["/runs", { experiment: "a".repeat(1e5) }, /^invalid experiment: a{80}… \(100000 characters\)/],
    ["/runs", { experiment: ".." }, "invalid experiment: .. (expected a name that a URL can hold)"],
    ["/experiments", { name: "" }, /^invalid name: /],
    ["/experiments", { name: "x", direction: "up" }, /^invalid direction: up/],
    ["/experiments", { name: "0".repeat(32) }, /^invalid name: 0+ \(expected a name, not an id\)/],
  ];
  for (const [path, body, message] of cases)
    expect(await send("POST", path, JSON.stringify(body))).toEqual(invalid(message));
});

test("an unknown run, a closed run and a deleted run are told apart", async () => {
  const nobody = "0".repeat(32);
  const body = JSON.stringify([point()]);
  expect(await send("POST", `/runs/${nobody}/points`, body)).toEqual({
    status: 404,
    error_code: "RESOURCE_DOES_NOT_EXIST",
    message: `run not found: ${nobody}`,
  });
  const closed = await newRun();
  await send("POST", `/runs/${closed}/points?writer=a&seq=0`, body);
  await send("POST", `/runs/${closed}/finish`, '{"state":"finished"}');
  expect(await send("POST", `/runs/${closed}/points?writer=a&seq=1`, body)).toEqual({
    status: 409,
    error_code: "INVALID_STATE",
    message: `run is closed: ${closed} (finished)`,
  });
  expect(await send("POST", `/runs/${closed}/points?writer=a&seq=0`, body)).toMatchObject({
    status: 200,
  }); // a retry of what was accepted
  expect(await send("POST", `/runs/${closed}/finish`, '{"state":"failed"}')).toMatchObject({
    status: 409,
  });
  await send("DELETE", `/runs/${closed}`);
  expect(await send("POST", `/runs/${closed}/points`, body)).toMatchObject({
    status: 409,
    message: `run is deleted: ${closed}`,
  });
  expect(await valuesOf(closed)).toEqual([1]);
});

test("the same ids with other content are conflicts, with the same content they are retries", async () => {
  const id = "0192f0c1aaaa7bbb8cccddddeeee0009";
  const first = { id, experiment: "bad", params: { lr: 1 } };
  const answer = await (
    await fetch(`${api}/runs`, { method: "POST", body: JSON.stringify(first) })
  ).json();
  expect(
    await (await fetch(`${api}/runs`, { method: "POST", body: JSON.stringify(first) })).json(),
  ).toEqual(answer);
  expect(
    await send("POST", "/runs", JSON.stringify({ ...first, params: { lr: 2 } })),
  ).toMatchObject({
    status: 409,
    error_code: "RESOURCE_ALREADY_EXISTS",
    message: `run already exists with other content: ${id}`,
  });
  for (const [path, one, other] of [
    [`/runs/${id}/points?writer=w&seq=7`, [point()], [point({ value: 2 })]],
    [`/runs/${id}/console?writer=w&seq=7`, ["a"], ["b"]],
  ] as const) {
    expect(await send("POST", path, JSON.stringify(one))).toMatchObject({ status: 200 });
    expect(await send("POST", path, JSON.stringify(one))).toMatchObject({ status: 200 });
    expect(await send("POST", path, JSON.stringify(other))).toMatchObject({
      status: 409,
      message: "seq was used for other content: 7 of writer w",
    });
  }
  expect(await valuesOf(id)).toEqual([1]);
  expect(await send("PATCH", `/runs/${id}`, '{"params":{"lr":3}}')).toMatchObject({
    status: 409,
    message: "param is already set: lr = 1, not 3",
  });
});

test("steps that go backwards, repeat or are fractions, and clocks that are a day off, are kept as they were sent", async () => {
  const id = await newRun();
  const day = 86_400_000;
  const sent = [
    point({ step: 5, value: 5, time: Date.now() + day }),
    point({ step: 1.5, value: 1, time: Date.now() - day }),
    point({ step: 5, value: 6 }),
    point({ step: -3, value: 0 }),
  ];
  expect(await send("POST", `/runs/${id}/points`, JSON.stringify(sent))).toMatchObject({
    status: 200,
  });
  const points = (await (await fetch(`${api}/points.json?run=${id}`)).json()) as {
    step: number;
    time: number;
    value: number;
  }[];
  expect(points.map(({ step, value }) => [step, value])).toEqual([
    [-3, 0],
    [1.5, 1],
    [5, 6], // of equal steps the earlier comes first
    [5, 5],
  ]);
  expect(points[3]!.time).toBe(sent[0]!["time" as never]);
  expect(await (await fetch(`${api}/runs/${id}`)).json()).toMatchObject({ stalled: false });
});

test("10,000 different keys in one request are all kept, and all in the summary", async () => {
  const id = await newRun();
  const body = JSON.stringify(
    Array.from({ length: 10_000 }, (_, i) => point({ key: `key/${i}`, value: i })),
  );
  expect(await send("POST", `/runs/${id}/points?writer=a&seq=0`, body)).toMatchObject({
    status: 200,
  });
  expect(await send("POST", `/runs/${id}/points?writer=a&seq=1`, body)).toMatchObject({
    status: 200,
  });
  const { metrics } = (await (await fetch(`${api}/runs/${id}`)).json()) as {
    metrics: Record<string, { last: number; count: number }>;
  };
  expect(Object.keys(metrics)).toHaveLength(10_000);
  expect(metrics["key/9999"]).toMatchObject({ last: 9999, count: 2 });
  expect(await valuesOf(id)).toHaveLength(20_000);
});

test("a run takes new metrics until its row would be too large to read, and points of those it has beyond that", async () => {
  const id = await newRun();
  const keys = (lot: number) =>
    JSON.stringify(Array.from({ length: 10_000 }, (_, i) => point({ key: `key/${lot}/${i}` })));
  const answers: { status: number; message?: string | undefined }[] = [];
  for (let lot = 0; lot < 7; lot++)
    answers.push(await send("POST", `/runs/${id}/points`, keys(lot)));
  const taken = answers.filter(({ status }) => status === 200).length;
  expect(taken).toBeGreaterThanOrEqual(3);
  expect(answers.slice(taken)).toEqual(
    Array.from({ length: 7 - taken }, () => ({
      status: 413,
      error_code: "REQUEST_TOO_LARGE",
      message: `run has too many metrics to take new ones: ${id}`,
    })),
  );
  expect(
    await send("POST", `/runs/${id}/points`, JSON.stringify([point({ key: "key/0/0", step: 1 })])),
  ).toMatchObject({ status: 200 });
  const { points } = (await (await fetch(`${api}/runs/${id}`)).json()) as { points: number };
  expect(points).toBe(taken * 10_000 + 1);
});

test("bodies over the limits are refused with 413, whether they say their length or not", async () => {
  const big = "x".repeat(9_000_000);
  expect(await send("POST", `/runs/${run}/points`, big)).toEqual({
    status: 413,
    error_code: "REQUEST_TOO_LARGE",
    message: "body is too large: 9000000 bytes, limit 8000000",
  });
  const chunked = new Blob([big]).stream();
  const response = await fetch(`${api}/runs/${run}/points`, {
    method: "POST",
    body: chunked,
    duplex: "half",
  } as RequestInit);
  expect(response.status).toBe(413);
  const many = `[${Array.from({ length: 50_001 }, () => '{"key":"a","step":0,"value":1}').join()}]`;
  expect(await send("POST", `/runs/${run}/points`, many)).toMatchObject({
    status: 413,
    message: "too many points: 50001, limit 50000 a request",
  });
  const bomb = new Uint8Array(
    await new Response(
      new Blob([new Uint8Array(100_000_000)]).stream().pipeThrough(new CompressionStream("gzip")),
    ).arrayBuffer(),
  );
  expect(
    await send("POST", `/runs/${run}/points`, bomb, { "content-encoding": "gzip" }),
  ).toMatchObject({ status: 413 });
});

test("files: a body without length, a wrong hash and a wrong length leave nothing behind", async () => {
  const path = `/runs/${run}/files/a.bin`;
  const unsized = await fetch(api + path, {
    method: "PUT",
    body: new Blob(["abc"]).stream(),
    duplex: "half",
  } as RequestInit);
  expect([unsized.status, await unsized.json()]).toEqual([
    411,
    { error_code: "LENGTH_REQUIRED", message: "missing content-length" },
  ]);
  expect(await send("PUT", path, "abc", { "x-content-sha256": "0".repeat(64) })).toMatchObject(
    invalid(/^wrong sha256: a\.bin has ba7816bf/),
  );
  expect(
    await send("PUT", path, "abc", { "content-digest": `sha-256=:${"A".repeat(43)}=:` }),
  ).toMatchObject(invalid(/^wrong sha256/));
  expect(await send("PUT", path, "abc", { "x-content-sha256": "abc" })).toMatchObject(
    invalid("invalid x-content-sha256: abc"),
  );
  expect(await (await fetch(`${api}/runs/${run}/files`)).json()).toMatchObject({ files: [] });
});

test.for([
  "../x",
  "a/../../x",
  "..%2f..%2fx",
  "%2e%2e/x",
  "a//b",
  "/a",
  "a/.",
  "a%00b",
  "a%0ab",
  "a%5cb",
  "%ff",
  "",
  `${"d/".repeat(600)}x`,
])("a file may not be stored under %j", async (path) => {
  const { status, text } = await sendRaw("PUT", `/runs/${run}/files/${path}`, "abc");
  expect(status).toBeGreaterThanOrEqual(400);
  expect(status).toBeLessThan(500);
  expect(JSON.parse(text)).toMatchObject({
    error_code: expect.any(String),
    message: expect.any(String),
  });
  expect(await (await fetch(`${api}/runs/${run}/files`)).json()).toMatchObject({ files: [] });
});

test("names that JavaScript knows are ordinary names", async () => {
  const names = ["__proto__", "constructor", "toString", "hasOwnProperty"];
  const body = `{"experiment":"odd","params":{${names.map((name) => `"${name}":1`).join()}},"tags":{"__proto__":"x"}}`;
  const created = JSON.parse(await (await fetch(`${api}/runs`, { method: "POST", body })).text());
  await send(
    "POST",
    `/runs/${created.id}/points`,
    JSON.stringify(names.map((key) => point({ key }))).replace('"key":{}', '"key":"__proto__"'),
  );
  const text = await (await fetch(`${api}/runs/${created.id}`)).text();
  for (const name of names) expect(text).toContain(`"${name}"`);
  expect(
    await (
      await fetch(
        `${api}/runs.json?experiment=odd&columns=params.constructor,metrics.toString,params.valueOf`,
      )
    ).json(),
  ).toEqual([{ "params.constructor": 1, "metrics.toString": 1 }]);
  expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
});

test("questions asked wrongly are told where", async () => {
  const cases: [string, RegExp][] = [
    ["/points.json", /^missing run or experiment$/],
    [`/points.json?run=${run}&from=x`, /^invalid from: x/],
    [`/points.json?run=${run}&since=%00`, /^invalid since: /],
    [`/points.json?run=${run}&buckets=1`, /^invalid buckets: 1 /],
    [`/points.json?run=${run}&bucket=10`, /^unknown field: bucket$/],
    [`/points.json?run=${run}&writer=a`, /^unknown field: writer$/],
    ["/runs.json?where=params.lr%20%3C", /^invalid where: expected a value after "<" at 11$/],
    ["/runs.json?where=a%20or", /^invalid where: expected a clause at 4$/],
    [`/runs.json?where=${"x".repeat(100_000)}`, /^invalid where: |^/],
    ["/runs.json?order=colour", /^invalid order: unknown field colour$/],
    ["/runs.json?columns=colour", /^unknown column: colour$/],
    ["/runs.json?limit=-1", /^invalid limit: -1/],
    ["/runs.json?limit=1&limit=2", /^invalid limit: /],
  ];
  for (const [path, message] of cases) {
    const response = await fetch(api + path).catch(() => undefined);
    if (!response) continue; // a URL too long for the server itself
    expect([path.slice(0, 60), response.status]).toEqual([
      path.slice(0, 60),
      response.status === 414 || response.status === 431 ? response.status : 400,
    ]);
    if (response.status === 400) expect((await response.json()).message).toMatch(message);
  }
  expect(await send("GET", "/runs.json?experiment=nowhere")).toMatchObject({
    status: 404,
    message: "experiment not found: nowhere",
  });
  expect(await send("POST", `/runs/${run}/points?seq=1`, "[]")).toMatchObject({
    status: 400,
    message: "missing writer: writer and seq go together",
  });
});
