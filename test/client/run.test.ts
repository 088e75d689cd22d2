import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test, vi } from "vitest";
import { journalFolder, journalsIn, openFileJournal } from "../../client/journal/file.ts";
import { operationRecord } from "../../client/journal/journal.ts";
import { connect, type LoggedRun } from "../../client/index.ts";
import { temporaryFolder } from "./folder.ts";
import { SmallServer } from "./server.ts";

const server = await new SmallServer().open();
afterAll(() => server.close());
const home = temporaryFolder();
const leftHome = temporaryFolder();
const journals = () =>
  readdirSync(join(home, "journal")).filter((name) => name.endsWith("journal"));

const warn = vi.spyOn(console, "warn");
const said = () => warn.mock.calls.map(([text]) => String(text));
const open: LoggedRun[] = [];

beforeEach(async () => {
  process.env["ASSAY_HOME"] = home;
  warn.mockReset().mockReturnValue(undefined);
  await server.open();
  server.reset();
});
afterEach(async () => {
  for (const run of open.splice(0)) await run.finish("killed", { timeout: 0 });
});

async function startRun(options = {}): Promise<LoggedRun> {
  const run = await (await connect(server.url)).startRun({ experiment: "run", ...options });
  open.push(run);
  return run;
}

/** [key, step, value] of the points that the server has. */
const points = () => server.run.points.map(({ key, step, value }) => [key, step, value]);

/** How long something takes that waits for nothing, in ms. */
function taken(task: () => void): number {
  const began = performance.now();
  task();
  return performance.now() - began;
}

test("a step that is not given is one more than the last", async () => {
  const run = await startRun();
  run.log({ loss: 1 });
  run.log({ loss: 2 });
  run.log({ loss: 3 }, { step: 10 });
  run.log({ loss: 4 });
  run.log({ loss: 5 }, { step: 2.5 });
  run.log({ loss: 6 });
  await run.finish();
  expect(points().map(([, step]) => step)).toEqual([0, 1, 10, 11, 2.5, 3.5]);
});

test("nested values join their keys with a slash; booleans, bigints and number words are numbers", async () => {
  const run = await startRun();
  run.log({ val: { top: { acc: 0.5 } }, ok: true, big: 12n, bad: "NaN", up: "Infinity" });
  await run.finish();
  expect(points()).toEqual([
    ["val/top/acc", 0, 0.5],
    ["ok", 0, 1],
    ["big", 0, 12],
    ["bad", 0, NaN],
    ["up", 0, Infinity],
  ]);
});

test("NaN, infinities and -0 arrive as they were logged, by the slow path and the fast", async () => {
  const run = await startRun();
  const values = [NaN, Infinity, -Infinity, -0];
  for (const loss of [...values, ...values]) run.log({ loss });
  await run.finish();
  expect(points().map(([, , value]) => value)).toEqual([...values, ...values]);
});

const cyclic: Record<string, unknown> = { a: 1 };
cyclic["self"] = { other: cyclic };
const deep = JSON.parse(`${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`);
const bad: [string, () => unknown][] = [
  ["undefined", () => undefined],
  ["null", () => null],
  ["a string", () => "loss"],
  ["a symbol", () => Symbol("loss")],
  ["a function", () => () => 1],
  ["undefined values", () => ({ a: undefined })],
  ["null values", () => ({ a: null })],
  ["strings", () => ({ a: "high" })],
  ["functions and symbols", () => ({ a: () => 1, b: Symbol("b") })],
  ["a key of 100,000 characters", () => ({ ["x".repeat(100_000)]: 1 })],
  ["keys with control characters", () => ({ "a\u0000b": 1, "": 2, "\ud800": 3 })],
  ["a cyclic object", () => cyclic],
  ["an object that is nested deep", () => deep],
  [
    "a getter that throws",
    () => ({
      get a() {
        throw new Error("mine");
      },
    }),
  ],
  [
    "something thrown that is no error",
    () => ({
      get a() {
        throw null;
      },
    }),
  ],
  ["a revoked proxy", () => Proxy.revocable({}, {})],
  ["an object without a prototype", () => Object.assign(Object.create(null), { b: {} })],
];

