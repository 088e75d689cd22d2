import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { openFileJournal } from "../../../client/journal/file.ts";
import { operationRecord, type Operation } from "../../../client/journal/journal.ts";
import { platform } from "../../../client/platform/node.ts";
import { temporaryFolder } from "../folder.ts";
import { SmallServer } from "../server.ts";

const server = await new SmallServer().open();
afterAll(() => server.close());
const folder = join(import.meta.dirname, "../../../client/cli");
const homes = temporaryFolder();
let home: string;
let n = 0;

beforeEach(() => {
  server.reset();
  home = join(homes, String(n++));
});

/** Runs the command line from its sources; its input ends after a while. */
async function assay(
  args: string[],
  input = "",
  { env = {}, after = 0 }: { env?: Record<string, string>; after?: number } = {},
) {
  const child = spawn(process.execPath, [join(folder, "assay.ts"), ...args], {
    env: { ...process.env, ASSAY_URL: server.url, ASSAY_HOME: home, NODE_OPTIONS: "", ...env },
  });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  child.stdin.on("error", () => undefined).write(input);
  setTimeout(() => child.stdin.end(), after);
  const [code] = await once(child, "close");
  return { code: code as number, out, err };
}

const names = [
  "start",
  "dev",
  "demo",
  "log",
  "sync",
  "runs",
  "change",
  "undo",
  "points",
  "get",
  "import",
  "export",
];
const connectionOptions = ["url", "token"];

