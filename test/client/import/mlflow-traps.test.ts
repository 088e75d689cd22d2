import initSqlJs from "sql.js";
import { expect, test } from "vitest";
import type { Skip } from "../../../client/import/found.ts";
import { readMlflowFiles } from "../../../client/import/mlflow-files.ts";
import { readMlflowDatabase } from "../../../client/import/mlflow-sqlite.ts";
import { tagsFromFields } from "../../../client/import/mlflow-tags.ts";
import { openSqlite } from "../../../client/import/sqlite.ts";
import { treeOfFiles } from "../../../client/import/tree.ts";
import { filesOf, gather, pointsOf } from "./expected.ts";

const id = "0123456789abcdef0123456789abcdef";
const experiment = "artifact_location: x\nexperiment_id: '1'\nlifecycle_stage: active\nname: one\n";
const run = `artifact_uri: ''\nend_time: 2000\nexperiment_id: '1'\nrun_id: ${id}\nrun_name: r\nrun_uuid: ${id}\nstart_time: 1000\nstatus: 3\n`;

/** Reads a store of one experiment with one run, from files by path; those given replace or join them. */
async function read(files: Record<string, string>) {
  const skips: Skip[] = [];
  const all = { "1/meta.yaml": experiment, [`1/${id}/meta.yaml`]: run, ...files };
  const tree = treeOfFiles(Object.entries(all).map(([path, text]) => [path, new Blob([text])]));
  const found = await gather(readMlflowFiles(tree, { onSkip: (skip) => skips.push(skip) }));
  const points = found.runs[0] ? await pointsOf(found.runs[0]) : {};
  return { ...found, points, skips, run: found.runs[0]! };
}

test("a metric's lines have two, three or more fields, whatever ends them", async () => {
  const { points, skips } = await read({
    [`1/${id}/metrics/old`]: "1000 0.5\n2000 0.25\n",
    [`1/${id}/metrics/windows`]: "1000 0.5 1\r\n2000 0.25 2\r\n",
    [`1/${id}/metrics/of/a/dataset`]: "1000 0.5 7 train 12ab\n",
    [`1/${id}/metrics/spaced`]: "1000 0.5 8 my train set 12ab\n",
    [`1/${id}/metrics/unended`]: "1000 1 1\n2000 2 2",
    [`1/${id}/metrics/odd`]:
      "1000 nan 0\n1000 inf 1\n1000 -inf 2\n1000 -0.0 3\n1000 1e-07 -4\n1000 NaN 5\n1000 Infinity 6\n",
    [`1/${id}/metrics/empty`]: "",
  });
  expect(points).toEqual({
    old: [
      [1000, 0, 0.5],
      [2000, 0, 0.25],
    ],
    windows: [
      [1000, 1, 0.5],
      [2000, 2, 0.25],
    ],
    "of/a/dataset": [[1000, 7, 0.5]],
    spaced: [[1000, 8, 0.5]],
    unended: [
      [1000, 1, 1],
      [2000, 2, 2],
    ],
    odd: [
      [1000, 0, "NaN"],
      [1000, 1, "Infinity"],
      [1000, 2, "-Infinity"],
      [1000, 3, -0],
      [1000, -4, 1e-7],
      [1000, 5, "NaN"],
      [1000, 6, "Infinity"],
    ],
  });
  expect(skips.map(({ what, name }) => [what, name])).toEqual([
    ["link", `of/a/dataset of run ${id}`],
    ["link", `spaced of run ${id}`],
  ]);
});

test("lines that hold no point are counted, and the others are read", async () => {
  const { points, skips } = await read({
    [`1/${id}/metrics/loss`]: "1000 0.5 1\n\nhello\n1000 x 2\n1000\n1000 1 2.5\n2000 0.25 3\n",
  });
  expect(points).toEqual({
    loss: [
      [1000, 1, 0.5],
      [2000, 3, 0.25],
    ],
  });
  expect(skips).toEqual([
    { what: "points", name: `loss of run ${id}`, why: "4 lines hold no number and time" },
  ]);
});

test("a long metric comes in lots, as it is read", async () => {
  const lines = Array.from({ length: 200_000 }, (_, i) => `${1000 + i} ${i / 7} ${i}\n`);
  const tree = treeOfFiles([
    ["1/meta.yaml", new Blob([experiment])],
    [`1/${id}/meta.yaml`, new Blob([run])],
    [`1/${id}/metrics/loss`, new Blob([lines.join("")])],
  ]);
  let [count, largest, sum] = [0, 0, 0];
  for await (const found of readMlflowFiles(tree))
    if (found.kind === "run")
      for await (const lot of found.points()) {
        count += lot.key.length;
        largest = Math.max(largest, lot.key.length);
        sum += lot.step.reduce((a, b) => a + b, 0);
      }
  expect([count, largest, sum]).toEqual([200_000, 25_000, 19_999_900_000]);
});