test.for(bad)("logging %s neither throws nor harms what is logged after it", async ([, make]) => {
  const run = await startRun();
  run.log({ loss: 1 }, { step: 1 });
  const values = make() as Record<string, number>;
  if ("revoke" in Object(values)) (values as any).revoke();
  run.log(((values as any)?.proxy ?? values) as Record<string, number>, { step: 2 });
  run.log({ loss: 3 }, { step: 3 });
  const { delivered } = await run.finish();
  expect(delivered).toBe(true);
  expect(points().filter(([key]) => key === "loss")).toEqual([
    ["loss", 1, 1],
    ["loss", 3, 3],
  ]);
});

test("a cyclic object gives its numbers once, and its cycle is said", async () => {
  const run = await startRun();
  run.log(cyclic as Record<string, number>);
  await run.finish();
  expect(points()).toEqual([["a", 0, 1]]);
  expect(said()).toEqual([expect.stringContaining("invalid value of self/other")]);
});

test.for<[string, unknown]>([
  ["NaN", NaN],
  ["infinite", Infinity],
  ["beyond 2^53", 2 ** 53],
  ["a text", "7"],
  ["a bigint", 7n],
  ["a symbol", Symbol("7")],
  ["an object", { valueOf: () => 7 }],
])("a step that is %s is said and dropped, and the next step is as before", async ([, step]) => {
  const run = await startRun();
  for (const value of [1, 2]) {
    run.log({ loss: value });
    run.log({ loss: -1 }, { step: step as number });
  }
  await run.finish();
  expect(points()).toEqual([
    ["loss", 0, 1],
    ["loss", 1, 2],
  ]);
  expect(said()).toEqual([expect.stringMatching(/: invalid step: .*: dropped$/)]);
});

test.for([NaN, -1, 253_402_300_800_000, Infinity, "now"])(
  "a time that is %s is said and dropped, where it would have the server refuse the run",
  async (time) => {
    const run = await startRun();
    run.log({ loss: 1 }, { time: 5 });
    run.log({ loss: 2 }, { time: time as number });
    run.log({ loss: 3 }, { time: 7 });
    expect(await run.finish()).toMatchObject({ delivered: true });
    expect(server.run.points.map(({ time }) => time)).toEqual([5, 7]);
  },
);

test("20,000 keys in one call all arrive, at one step, in requests of a bearable size", async () => {
  const run = await startRun();
  const values = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`key ${i}`, i]));
  run.log(values, { step: 7 });
  run.log(values, { step: 8 });
  await run.finish();
  expect(points()).toHaveLength(40_000);
  expect(
    points().filter(([key, step, value]) => key === `key ${value}` && step === 7),
  ).toHaveLength(20_000);
  expect(server.count("points")).toBe(8);
});

test.for(["dead", "hanging"])(
  "with a %s server, logging takes no time and finish ends in time",
  async (how) => {
    if (how === "dead") await server.close();
    else server.faultOf = () => "hang";
    const run = await startRun();
    const took = taken(() => {
      for (let step = 0; step < 20_000; step++) run.log({ loss: step }, { step });
      run.print("still here");
      run.param("lr", 0.1);
      run.artifact("a.txt", new Uint8Array(10));
    });
    expect(took).toBeLessThan(500);
    const began = performance.now();
    expect(await run.finish("finished", { timeout: 300 })).toEqual({
      delivered: false,
      state: "finished",
    });
    expect(performance.now() - began).toBeLessThan(800);
    expect(journals()).toContain(`${run.id}.journal`);
    expect(said().at(-1)).toContain("send it with: assay sync");
  },
);

test("a finished run's journal is gone", async () => {
  const run = await startRun();
  run.artifact("a.bin", new Uint8Array(10));
  expect(journals()).toContain(`${run.id}.journal`);
  expect(await run.finish("failed", { error: "diverged" })).toEqual({
    delivered: true,
    state: "failed",
  });
  expect(server.run.finish).toMatchObject({ state: "failed", error: "diverged" });
  expect(readdirSync(join(home, "journal")).filter((name) => name.startsWith(run.id))).toEqual([]);
});

