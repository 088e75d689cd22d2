import { existsSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { connect } from "../../client/index.ts";
import { testServer } from "./lossy-server.ts";

const home = mkdtempSync(join(tmpdir(), "assay-home-"));
const server = await testServer();
const warnings: string[] = [];
beforeAll(() => {
  process.env["ASSAY_HOME"] = home;
  vi.spyOn(console, "warn").mockImplementation((message: string) => void warnings.push(message));
});
afterAll(() => server.close());

const startRun = async (url = server.url) => (await connect(url)).startRun({ experiment: "test" });
const journals = () =>
  existsSync(join(home, "journal")) ? readdirSync(join(home, "journal")) : [];

test("values are logged with their steps: given, or one more than the last", async () => {
  const run = await startRun();
  run.log({ a: 1 });
  run.log({ a: 2 });
  run.log({ a: 3 }, { step: 10 });
  run.log({ a: 4, b: { c: 5, d: { e: true } } });
  expect(await run.finish()).toEqual({ delivered: true, state: "finished" });
  expect(server.points).toEqual(["a 0 1", "a 1 2", "a 10 3", "a 11 4", "b/c 11 5", "b/d/e 11 1"]);
  expect(journals()).toEqual([]);
});

test("nothing that is logged throws into the training, and what can be kept is kept", async () => {
  const run = await startRun();
  server.points.length = 0;
  const cyclic: Record<string, unknown> = { a: 1 };
  cyclic["self"] = cyclic;
  const odd = [
    undefined,
    null,
    "text",
    5,
    () => 1,
    Symbol("x"),
    [],
    {},
    cyclic,
    { ["k".repeat(1e5)]: 1 },
    { "": 1 },
    { "a\u0000": 1 },
    { bad: "text", fine: 1 },
    Object.defineProperty({}, "x", {
      enumerable: true,
      get: () => {
        throw new Error("no");
      },
    }),
  ];
  for (const values of odd) expect(() => run.log(values as never, { step: 0 })).not.toThrow();
  for (const step of [NaN, Infinity, 2 ** 60, "x"])
    expect(() => run.log({ a: 1 }, { step } as never)).not.toThrow();
  for (const time of [NaN, -1, 1e300])
    expect(() => run.log({ a: 1 }, { step: 1, time })).not.toThrow();
  run.log({ nan: NaN, inf: -Infinity, zero: -0, big: 10n, text: "Infinity" }, { step: 2 });
  await run.finish();
  expect(server.points).toEqual(
    expect.arrayContaining([
      "fine 0 1",
      "nan 2 NaN",
      "inf 2 -Infinity",
      "zero 2 0",
      "big 2 10",
      "text 2 Infinity",
    ]),
  );
  expect(server.points.filter((point) => /^a (NaN|1$|2 )/.test(point))).toEqual([]);
  expect(server.state()).toMatchObject({ state: "finished" });
});

test("what a run says of itself arrives: params, tags, note, console, files from memory and from disk", async () => {
  server.lines.length = 0;
  const path = join(home, "model.bin");
  writeFileSync(path, "weights");
  const run = await startRun();
  run.param("late", 5);
  run.tag("good");
  run.print("one\ntwo\n");
  run.print("three", { stream: "err" });
  run.artifact("plots/a.txt", new TextEncoder().encode("in memory"));
  run.artifact("b.txt", new Blob(["a blob"]));
  run.artifact(path);
  run.artifact("../escape.txt", new Uint8Array(1));
  run.artifact("missing.bin");
  await run.finish("failed", { error: "boom" });
  expect(server.lines).toEqual(["one", "two", "three"]);
  expect(Object.fromEntries(server.files)).toEqual({
    "plots/a.txt": "in memory",
    "b.txt": "a blob",
    "model.bin": "weights",
  });
  expect(server.state()).toMatchObject({ state: "failed", error: "boom" });
  expect(warnings.filter((message) => /not kept/.test(message))).toHaveLength(2);
});

test("a finished run takes nothing more, and says so once", async () => {
  const run = await startRun();
  run.log({ a: 1 });
  await run.finish();
  server.points.length = 0;
  const before = warnings.length;
  for (let i = 0; i < 5; i++) run.log({ a: 2 });
  run.print("late");
  expect(warnings.slice(before)).toEqual([expect.stringContaining("after the run finished")]);
  expect(await run.finish("failed")).toEqual({ delivered: true, state: "finished" });
  expect(server.points).toEqual([]);
});

test("a dead server costs the loop nothing, and finish a second; the journal stays for sync", async () => {
  const run = await startRun("http://127.0.0.1:6553");
  const began = performance.now();
  for (let step = 0; step < 10_000; step++) run.log({ loss: step }, { step });
  expect(performance.now() - began).toBeLessThan(500);
  await new Promise((resolve) => setTimeout(resolve, 200));
  const ending = performance.now();
  expect((await run.finish()).delivered).toBe(false);
  expect(performance.now() - ending).toBeLessThan(2000);
  expect(journals()).toEqual([`${run.id}.journal`]);
  expect(warnings.at(-1)).toContain("send it with: assay sync");
});

test("flush resolves to true when everything is with the server", async () => {
  const run = await startRun();
  run.log({ flushed: 1 });
  expect(await run.flush()).toBe(true);
  expect(server.points).toContain("flushed 0 1");
  await run.finish();
});

test("a folder that cannot be written costs the journal, not the run", async () => {
  process.env["ASSAY_HOME"] = join(home, "model.bin", "below-a-file");
  const run = await startRun();
  run.log({ anyway: 1 });
  expect((await run.finish()).delivered).toBe(true);
  expect(server.points).toContain("anyway 0 1");
  process.env["ASSAY_HOME"] = home;
});
