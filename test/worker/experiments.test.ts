import { expect, test } from "vitest";
import { ask, freshStores, refused, startRun } from "./worker.ts";

freshStores();

test.for([
  "a/b",
  "ü 😀",
  "q\"'`",
  "100% 50%",
  "%2F",
  "a?b#c",
  "__proto__",
  "constructor",
  "toString",
  "..a",
  "a;b&c=d+e",
  "\\",
])("an experiment may be called %j and is found by that name", async (name) => {
  const { json } = await ask("POST", "/experiments", { name });
  expect(json.name).toBe(name);
  const path = `/experiments/${encodeURIComponent(name)}`;
  expect((await ask("GET", path)).json.id).toBe(json.id);
  expect((await ask("PATCH", path, { note: "seen" })).json).toMatchObject({ name, note: "seen" });
  await startRun({ experiment: name });
  const query = new URLSearchParams({ experiment: name, columns: "experiment" });
  expect((await ask("GET", `/runs.json?${query}`)).json).toEqual([{ experiment: name }]);
});

test.for<[unknown, string | RegExp]>([
  [{}, "missing field: name"],
  [null, /^invalid body: null/],
  [[], "invalid body: [] (expected an object)"],
  [{ name: 1 }, "invalid name: 1 (expected string)"],
  [{ name: "" }, /^invalid name: /],
  [{ name: " " }, /^invalid name: /],
  [{ name: "a\u0007" }, /^invalid name: a\\u0007 /],
  [{ name: "x".repeat(1e5) }, /^invalid name: x{80}… \(100000 characters\)/],
  [{ name: "0".repeat(32) }, /expected a name, not an id/],
  [{ name: "x", id: "X" }, /^invalid id: X /],
  [{ name: "x", metric: 3 }, /^invalid metric: 3/],
  [{ name: "x", direction: "up" }, /^invalid direction: up/],
  [{ name: "x", hypothesis: "h".repeat(1e5) }, /^invalid hypothesis: h{80}…/],
  [{ name: "x", conclusion: {} }, /^invalid conclusion: \{\}/],
  [{ name: "x", note: ["n"] }, /^invalid note: \["n"\]/],
  [{ name: "x", tags: { a: { b: 1 } } }, /^invalid tag a: /],
  [{ name: "x", tags: { ["t".repeat(1e5)]: "" } }, /^invalid tag name: t{80}…/],
  [{ name: "x", tags: { t: "v".repeat(1e5) } }, /^tag is too long: t has 100000 characters/],
  [{ name: "x", runs: 3 }, "unknown field: runs"],
])("an experiment described by %j is refused", async ([body, message]) => {
  expect(await ask("POST", "/experiments", body)).toMatchObject(refused(message));
  if (body && Object.keys(body).length && !Array.isArray(body))
    expect(await ask("PATCH", "/experiments/q", body)).toMatchObject({
      status: expect.toSatisfy((s: number) => s === 400 || s === 404),
    });
  expect((await ask("GET", "/experiments")).json.map((e: any) => e.name)).not.toContain("x");
});

test("names that JavaScript knows are ordinary tags", async () => {
  const tags = '{"__proto__":"a","constructor":"b","toString":"c"}';
  const { text } = await ask("POST", "/experiments", `{"name":"odd","tags":${tags}}`);
  expect(text).toContain(`"tags":${tags}`);
  const changed = await ask(
    "PATCH",
    "/experiments/odd",
    '{"tags":{"__proto__":null,"toString":"d"}}',
  );
  expect(changed.text).toContain('"tags":{"constructor":"b","toString":"d"}');
});

