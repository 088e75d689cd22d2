import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { childrenOf, lock } from "../../../client/cli/server/lock.ts";
import { bornOf } from "../../../client/platform/born.ts";
import { temporaryFolder } from "../folder.ts";

const folder = temporaryFolder();
let folders = 0;
const newData = () => join(folder, String(folders++));
const file = import.meta.dirname;
const library = pathToFileURL(join(file, "../../../client/cli/server/lock.ts")).href;

/** A process that takes a lock, says so or why not, and waits for its stdin to end. */
function holder(data: string) {
  const script = `import { lock } from ${JSON.stringify(library)};
    try { lock(${JSON.stringify(data)}); console.log("held"); process.stdin.resume(); }
    catch (error) { console.log(error.message); }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const said = once(child.stdout.setEncoding("utf8"), "data").then(([text]) => String(text).trim());
  const end = async (signal: NodeJS.Signals = "SIGKILL") => {
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  };
  return { child, said, end };
}

/** Writes a lock file as some process left it. */
function leave(data: string, holder: object): void {
  lock(data).release();
  writeFileSync(join(data, "lock"), JSON.stringify(holder));
}

test("the second who wants a folder is told who holds it, and where that answers", () => {
  const data = newData();
  const held = lock(data);
  expect(() => lock(data)).toThrow(
    `data folder ${data} is held by process ${process.pid}; stop it first, or use another --data`,
  );
  held.note({ url: "http://127.0.0.1:8787" });
  expect(() => lock(data)).toThrow(`is held by process ${process.pid} at http://127.0.0.1:8787;`);
  held.release();
  lock(data).release();
  expect(readdirSync(data)).toEqual([]);
});

test("a folder whose holder was killed is free", async () => {
  const data = newData();
  const { said, end } = holder(data);
  expect(await said).toBe("held");
  expect(() => lock(data)).toThrow(/is held by process/);
  await end();
  lock(data).release();
});

test("a pid that was given to another process since does not hold the folder", () => {
  const data = newData();
  leave(data, { pid: process.pid, born: "1" });
  lock(data).release();
});

test("a dead process that nobody has reaped does not hold the folder", async () => {
  const data = newData();
  // sh starts a child and becomes sleep, which never asks how that child ended.
  const parent = spawn("sh", ["-c", "sleep 0.2 & echo $!; exec sleep 60"]);
  const pid = Number(String((await once(parent.stdout, "data"))[0]));
  const born = bornOf(pid);
  expect(born).toBeDefined();
  leave(data, { pid, born });
  expect(() => lock(data)).toThrow(/is held/);
  await new Promise((resolve) => setTimeout(resolve, 500));
  lock(data).release();
  parent.kill();
});

test.for(["", "{", "null", '{"pid": 1e9}'])(
  "a lock file that says nothing useful is stale: %j",
  (text) => {
    const data = newData();
    lock(data).release();
    writeFileSync(join(data, "lock"), text);
    lock(data).release();
  },
);

test("only workerd is killed of what a dead holder started", async () => {
  const data = newData();
  const innocent = spawn("sleep", ["60"]);
  leave(data, { pid: 999_999_999, born: "1", children: [innocent.pid] });
  lock(data).release();
  expect(innocent.exitCode).toBeNull();
  expect(bornOf(innocent.pid!)).toBeDefined();
  innocent.kill();
});

test.for(["free", "stale"])(
  "of many who want a %s folder at once, exactly one gets it",
  { timeout: 30_000 },
  async (how) => {
    const data = newData();
    if (how === "stale") leave(data, { pid: 999_999_999, born: "1" });
    const holders = Array.from({ length: 8 }, () => holder(data));
    const said = await Promise.all(holders.map(({ said }) => said));
    expect(said.filter((text) => text === "held")).toHaveLength(1);
    const winner = holders[said.indexOf("held")]!.child.pid;
    for (const text of said.filter((text) => text !== "held"))
      expect(text).toContain(`is held by process ${winner}`);
    expect(JSON.parse(readFileSync(join(data, "lock"), "utf8")).pid).toBe(winner);
    expect(readdirSync(data)).toEqual(["lock"]);
    await Promise.all(
      holders.filter(({ child }) => child.exitCode === null).map(({ end }) => end()),
    );
  },
);

test("a process is named by when it started, as long as it runs", () => {
  expect(bornOf(process.pid)).toBe(bornOf(process.pid));
  expect(bornOf(process.pid)).not.toBe(bornOf(process.ppid));
  const { pid } = spawnSync("true");
  expect(bornOf(pid)).toBeUndefined();
});

test("the children of a process are those it started", async () => {
  const child = spawn("sleep", ["60"]);
  expect(childrenOf(process.pid)).toContain(child.pid);
  expect(childrenOf(child.pid!)).toEqual([]);
  child.kill();
});
