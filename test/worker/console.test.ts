import { expect, test } from "vitest";
import { ask, freshStores, refused, startRun } from "./worker.ts";

freshStores();

test.for<[string, string, string | RegExp]>([
  ["malformed JSON", "{not json", /^malformed JSON: /],
  ["an object", "{}", /^invalid lines: \{\} /],
  ["a text", '"line"', /^invalid lines: line /],
  ["a number as a line", "[1]", /^invalid lines\.0: 1 /],
  ["null as the second line", '["good",null]', /^invalid lines\.1: null /],
  ["a text that is a number", '[{"text":1}]', "invalid lines.0.text: 1 (expected string)"],
  ["a missing text", "[{}]", "missing field: lines.0.text"],
  ["an unknown stream", '[{"text":"a","stream":"log"}]', /^invalid lines\.0\.stream: log /],
  [
    "a time that is text",
    '[{"text":"a","time":"now"}]',
    "invalid lines.0.time: now (expected number)",
  ],
  ["a time before 1970", '[{"text":"a","time":-1}]', /^invalid lines\.0\.time: -1 /],
  ["an unknown field", '[{"text":"a","level":1}]', "unknown field: lines.0.level"],
  ["half a character", '["\\ud800"]', /^invalid lines\.0: .*well-formed/],
  [
    "a line of 100,001 characters",
    JSON.stringify(["x".repeat(100_001)]),
    /^invalid lines\.0: x{80}… \(100001 characters\)/,
  ],
])("console: %s is refused, and nothing of it is kept", async ([, body, message]) => {
  const run = await startRun();
  expect(await ask("POST", `/runs/${run}/console`, body)).toMatchObject(refused(message));
  expect((await ask("GET", `/runs/${run}/console`)).json).toEqual({ lines: [], total: 0, next: 0 });
});

test("what is printed comes back to the letter, from a run that has ended, too", async () => {
  const run = await startRun();
  await ask("POST", `/runs/${run}/finish`, { state: "failed" });
  const texts = ["", "\u001b[31mred\u001b[0m", "tab\tnul\u0000", "𝄞 ü", '"\\', "x".repeat(100_000)];
  await ask(
    "POST",
    `/runs/${run}/console`,
    texts.map((text, time) => ({ text, time, stream: "err" })),
  );
  const { lines } = (await ask("GET", `/runs/${run}/console`)).json;
  expect(lines).toEqual(texts.map((text, i) => ({ n: i + 1, time: i, stream: "err", text })));
});

test("lines of more than 1.9 MB are refused, counted in bytes", async () => {
  const run = await startRun();
  const lines = Array.from({ length: 8 }, () => "字".repeat(100_000));
  expect(await ask("POST", `/runs/${run}/console`, lines)).toMatchObject(
    refused(
      /^console lines are too large: 24\d{5} bytes, limit 1900000$/,
      413,
      "REQUEST_TOO_LARGE",
    ),
  );
});

test("a number used for other lines is a conflict; unknown and deleted runs are told apart", async () => {
  const run = await startRun();
  const send = (line: string) => ask("POST", `/runs/${run}/console?writer=w&seq=3`, [line]);
  await send("a");
  expect((await send("a")).json).toEqual({ accepted: 1 });
  expect(await send("b")).toMatchObject(
    refused("seq was used for other content: 3 of writer w", 409, "RESOURCE_ALREADY_EXISTS"),
  );
  await ask("DELETE", `/runs/${run}`);
  expect(await ask("POST", `/runs/${run}/console`, ["c"])).toMatchObject(
    refused(`run is deleted: ${run}`, 409, "INVALID_STATE"),
  );
  for (const body of [["a"], []])
    expect(await ask("POST", "/runs/nobody/console", body)).toMatchObject(
      refused("run not found: nobody", 404, "RESOURCE_DOES_NOT_EXIST"),
    );
  expect((await ask("GET", "/runs/nobody/console")).status).toBe(404);
});

test("twenty writers at once: every line lands once, each writer's in order, numbered through", async () => {
  const run = await startRun();
  await Promise.all(
    Array.from({ length: 20 }, (_, w) =>
      ask("POST", `/runs/${run}/console?writer=w${w % 10}&seq=${Math.floor(w / 20)}`, [
        `${w % 10} a`,
        `${w % 10} b`,
      ]),
    ),
  );
  const { lines, total } = (await ask("GET", `/runs/${run}/console`)).json;
  expect(total).toBe(20); // ten writers, each of whom sent the same request twice
  expect(lines.map(({ n }: any) => n)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  for (let w = 0; w < 10; w++)
    expect(
      lines
        .filter(({ text }: any) => text.startsWith(`${w} `))
        .map(({ text }: any) => text.slice(2)),
    ).toEqual(["a", "b"]);
});

test("read by cursor, page by page, each line comes once; tail=0 is the cursor of the end", async () => {
  const run = await startRun();
  for (let i = 0; i < 5; i++)
    await ask("POST", `/runs/${run}/console`, [`${i}a`, `${i}b`, `${i}c`]);
  const seen: string[] = [];
  for (
    let after = 0, page;
    (page = (await ask("GET", `/runs/${run}/console?after=${after}&limit=4`)).json).lines.length;
    after = page.next
  )
    seen.push(...page.lines.map(({ text }: any) => text));
  expect(seen).toEqual([0, 1, 2, 3, 4].flatMap((i) => [`${i}a`, `${i}b`, `${i}c`]));
  expect((await ask("GET", `/runs/${run}/console?tail=0`)).json).toEqual({
    lines: [],
    total: 15,
    next: 15,
  });
  expect((await ask("GET", `/runs/${run}/console?after=99`)).json.next).toBe(15);
});

test.for(["after=-1", "after=x", "limit=1e9", "tail=1.5", "after=1&after=2", "from=1"])(
  "console?%s is refused",
  async (query) => {
    const run = await startRun();
    const name = query.split("=")[0]!;
    expect(await ask("GET", `/runs/${run}/console?${query}`)).toMatchObject(
      refused(name === "from" ? "unknown field: from" : new RegExp(`^invalid ${name}: `)),
    );
  },
);

test("writer and seq go together, as they do for points", async () => {
  const run = await startRun();
  expect(await ask("POST", `/runs/${run}/console?writer=w`, ["a"])).toMatchObject(
    refused("missing seq: writer and seq go together"),
  );
});