test.for(names)(
  "the help of %s mentions every option it takes, and shows an example",
  async (name) => {
    const source = readFileSync(join(folder, `${name}.ts`), "utf8");
    const { help } = await import(join(folder, `${name}.ts`));
    const own = [...source.matchAll(/"?([\w-]+)"?: \{ type: "(?:string|boolean)"/g)].map(
      ([, o]) => o,
    );
    const shared = /\bconnection\b[,} ]/.test(source) ? connectionOptions : [];
    for (const option of [...own, ...shared]) expect(help).toContain(`--${option}`);
    for (const [, option] of help.matchAll(/\[--([\w-]+)/g))
      expect([...own, ...shared]).toContain(option);
    expect(help).toMatch(/\nExamples?\n {2}\S/);
  },
);

test("every command is in the overview, and help shows each", async () => {
  const { code, out } = await assay([]);
  expect(code).toBe(0);
  for (const name of names) expect(out).toMatch(new RegExp(`^ {2}${name} +[A-Z]`, "m"));
  expect((await assay(["help", "sync"])).out).toBe((await assay(["sync", "--help"])).out);
});

test.for([
  [["nonsense"], "unknown command: nonsense"],
  [["log"], "missing --experiment"],
  [["log", "--experiment", "x", "--param", "lr"], "invalid --param: lr (expected name=value)"],
  [["log", "--experiment", "x", "--tag", "=v"], "invalid --tag: =v (expected name=value)"],
  [["log", "--nonsense"], "Unknown option '--nonsense'"],
  [["points"], "missing --experiment or --run"],
  [["points", "--run", "x", "--from", "here"], "invalid --from: here (expected a number)"],
  [["runs", "--limit", "-1"], "--limit"],
  [["runs", "--limit", "many"], "invalid --limit: many (expected a whole number)"],
  [["get"], "missing run"],
  [["change"], "missing runs, --experiment or --where"],
  [["change", "x", "--where", "y"], "not by both"],
  [["change", "x"], "missing what to change"],
  [["change", "x", "--note", "y", "--delete"], "one change at a time"],
  [["change", "x", "--tag", "y"], "invalid --tag: y (expected name=value)"],
  [["undo"], "missing change"],
  [["undo", "x", "y"], "one change at a time"],
  [["import"], "missing tracker (expected mlflow)"],
  [["import", "nonsense"], "unknown tracker: nonsense (expected mlflow)"],
  [["import", "mlflow"], "missing source"],
  [["import", "mlflow", "a", "b"], "one source at a time: b"],
  [["import", "mlflow", "postgresql://u@h/db"], "invalid source: postgresql://u@h/db"],
  [["export", "mlflow"], "missing folder"],
  [["export", "nonsense", "a"], "unknown tracker: nonsense (expected mlflow)"],
  [["sync", "--timeout", "1.5"], "invalid --timeout: 1.5 (expected a whole number)"],
  [["start", "--port", "x"], "invalid --port: x (expected a whole number)"],
] as const)("what is typed wrong exits with 2: %j", async ([args, message]) => {
  const { code, out, err } = await assay([...args]);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toContain(message);
  expect(err).toContain("assay help");
  expect(err).not.toContain("    at ");
});

test("an address that is none is said as such", async () => {
  expect(await assay(["runs", "--url", "localhost:80"])).toMatchObject({
    code: 1,
    err: "assay: invalid url: localhost:80\n",
  });
});

test("params are the JSON they look like, else text; no digit is lost", async () => {
  const params = {
    lr: "0.1",
    layers: "[64,64]",
    nested: '{"a":{"b":1}}',
    yes: "true",
    none: "null",
    nan: "NaN",
    down: "-Infinity",
    quoted: '"7"',
    word: "adam",
    hex: "0x10",
    empty: "",
    equation: "a=b=c",
    seed: "12345678901234567890",
    commit: "1e",
  };
  const args = Object.entries(params).flatMap(([name, text]) => ["--param", `${name}=${text}`]);
  const { code, out } = await assay(["log", "--experiment", "x", ...args, "--tag", "lr=0.10"]);
  expect(code).toBe(0);
  const { start, finish } = server.run;
  expect(out).toBe(`${start["id"]}\n`);
  expect(start["params"]).toEqual({
    lr: 0.1,
    layers: "[64,64]",
    "nested.a.b": 1,
    yes: true,
    none: null,
    nan: "NaN",
    down: "-Infinity",
    quoted: "7",
    word: "adam",
    hex: "0x10",
    empty: "",
    equation: "a=b=c",
    seed: "12345678901234567890",
    commit: "1e",
  });
  expect(start["tags"]).toEqual({ lr: "0.10" });
  expect(finish!.state).toBe("finished");
});

test("assay log keeps its lines in order, the last one without an end, and says where the run is", async () => {
  const lines = ['{"loss": 1}', "epoch 1", '{"loss": NaN}\r', "", '{"loss": 3, "step": 9}'];
  const { code, out } = await assay(["log", "--experiment", "x", "--json"], lines.join("\n"));
  expect(code).toBe(0);
  const { start, points, lines: printed } = server.run;
  expect(JSON.parse(out)).toEqual({ id: start["id"], url: `${server.url}/runs/${start["id"]}` });
  expect(points.map(({ step, value }) => [step, value])).toEqual([
    [0, 1],
    [1, NaN],
    [9, 3],
  ]);
  expect(printed.map(({ text }) => text)).toEqual(["epoch 1"]);
});

test("assay log without a server keeps the lines, exits with 1, and sync sends them", async () => {
  const dead = { env: { ASSAY_URL: "http://127.0.0.1:6553" }, after: 500 };
  const { code, err } = await assay(["log", "--experiment", "x"], '{"loss": 1}\n', dead);
  expect(code).toBe(1);
  expect(err).toContain("assay sync");
  const sent = await assay(["sync", "--url", server.url]);
  expect(sent).toMatchObject({ code: 0, out: expect.stringMatching(/sent to .*, 1 points\n$/) });
  expect(server.run.finish!.state).toBe("finished");
  expect(await assay(["sync"])).toMatchObject({ code: 0, out: "nothing to send\n" });
});

/** Leaves a journal as a process does that died; `more` is what its head says besides. */
function leave(id: string, operations: Operation[] = [], more = {}): string {
  const path = join(home, "journal", `${id.repeat(32)}.journal`);
  const journal = openFileJournal(path);
  const head = { op: "head" as const, url: server.url, run: id.repeat(32), writer: "w", ...more };
  for (const operation of [
    head,
    { op: "start" as const, body: { id: head.run, experiment: "x" } },
    ...operations,
  ])
    journal.append(operationRecord(operation));
  journal.close();
  return path;
}

test("sync tells what became of each journal, and exits with 1 unless all are sent or still being logged", async () => {
  leave("a");
  leave("b", [], platform.owner());
  expect((await assay(["sync"])).code).toBe(0);
  leave("c", [{ op: "finish", body: { state: "finished" } }]);
  leave("d", [], { url: "http://127.0.0.1:6553" });
  writeFileSync(leave("e"), "this is no journal at all");
  server.faultOf = ({ path }) =>
    path.includes("c".repeat(32))
      ? { status: 409, body: JSON.stringify({ error_code: "INVALID_STATE", message: "closed" }) }
      : undefined;
  const { code, out } = await assay(["sync", "--timeout", "1", "--json"]);
  expect(code).toBe(1);
  const found = JSON.parse(out).map(({ run, state, problem }: any) => [run.at(-1), state, problem]);
  expect(found).toEqual([
    ["b", "running", undefined],
    ["c", "refused", "closed"],
    ["d", "waiting", "ECONNREFUSED"],
    ["l", "unreadable", expect.stringMatching(/^invalid journal: record of kind \d+ at 0$/)],
  ]);
  const text = (await assay(["sync", "--timeout", "1"])).out;
  expect(text).toContain("is still being logged");
  expect(text).toContain("refused by");
  expect(text).toContain("not sent yet to http://127.0.0.1:6553: ECONNREFUSED");
  expect(text).toContain("cannot be read: invalid journal");
  expect(readdirSync(join(home, "journal"))).toHaveLength(4);
});

test("sync removes a journal whose process died before it had logged anything, and no other file", async () => {
  openFileJournal(join(home, "journal", "empty.journal")).close();
  expect((await assay(["sync"])).code).toBe(0);
  expect(readdirSync(join(home, "journal"))).toEqual([]);
  const mine = join(home, "mine.txt");
  writeFileSync(mine, "");
  expect(await assay(["sync", mine])).toMatchObject({
    code: 1,
    out: `${mine}  cannot be read: not a journal\n`,
  });
  expect(await assay(["sync", join(home, "nothing.journal")])).toMatchObject({
    code: 1,
    out: expect.stringContaining("ENOENT"),
  });
  expect(readdirSync(home)).toContain("mine.txt");
});

test("a server that takes its time is waited for as long as it takes anything", async () => {
  const rows = Array.from({ length: 6 }, (_, i): Operation[] => [
    { op: "print", time: 1, stream: "out", text: "x".repeat(99_000) },
    { op: "patch", body: { note: String(i) } },
  ]);
  leave("a", [...rows, ...rows, ...rows].flat());
  let last = 0;
  server.faultOf = ({ what, at }) => {
    if (what !== "console" || at - last < 700) return undefined;
    last = at;
    return { status: 503 };
  };
  const { code } = await assay(["sync", "--timeout", "1"]);
  expect(code).toBe(0);
  expect(server.run.lines).toHaveLength(18);
});