test("params and tags are text as it stands; a slash in a key is a folder", async () => {
  const { run } = await read({
    [`1/${id}/params/empty`]: "",
    [`1/${id}/params/lines`]: "one\ntwo\n",
    [`1/${id}/params/ended`]: "a\n",
    [`1/${id}/params/windows`]: "0.5\r\n",
    [`1/${id}/params/nested/deep/key`]: "1.0",
    [`1/${id}/params/__proto__`]: "safe",
    [`1/${id}/tags/mlflow.note.content`]: "# Note\r\n\r\nmore\r\n",
    [`1/${id}/tags/mlflow.parentRunId`]: "fedcba9876543210fedcba9876543210",
    [`1/${id}/tags/mlflow.source.name`]: "train.py",
  });
  expect(Object.entries(run.params)).toEqual([
    ["__proto__", "safe"],
    ["empty", ""],
    ["ended", "a\n"],
    ["lines", "one\ntwo\n"],
    ["nested/deep/key", "1.0"],
    ["windows", "0.5"],
  ]);
  expect(run).toMatchObject({
    note: "# Note\r\n\r\nmore\r\n",
    parent: "fedcba9876543210fedcba9876543210",
    source: "train.py",
  });
  expect(tagsFromFields(run)).toMatchObject({ "mlflow.note.content": "# Note\r\n\r\nmore\r\n" });
});

test.for([
  ["1e3", "1e3"],
  ["'1e3'", "1e3"],
  ["0o17", "0o17"],
  ["012", "012"],
  ["yes", "yes"],
  ["1_000", "1_000"],
  ["12:30:45", "12:30:45"],
  ["2026-01-01", "2026-01-01"],
  ["'null'", "null"],
  ["!!python/unicode 'ünï'", "ünï"],
  ['"a\\\n  \\ b \\u263A \\U0001F680 \\x7F"', "a b ☺ 🚀 \u007f"],
  ["'it''s: # no comment'", "it's: # no comment"],
  ["|-\n  two\n  lines", "two\nlines"],
  ["folded plain\n  text", "folded plain text"],
  ["{not: a name}", "1"],
  ["~", "1"],
] as const)("a name that YAML writes as %s is the text %s", async ([yaml, name]) => {
  const { experiments } = await read({ "1/meta.yaml": `experiment_id: 1\nname: ${yaml}\n` });
  expect(experiments[0]!.name).toBe(name);
});

test("ids that look like numbers stay as they are, in files that went through Windows too", async () => {
  const digits = "1234567890123456789012345678e123";
  const { runs, experiments } = await read({
    "1/meta.yaml": experiment.replace("'1'", "1").replaceAll("\n", "\r\n"),
    [`1/${id}/meta.yaml`]: run.replaceAll(id, digits).replace("'1'", "1").replaceAll("\n", "\r\n"),
  });
  expect(experiments.map((one) => one.id)).toEqual(["1"]);
  expect(runs).toMatchObject([
    { id: digits, experiment: "1", name: "r", state: "finished", started: 1000, ended: 2000 },
  ]);
});

test("folders without a meta.yaml, or with one that says nothing, are passed over and said", async () => {
  const { runs, skips } = await read({
    "2/tags/a": "b",
    "3/meta.yaml": "",
    "4/meta.yaml": "name: [unclosed",
    "1/nothing/params/lr": "1",
    "1/broken/meta.yaml": "- a\n- list\n",
    "readme.txt": "hello",
  });
  expect(runs.map((one) => one.id)).toEqual([id]);
  expect(skips.map(({ what, name, why }) => [what, name, why.split(":")[0]])).toEqual([
    ["run", "1/nothing", "no meta.yaml"],
    ["run", "1/broken", "meta.yaml"],
    ["experiment", "2", "no meta.yaml"],
    ["experiment", "3", "meta.yaml"],
    ["experiment", "4", "meta.yaml"],
  ]);
});

