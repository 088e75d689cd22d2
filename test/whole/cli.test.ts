import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connect } from "../../client/index.ts";
import { assay, cli, serverForTests, start, temporaryFolder } from "./server.ts";

const server = await serverForTests();
const home = temporaryFolder();
const env = { ASSAY_URL: server.url, ASSAY_HOME: home };

test("assay log reads JSON lines and prints the run's id", async () => {
  const input = [
    '{"loss": 1, "step": 0}',
    '{"loss": NaN, "val": {"acc": 0.5}, "step": 1, "time": 1795432172440}',
    '{"loss": "-Infinity", "step": 2}',
    "epoch done",
  ].join("\n");
  const { code, out } = await assay(
    [
      "log",
      "--experiment",
      "piped",
      "--name",
      "one",
      "--param",
      "lr=0.1",
      "--param",
      "note=1e",
      "--tag",
      "a=b",
    ],
    { env, input },
  );
  expect(code).toBe(0);
  const id = out.trim();
  const run = await (await fetch(`${server.url}/api/v1/runs/${id}`)).json();
  expect(run).toMatchObject({
    name: "one",
    state: "finished",
    params: { lr: 0.1, note: "1e" },
    tags: { a: "b" },
    points: 4,
    lines: 1,
  });
  const points = await (await fetch(`${server.url}/api/v1/points.json?run=${id}`)).json();
  expect(points.map(({ key, step, value }: any) => [key, step, value])).toEqual([
    ["loss", 0, 1],
    ["loss", 1, "NaN"],
    ["loss", 2, "-Infinity"],
    ["val/acc", 1, 0.5],
  ]);
  expect(points[3].time).toBe(1795432172440);
});

test("Ctrl-C ends a piped run as killed", async () => {
  const logging = start(process.execPath, [cli, "log", "--experiment", "piped"], { env });
  logging.child.stdin!.write('{"loss": 1}\n');
  const id = (await logging.until(/[0-9a-f]{32}/)).trim();
  await new Promise((resolve) => setTimeout(resolve, 300));
  logging.child.kill("SIGINT");
  expect(await logging.ended).toBe(130);
  expect(await (await fetch(`${server.url}/api/v1/runs/${id}`)).json()).toMatchObject({
    state: "killed",
    points: 1,
  });
});

test("assay runs and points list what is there, as a table and as JSON", async () => {
  const table = await assay(
    ["runs", "piped", "--where", "name = 'one'", "--columns", "name,params.lr,metrics.loss.min"],
    { env },
  );
  expect(table.out.split("\n").slice(0, 2)).toEqual([
    "name   lr   loss.min",
    "one   0.1  -Infinity",
  ]);
  const [run] = JSON.parse(
    (await assay(["runs", "piped", "--where", "name = 'one'", "--json"], { env })).out,
  );
  expect(run).toMatchObject({ name: "one", "params.lr": 0.1, "metrics.loss": "-Infinity" });
  const points = JSON.parse(
    (await assay(["points", "--run", run.id, "--key", "loss", "--from", "1", "--json"], { env }))
      .out,
  );
  expect(points.map((point: any) => point.value)).toEqual(["NaN", "-Infinity"]);
});

test("assay change changes runs by ids or by a filter, and assay undo takes it back", async () => {
  const lab = await connect(server.url);
  const before = await lab.runs("piped");
  const listed = async () => (await lab.runs("piped")).numRows;
  const changed = await assay(
    ["change", "--experiment", "piped", "--where", "name = 'one'", "--archive"],
    { env },
  );
  const [, id] =
    /^1 changed, 0 unchanged\nassay undo ([0-9a-f]{32}) {2}takes it back, until \S+Z\n$/.exec(
      changed.out,
    ) ?? [];
  expect(changed).toMatchObject({ code: 0, err: "" });
  expect(await listed()).toBe(before.numRows - 1);
  expect(await assay(["undo", id!], { env })).toMatchObject({ code: 0, out: "1 restored\n" });
  expect(await listed()).toBe(before.numRows);
  const run = String(before.getChild("id")!.get(0));
  const tagged = await assay(
    ["change", run, "--tag", "team=a", "--tag", "eq=1=2", "--untag", "b", "--json"],
    { env },
  );
  expect(JSON.parse(tagged.out)).toMatchObject({ changed: 1, unchanged: 0 });
  expect((await lab.run(run)).tags).toMatchObject({
    team: "a",
    eq: "1=2",
  });
  expect(await assay(["change", "0".repeat(32), "--delete"], { env })).toMatchObject({
    code: 1,
    err: `assay: run not found: ${"0".repeat(32)}\n`,
  });
});

test("assay get downloads files and checks them", async () => {
  const lab = await connect(server.url);
  process.env["ASSAY_HOME"] = home;
  const run = await lab.startRun({ experiment: "files" });
  run.artifact("plots/a.txt", new TextEncoder().encode("hello"));
  run.artifact("model.bin", new Uint8Array(100_000).fill(7));
  await run.finish();
  const to = temporaryFolder();
  const { code, out } = await assay(["get", run.id, "--to", to], { env });
  expect(code).toBe(0);
  expect(out.trim().split("\n")).toHaveLength(2);
  expect(readFileSync(join(to, "plots/a.txt"), "utf8")).toBe("hello");
  expect(await assay(["get", run.id, "nothing.txt", "--to", to], { env })).toMatchObject({
    code: 1,
    err: expect.stringContaining("file not found: nothing.txt"),
  });
});

test("what cannot be done is said without a stack, with exit code 1", async () => {
  const unknown = await assay(["points", "--run", "0".repeat(32)], { env });
  expect(unknown).toMatchObject({ code: 1, err: `assay: run not found: ${"0".repeat(32)}\n` });
  const dead = await assay(["runs"], { env: { ...env, ASSAY_URL: "http://127.0.0.1:6553" } });
  expect(dead.code).toBe(1);
  expect(dead.err).toContain("ECONNREFUSED");
});