test("a server that came back just before the end is given everything", async () => {
  await server.close();
  const run = await startRun();
  run.log({ loss: 1 });
  await new Promise((resolve) => setTimeout(resolve, 2000)); // it waits for a second or more by now
  await server.open();
  expect(await run.finish()).toMatchObject({ delivered: true });
  expect(points()).toEqual([["loss", 0, 1]]);
});

test("finishing twice ends the run once, as it was told first", async () => {
  const run = await startRun();
  const [first, second] = await Promise.all([run.finish("failed"), run.finish("finished")]);
  expect(second).toBe(first);
  expect(await run.finish("killed")).toEqual({ delivered: true, state: "failed" });
  expect(server.count("finish")).toBe(1);
});

test("what is logged after finish is dropped and said once, on the fast path too", async () => {
  const run = await startRun();
  run.log({ loss: 1 });
  run.log({ loss: 2 });
  const finished = run.finish();
  for (let i = 0; i < 100; i++) run.log({ loss: 3 });
  await finished;
  for (let i = 0; i < 100; i++) run.log({ loss: 4 });
  run.log({ acc: 4 });
  run.print("late");
  run.param("late", 1);
  run.artifact("late.txt", new Uint8Array(1));
  expect(points().map(([, , value]) => value)).toEqual([1, 2]);
  expect(said()).toEqual([expect.stringContaining("logged after the run finished: dropped")]);
});

test("params, tags, notes, lines and files arrive, each in its order", async () => {
  const run = await startRun({ params: { lr: 0.1, deep: { wd: NaN } }, tags: ["new"] });
  run.param("layers", [64, 64]);
  run.param("optim", { name: "adam", eps: -0 });
  run.param("bad", NaN);
  run.tag("stage", "warm-up");
  run.tag("stage", "done");
  run.tag("new", null);
  run.note("first");
  run.note("second");
  run.print("one\ntwo\n");
  run.print("three", { stream: "err", time: 5 });
  run.artifact("a.txt", new TextEncoder().encode("first"));
  run.artifact("b.json", new Blob(["{}"]));
  await run.finish();
  const { start, patches, lines, files } = server.run;
  expect(start["params"]).toEqual({ lr: 0.1, "deep.wd": "NaN" });
  const patch = Object.assign({}, ...patches);
  expect(patch).toEqual({
    note: "second",
    tags: { stage: "done", new: null },
    params: { layers: "[64,64]", "optim.name": "adam", "optim.eps": -0, bad: "NaN" },
  });
  expect(lines.map(({ text, stream }) => [text, stream])).toEqual([
    ["one", "out"],
    ["two", "out"],
    ["three", "err"],
  ]);
  expect(lines[2]!.time).toBe(5);
  expect([files["a.txt"]!.type, files["b.json"]!.type]).toEqual(["text/plain", "application/json"]);
});

test("a param keeps its value: another is said and dropped, and takes nothing else with it", async () => {
  const run = await startRun({ params: { lr: 0.1 } });
  run.param("lr", 0.1);
  run.param("lr", 0.2);
  run.param("wd", 0);
  run.param("wd", 1);
  await run.finish();
  expect(server.run.patches).toEqual([{ params: { wd: 0 } }]);
  expect(said()).toEqual([
    expect.stringContaining("param is already set: lr = 0.1, not 0.2: dropped"),
    expect.stringContaining("param is already set: wd = 0, not 1: dropped"),
  ]);
});

test("wrong params, tags, texts and paths are said, not thrown, and stop nothing", async () => {
  const run = await startRun();
  run.param("cycle", [cyclic]);
  run.param("", 1);
  run.param("f", () => 1);
  run.tag("x".repeat(300));
  run.tag("number", {} as string);
  run.note(undefined as unknown as string);
  run.print(undefined as unknown as string);
  run.print(`${"x".repeat(99_999)}😀 \ud800`, { stream: "stdout" as "out", time: NaN });
  run.artifact("../secret", new Uint8Array(1));
  run.artifact("nothing.bin");
  run.artifact(home);
  run.artifact("typed", new Uint8Array(1), { type: "text/plain\r\nx: y" });
  run.tag("good");
  expect(await run.finish()).toMatchObject({ delivered: true });
  expect(server.run.patches).toEqual([{ note: "undefined", tags: { good: "" } }]);
  expect(server.run.lines.every(({ text }) => text.isWellFormed() && text.length <= 100_000)).toBe(
    true,
  );
  expect(server.run.lines).toHaveLength(2);
  expect(server.run.files).toEqual({});
  expect(said()).toHaveLength(9);
});