test("deleted experiments lie in .trash; their runs keep their own state", async () => {
  const { experiments, runs } = await read({
    ".trash/7/meta.yaml": "experiment_id: '7'\nname: gone\nlifecycle_stage: deleted\n",
    [`.trash/7/${"a".repeat(32)}/meta.yaml`]: run.replaceAll(id, "a".repeat(32)),
    [`.trash/7/${"b".repeat(32)}/meta.yaml`]: `${run.replaceAll(id, "b".repeat(32))}lifecycle_stage: deleted\n`,
  });
  expect(experiments.map(({ id, deleted }) => [id, deleted])).toEqual([
    ["1", false],
    ["7", true],
  ]);
  expect(runs.map(({ id, experiment, deleted }) => [id[0], experiment, deleted])).toEqual([
    ["0", "1", false],
    ["a", "7", false],
    ["b", "7", true],
  ]);
});

test.for([
  ["1", "running"],
  ["2", "scheduled"],
  ["3", "finished"],
  ["4", "failed"],
  ["5", "killed"],
  ["FAILED", "failed"],
  ["6", "running"],
  ["null", "running"],
])("status %s is %s", async ([status, state]) => {
  const { run: found } = await read({
    [`1/${id}/meta.yaml`]: run.replace("status: 3", `status: ${status}`),
  });
  expect(found.state).toBe(state);
});

test("a run of before 1.0 keeps in its meta.yaml what tags hold since, and ends values with a line's end", async () => {
  const { run } = await read({
    [`1/${id}/meta.yaml`]: `run_uuid: ${id}\nexperiment_id: 1\nname: ''\nuser_id: ana\nsource_type: 4\nsource_name: train.py\nsource_version: abc123\nentry_point_name: main\nstatus: 3\nstart_time: 1545000000000\nend_time: 1545000100000\ntags:\n- key: kind\n  value: early\n`,
    [`1/${id}/params/lr`]: "0.5\n",
    [`1/${id}/metrics/loss`]: "1545000000 0.5\n",
  });
  expect(run).toMatchObject({
    id,
    params: { lr: "0.5" },
    source: "train.py",
    tags: {
      kind: "early",
      "mlflow.user": "ana",
      "mlflow.source.type": "LOCAL",
      "mlflow.source.git.commit": "abc123",
      "mlflow.project.entryPoint": "main",
    },
  });
});

test("what has a meta.yaml and no id is no experiment and no run, unless its folder's name is one", async () => {
  const { experiments, runs, skips } = await read({
    "digits2/meta.yaml": "name: a registered model\n",
    "5/meta.yaml": "name: five\n",
    "1/version-1/meta.yaml": "version: 1\n",
    [`1/${"c".repeat(32)}/meta.yaml`]: "status: 3\n",
  });
  expect(experiments.map(({ id }) => id)).toEqual(["1", "5"]);
  expect(runs.map(({ id }) => id[0])).toEqual(["c", "0"]);
  expect(skips.map(({ name, why }) => [name, why])).toEqual([
    ["1/version-1", "meta.yaml: no run_id"],
    ["digits2", "meta.yaml: no experiment_id"],
  ]);
});

test("the same run twice is read once", async () => {
  const { runs, skips } = await read({ "1/copy/meta.yaml": run });
  expect(runs).toHaveLength(1);
  expect(skips).toMatchObject([{ what: "run", why: `another run has its id: ${id}` }]);
});

test("a folder around mlruns will do", async () => {
  const tree = treeOfFiles([
    ["project/train.py", new Blob([""])],
    ["mlruns/1/meta.yaml", new Blob([experiment])],
    ["src/mlruns/0/meta.yaml", new Blob([experiment])],
  ]);
  expect((await gather(readMlflowFiles(tree))).experiments.map(({ id }) => id)).toEqual(["1"]);
});

test("artifacts of a store that was moved, or that keeps them elsewhere, are found by their run's id", async () => {
  const skips: Skip[] = [];
  const store = (uri: string) =>
    treeOfFiles([
      ["1/meta.yaml", new Blob([experiment])],
      [`1/${id}/meta.yaml`, new Blob([run.replace("artifact_uri: ''", `artifact_uri: ${uri}`)])],
    ]);
  const elsewhere = [treeOfFiles([[`deep/${id}/artifacts/a b#.txt`, new Blob(["hello"])]])];
  const files = async (uri: string) => {
    const options = { elsewhere, onSkip: (skip: Skip) => skips.push(skip) };
    const [found] = (await gather(readMlflowFiles(store(uri), options))).runs;
    return (await filesOf(found!.files())).map(({ path }) => path);
  };
  expect(await files(`file:///data/art%20s/deep/${id}/artifacts`)).toEqual(["a b#.txt"]);
  expect(await files(`C:\\data\\deep\\${id}\\artifacts`)).toEqual(["a b#.txt"]);
  expect(await files(`s3://bucket/deep/${id}/artifacts`)).toEqual(["a b#.txt"]);
  expect(await files(`/etc/../deep/${id}/artifacts`)).toEqual([]);
  expect(await files(`s3://bucket/other/${id}/files`)).toEqual([]);
  expect(skips.at(-1)).toEqual({
    what: "files",
    name: `s3://bucket/other/${id}/files`,
    why: "are not to be found",
  });
});

