import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeEach, expect, test } from "vitest";
import { journalsIn, openFileJournal } from "../../client/journal/file.ts";
import { operationRecord } from "../../client/journal/journal.ts";
import { platform } from "../../client/platform/node.ts";
import { syncJournal } from "../../client/sync.ts";
import { temporaryFolder } from "./folder.ts";
import { SmallServer } from "./server.ts";

const server = await new SmallServer().open();
afterAll(() => server.close());
const folder = temporaryFolder();
const { isAlive } = platform;
const library = pathToFileURL(join(import.meta.dirname, "../../client/index.ts")).href;
let scripts = 0;

beforeEach(() => server.reset());

/** Starts a program that has a `lab`, a `run`, `say` (to stdout, at once) and `wait`; its journals have their own home. */
function start(body: string) {
  const home = join(folder, String(scripts++));
  const path = `${home}.mjs`;
  writeFileSync(
    path,
    `import { writeSync } from "node:fs";
     import { connect } from ${JSON.stringify(library)};
     const say = (text) => writeSync(1, text + "\\n");
     const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
     const lab = await connect(${JSON.stringify(server.url)});
     const run = await lab.startRun({ experiment: "process" });
     ${body}`,
  );
  const child = spawn(process.execPath, [path], {
    env: { ...process.env, ASSAY_HOME: home, NODE_OPTIONS: "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | string);
  const until = async (text: string) => {
    while (!out.includes(text)) {
      if (child.exitCode !== null) throw new Error(`ended without ${text}: ${out}${err}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  /** Sends what the process left, as \`assay sync\` does. */
  const sync = () =>
    Promise.all(
      journalsIn(join(home, "journal")).map((journal) =>
        syncJournal(openFileJournal(journal, { isNew: false }), { isAlive }),
      ),
    );
  return { child, out: () => out, err: () => err, ended, until, sync };
}

const values = () => server.run.points.map(({ value }) => value);
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);

test("a script that comes to its end has finished its run, and exits promptly", async () => {
  const { ended, until, sync } = start(
    `for (let i = 0; i < 10; i++) run.log({ loss: i });
     run.print("good bye");
     say("end");`,
  );
  await until("end");
  const began = performance.now();
  expect(await ended).toBe(0);
  expect(performance.now() - began).toBeLessThan(800);
  expect(server.run.finish).toMatchObject({ state: "finished" });
  expect(values()).toEqual(upTo(10));
  expect(server.run.lines[0]!.text).toBe("good bye");
  expect(await sync()).toEqual([]);
});

test("a script whose run has finished exits at once", async () => {
  const { ended, until } = start(`run.log({ loss: 0 }); await run.finish(); say("end");`);
  await until("end");
  const began = performance.now();
  expect(await ended).toBe(0);
  expect(performance.now() - began).toBeLessThan(500);
});

test("a script that ends with an exit code of its own has failed its run", async () => {
  const { ended } = start(`process.exitCode = 4;`);
  expect(await ended).toBe(4);
  expect(server.run.finish).toMatchObject({ state: "failed", error: "exit code 4" });
});

test.for([
  ["an uncaught exception", `setTimeout(() => { throw new RangeError("lr is huge"); }, 20);`],
  ["an unhandled rejection", `void Promise.reject(new RangeError("lr is huge"));`],
  ["a throw at the top", `await wait(20); throw new RangeError("lr is huge");`],
])("%s fails the run with its stack, and the process as always", async ([, body]) => {
  const { ended, err } = start(`run.log({ loss: 0 }); ${body} await wait(60_000);`);
  expect(await ended).toBe(1);
  expect(err()).toContain("RangeError: lr is huge");
  expect(server.run.finish!.state).toBe("failed");
  expect(server.run.finish!.error).toMatch(/^RangeError: lr is huge\n\s+at .*\.mjs/);
  expect(values()).toEqual([0]);
});

test("process.exit leaves no time, so its code is noted and sync tells it", async () => {
  const { ended, sync } = start(`run.log({ loss: 0 }); run.log({ loss: 1 }); process.exit(3);`);
  expect(await ended).toBe(3);
  expect(await sync()).toEqual([expect.objectContaining({ state: "sent", points: 2 })]);
  expect(server.run.finish).toMatchObject({ state: "failed", error: "exit code 3" });
  expect(values()).toEqual([0, 1]);
});

test.for([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s ends the run as killed and the process with %i", async ([signal, code]) => {
  const { child, ended, until } = start(
    `for (let i = 0; ; i++) { run.log({ loss: i }); say(i); await wait(1); }`,
  );
  await until("\n20\n");
  child.kill(signal);
  expect(await ended).toBe(code);
  expect(server.run.finish).toMatchObject({ state: "killed" });
  expect(values().length).toBeGreaterThan(20);
});

test("a second Ctrl-C does not wait for a server that hangs", async () => {
  server.faultOf = () => "hang";
  const { child, ended, until, sync } = start(
    `run.log({ loss: 0 }); say("up"); await wait(60_000);`,
  );
  await until("up");
  child.kill("SIGINT");
  await new Promise((resolve) => setTimeout(resolve, 200));
  const began = performance.now();
  child.kill("SIGINT");
  expect(await ended).toBe(130);
  expect(performance.now() - began).toBeLessThan(500);
  server.faultOf = () => undefined;
  await sync();
  expect(server.run.finish).toMatchObject({ state: "killed" });
});

test("a program's own way with Ctrl-C is respected, and its run goes on", async () => {
  const { child, ended, until } = start(
    `let isAsked = false;
     process.on("SIGINT", () => (isAsked = true));
     say("up");
     while (!isAsked) await wait(5);
     run.log({ loss: 0 });
     say("saved");`,
  );
  await until("up");
  child.kill("SIGINT");
  await until("saved");
  expect(await ended).toBe(0);
  expect(server.run.finish).toMatchObject({ state: "finished" });
  expect(values()).toEqual([0]);
});

test("a program's own way with exceptions is respected, and its run goes on", async () => {
  const { ended } = start(
    `process.on("uncaughtException", () => say("caught"));
     setTimeout(() => { throw new Error("harmless"); }, 5);
     await wait(50);
     run.log({ loss: 0 });`,
  );
  expect(await ended).toBe(0);
  expect(server.run.finish).toEqual({ state: "finished", ended: expect.any(Number) });
  expect(values()).toEqual([0]);
});

test("a program that exits because of an exception it caught itself has failed with that", async () => {
  const { ended, sync } = start(
    `process.on("uncaughtException", () => process.exit(7));
     throw new Error("mine");`,
  );
  expect(await ended).toBe(7);
  await sync();
  expect(server.run.finish!.error).toMatch(/^Error: mine\n/);
});

test.for([50, 300, 900])(
  "a loop with an await per step, killed after %i ms: every step is there, once",
  async (delay) => {
    const { child, out, ended, until, sync } = start(
      `for (let i = 0; ; i++) { run.log({ loss: i, acc: -i }); say(i); await wait(0); }`,
    );
    await until("0\n");
    await new Promise((resolve) => setTimeout(resolve, delay));
    child.kill("SIGKILL");
    expect(await ended).toBe("SIGKILL");
    const last = Number(out().trim().split("\n").at(-1));
    for (const outcome of await sync()) expect(outcome.state).toBe("sent");
    const found = server.run.points.filter(({ key }) => key === "loss").map(({ value }) => value);
    expect(found).toEqual(upTo(found.length));
    expect(found.length).toBeGreaterThan(last);
    expect(server.run.points).toHaveLength(2 * found.length);
    expect(server.run.finish).toMatchObject({ state: "killed" });
  },
);

test.for([50, 300])(
  "a loop without any await, killed after %i ms, loses at most its last millisecond",
  async (delay) => {
    const { child, out, ended, until, sync } = start(
      `for (let i = 0; ; i++) { run.log({ loss: i }); say(i + " " + Date.now()); }`,
    );
    await until("\n10 ");
    await new Promise((resolve) => setTimeout(resolve, delay));
    child.kill("SIGKILL");
    await ended;
    const said = out()
      .slice(0, out().lastIndexOf("\n"))
      .split("\n")
      .map((line) => line.split(" ").map(Number) as [number, number]);
    const end = said.at(-1)![1];
    const safe = said.findLast(([, time]) => time < end - 1)![0];
    await sync();
    expect(values()).toEqual(upTo(values().length));
    expect(values().length).toBeGreaterThan(safe);
  },
);

test("a loop that takes its time over a step, without an await, loses none", async () => {
  const { child, out, ended, until, sync } = start(
    `const busy = () => { for (const end = performance.now() + 0.2; performance.now() < end; ); };
     for (let i = 0; ; i++) { run.log({ loss: i }); say(i); busy(); }`,
  );
  await until("\n500\n");
  child.kill("SIGKILL");
  await ended;
  await sync();
  expect(values()).toEqual(upTo(values().length));
  expect(values().length).toBeGreaterThanOrEqual(out().trim().split("\n").length);
});

test("a process killed while the server is away and in the midst of requests doubles nothing", async () => {
  const { child, ended, until, sync } = start(
    `for (let i = 0; ; i++) { run.log({ loss: i }); say(i); await wait(1); }`,
  );
  let n = 0;
  server.faultOf = ({ what }) =>
    what === "points" ? (["after", "before", undefined] as const)[n++ % 3] : undefined;
  await until("\n800\n");
  child.kill("SIGKILL");
  await ended;
  server.faultOf = () => undefined;
  await sync();
  expect(values()).toEqual(upTo(values().length));
  expect(values().length).toBeGreaterThan(800);
});

test("two runs of one process end each in its own way", async () => {
  const { ended } = start(
    `const other = await lab.startRun({ experiment: "process", name: "other" });
     run.log({ loss: 0 });
     other.log({ loss: 1 });
     await other.finish("failed", { error: "diverged" });
     run.log({ loss: 2 });`,
  );
  expect(await ended).toBe(0);
  const ends = [...server.runs.values()].map(({ start, points, finish }) => [
    start["name"],
    points.map(({ value }) => value),
    finish!.state,
  ]);
  expect(ends).toEqual([
    [undefined, [0, 2], "finished"],
    ["other", [1], "failed"],
  ]);
});

test("an exception fails every run that is open, and none that has finished", async () => {
  const { ended } = start(
    `const other = await lab.startRun({ experiment: "process" });
     await run.finish();
     throw new Error("late");`,
  );
  expect(await ended).toBe(1);
  expect([...server.runs.values()].map(({ finish }) => finish!.state)).toEqual([
    "finished",
    "failed",
  ]);
});

test("sync leaves the journal of a living process alone", async () => {
  const { child, ended, until, sync } = start(
    `for (let i = 0; ; i++) { run.log({ loss: i }); say(i); await wait(5); }`,
  );
  await until("\n5\n");
  expect(await sync()).toEqual([expect.objectContaining({ state: "running", points: 0 })]);
  child.kill("SIGTERM");
  expect(await ended).toBe(143);
  expect(values()).toEqual(upTo(values().length));
});

test("a journal whose pid was given to another process since is sent", async () => {
  const id = "a".repeat(32);
  const journal = openFileJournal(join(folder, `${id}.journal`));
  const head = { op: "head" as const, url: server.url, run: id, writer: "w" };
  journal.append(operationRecord({ ...head, ...platform.owner(), born: "long ago" }));
  journal.append(operationRecord({ op: "start", body: { id, experiment: "process" } }));
  expect(await syncJournal(journal, { isAlive })).toMatchObject({ run: id, state: "sent" });
  expect(server.run.finish!.state).toBe("killed");
});