test("an error text that no server takes is made one that it does", async () => {
  const run = await startRun();
  await run.finish("failed", { error: `${"x".repeat(99_999)}😀` });
  const { error } = server.run.finish!;
  expect(error).toHaveLength(100_000);
  expect(error!.isWellFormed()).toBe(true);
});

test("an artifact keeps the content it had, and a path below here its folders", async () => {
  const run = await startRun();
  const bytes = new Uint8Array([1, 2, 3]);
  run.artifact("bytes.bin", bytes);
  bytes.fill(9);
  mkdirSync(join(home, "plots"), { recursive: true });
  writeFileSync(join(home, "plots/roc.png"), "png");
  run.artifact(join(home, "plots/roc.png"));
  run.artifact("./LICENSE");
  await run.finish();
  expect(Object.keys(server.run.files).sort()).toEqual(["LICENSE", "bytes.bin", "roc.png"]);
  expect([...server.run.files["bytes.bin"]!.content]).toEqual([1, 2, 3]);
});

test("flush resolves to true when all is delivered, to false while it is not", async () => {
  const run = await startRun();
  run.log({ loss: 1 });
  run.artifact("a.txt", new Uint8Array(10));
  expect(await run.flush()).toBe(true);
  expect(points()).toHaveLength(1);
  expect(Object.keys(server.run.files)).toEqual(["a.txt"]);
  server.faultOf = () => "hang";
  run.log({ loss: 2 });
  expect(await run.flush({ timeout: 100 })).toBe(false);
});

test("a run whose journal cannot be written still logs, files on disk included", async () => {
  const file = join(home, "a-file");
  writeFileSync(file, "content");
  process.env["ASSAY_HOME"] = file; // a folder cannot be made below it
  const run = await startRun();
  for (let i = 0; i < 20_000; i++) run.log({ loss: i });
  run.artifact(file);
  run.artifact("memory.bin", new Uint8Array([1]));
  expect(await run.finish()).toMatchObject({ delivered: true });
  expect(points()).toHaveLength(20_000);
  expect(Object.keys(server.run.files).sort()).toEqual(["a-file", "memory.bin"]);
  expect(said()).toEqual([expect.stringMatching(/^assay: cannot write .*a crash will lose/)]);
});

test.for<[string, object]>([
  ["experiment", { experiment: "" }],
  ["name", { name: "x".repeat(300) }],
  ["tag", { tags: { a: "x".repeat(9000) } }],
  ["parent", { parent: "me" }],
  ["param", { params: { "a\u0000": 1 } }],
])(
  "a wrong %s is thrown at the start, where the server would refuse the run",
  async ([name, options]) => {
    await expect(startRun(options)).rejects.toThrow(new RegExp(`invalid .*${name}|${name} .*long`));
    expect(server.seen).toEqual([]);
  },
);

test("lab.sync sends what earlier processes left for its server, and leaves what is for others", async () => {
  process.env["ASSAY_HOME"] = leftHome;
  for (const [id, url] of [
    ["a", server.url],
    ["b", "http://127.0.0.1:6553"],
  ] as const) {
    const run = id.repeat(32);
    const journal = openFileJournal(join(journalFolder(), `${run}.journal`));
    journal.append(operationRecord({ op: "head", url, run, writer: "w", pid: 1, host: "other" }));
    journal.append(operationRecord({ op: "start", body: { id: run, experiment: "left" } }));
    journal.close();
  }
  const lab = await connect(server.url);
  expect(await lab.sync()).toEqual([
    expect.objectContaining({ run: "a".repeat(32), state: "sent" }),
  ]);
  expect(server.run.finish!.state).toBe("killed");
  expect(journalsIn(journalFolder())).toEqual([expect.stringContaining("b".repeat(32))]);
});

test.for(["localhost:8787", "not an address", "ftp://a"])("connect refuses %s", async (url) => {
  await expect(connect(url)).rejects.toThrow(`invalid url: ${url}`);
});