/** Makes a database file by SQL. */
async function databaseOf(sql: string): Promise<Uint8Array<ArrayBuffer>> {
  const { Database } = await initSqlJs();
  const database = new Database();
  database.run(sql);
  return new Uint8Array(database.export());
}

const oldSchema = `
  CREATE TABLE alembic_version (version_num VARCHAR(32));
  CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256), artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32));
  CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), source_type VARCHAR(20), source_name VARCHAR(500), user_id VARCHAR(256),
    status VARCHAR(20), start_time BIGINT, end_time BIGINT, source_version VARCHAR(50), lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200), experiment_id INTEGER);
  CREATE TABLE metrics (key VARCHAR(250), value FLOAT, timestamp BIGINT, run_uuid VARCHAR(32), PRIMARY KEY (key, timestamp, run_uuid, value));
  CREATE TABLE params (key VARCHAR(250), value VARCHAR(250), run_uuid VARCHAR(32), PRIMARY KEY (key, run_uuid));
  CREATE TABLE tags (key VARCHAR(250), value VARCHAR(250), run_uuid VARCHAR(32), PRIMARY KEY (key, run_uuid));
  INSERT INTO experiments VALUES (0, 'Default', './mlruns/0', 'active');
  INSERT INTO runs VALUES ('${id}', '', 'LOCAL', 'train.py', 'ana', 'FINISHED', 1000, NULL, '', 'active', './mlruns/0/${id}/artifacts', 0);
  INSERT INTO metrics VALUES ('loss', 0.5, 1000, '${id}'), ('loss', 9e999, 2000, '${id}');
  INSERT INTO params VALUES ('lr', '0.1', '${id}'), ('none', NULL, '${id}');
  INSERT INTO tags VALUES ('mlflow.runName', 'named by a tag', '${id}');`;

test("a database of the first schema, without steps, NaN and tags of experiments, is read", async () => {
  const found = await gather(
    readMlflowDatabase(await openSqlite(new Blob([await databaseOf(oldSchema)]))),
  );
  expect(found.experiments).toMatchObject([{ id: "0", name: "Default", created: null, tags: {} }]);
  expect(found.runs).toMatchObject([
    {
      id,
      name: "named by a tag",
      state: "finished",
      ended: null,
      params: { lr: "0.1", none: "" },
      source: "train.py",
      tags: { "mlflow.user": "ana", "mlflow.source.type": "LOCAL" },
    },
  ]);
  expect(await pointsOf(found.runs[0]!)).toEqual({
    loss: [
      [1000, 0, 0.5],
      [2000, 0, "Infinity"],
    ],
  });
});

test("a database left in WAL mode is read as far as it is in the file", async () => {
  const bytes = await databaseOf(oldSchema);
  bytes.fill(2, 18, 20);
  const found = await gather(readMlflowDatabase(await openSqlite(new Blob([bytes]))));
  expect(found.runs).toHaveLength(1);
});

test("experiments of several workspaces are told apart by name", async () => {
  const sql = `${oldSchema} ALTER TABLE experiments ADD COLUMN workspace VARCHAR(63) DEFAULT 'default';
    INSERT INTO experiments VALUES (1, 'Default', '', 'active', 'team');`;
  const found = await gather(
    readMlflowDatabase(await openSqlite(new Blob([await databaseOf(sql)]))),
  );
  expect(found.experiments.map(({ name }) => name)).toEqual(["Default", "team/Default"]);
});

test.for([
  ["not a SQLite database", new Uint8Array(0)],
  ["not a SQLite database", new TextEncoder().encode("mlflow")],
] as const)("what is no database is refused: %s", async ([message, bytes]) => {
  await expect(openSqlite(new Blob([bytes]))).rejects.toThrow(message);
});

test("another program's database is refused", async () => {
  const sqlite = await openSqlite(new Blob([await databaseOf("CREATE TABLE a (b)")]));
  await expect(gather(readMlflowDatabase(sqlite))).rejects.toThrow("not a database of MLflow");
});

test("a database that is cut off is refused, not read in part", async () => {
  const bytes = await databaseOf(oldSchema);
  await expect(
    (async () => gather(readMlflowDatabase(await openSqlite(new Blob([bytes.slice(0, 5000)])))))(),
  ).rejects.toThrow(/malformed/);
});