test("an unknown experiment is named, shortened", async () => {
  for (const [method, path] of [
    ["GET", ""],
    ["PATCH", ""],
    ["DELETE", ""],
    ["POST", "/restore"],
  ] as const)
    expect(
      await ask(method, `/experiments/nowhere${path}`, method === "GET" ? undefined : {}),
    ).toMatchObject(refused("experiment not found: nowhere", 404, "RESOURCE_DOES_NOT_EXIST"));
  expect((await ask("GET", `/experiments/${"x".repeat(10_000)}`)).json.message).toBe(
    `experiment not found: ${"x".repeat(80)}… (10000 characters)`,
  );
  expect((await ask("GET", "/runs.json?experiment=nowhere")).status).toBe(404);
  expect((await ask("POST", "/runs", { experiment: "f".repeat(32) })).status).toBe(404);
});

test("the same request under the same id is a retry, another one or a name taken is a conflict", async () => {
  const id = "0192f0c1aaaa7bbb8cccddddeeee0001";
  const body = { id, name: "once", tags: ["a"] };
  const first = await ask("POST", "/experiments", body);
  expect((await ask("POST", "/experiments", body)).text).toBe(first.text);
  expect(await ask("POST", "/experiments", { ...body, note: "x" })).toMatchObject(
    refused(`experiment already exists with other content: ${id}`, 409, "RESOURCE_ALREADY_EXISTS"),
  );
  expect(await ask("POST", "/experiments", { name: "once" })).toMatchObject(
    refused("experiment name already taken: once", 409, "RESOURCE_ALREADY_EXISTS"),
  );
  await ask("POST", "/experiments", { name: "twice" });
  expect(await ask("PATCH", "/experiments/twice", { name: "once" })).toMatchObject(
    refused("experiment name already taken: once", 409, "RESOURCE_ALREADY_EXISTS"),
  );
});

test("changes, archiving and restoring can be told twice", async () => {
  await ask("POST", "/experiments", { name: "again" });
  for (const [method, path, body] of [
    ["PATCH", "/experiments/again", { note: "n", tags: { a: "1" } }],
    ["DELETE", "/experiments/again", undefined],
    ["POST", "/experiments/again/restore", undefined],
  ] as const) {
    const first = await ask(method, path, body);
    expect([first.status, (await ask(method, path, body)).text]).toEqual([200, first.text]);
  }
});

test("forty changes that meet all land", async () => {
  await ask("POST", "/experiments", { name: "busy" });
  await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      ask("PATCH", "/experiments/busy", { tags: { [`t${i}`]: "" } }),
    ),
  );
  expect(Object.keys((await ask("GET", "/experiments/busy")).json.tags)).toHaveLength(40);
});

test("runs that name a new experiment at the same time share one", async () => {
  const runs = await Promise.all(
    Array.from({ length: 20 }, () => ask("POST", "/runs", { experiment: "rush" })),
  );
  expect(new Set(runs.map(({ json }) => json.experiment)).size).toBe(1);
  expect(runs.map(({ json }) => json.number).sort((a, b) => a - b)).toEqual(
    runs.map((_, i) => i + 1),
  );
});

test("a run refused for its id leaves no experiment behind, nor does a retry after a renaming", async () => {
  const id = "0192f0c1aaaa7bbb8cccddddeeee0002";
  await ask("POST", "/runs", { id, experiment: "before" });
  expect((await ask("POST", "/runs", { id, experiment: "other" })).status).toBe(409);
  await ask("PATCH", "/experiments/before", { name: "after" });
  expect((await ask("POST", "/runs", { id, experiment: "before" })).status).toBe(201);
  const names = (await ask("GET", "/experiments")).json.map((e: any) => e.name);
  expect([names.includes("other"), names.includes("before")]).toEqual([false, false]);
});

test("the experiments are a table, too", async () => {
  const list = (await ask("GET", "/experiments")).json;
  const table = (await ask("GET", "/experiments.json")).json;
  expect(table.map((e: any) => e.name)).toEqual(list.map((e: any) => e.name));
  expect((await ask("GET", "/experiments.csv")).text).toMatch(/^id,name,hypothesis,/);
});
