import { join } from "node:path";
import { expect, test } from "vitest";
import { Api } from "../../client/api.ts";
import type { Found, FoundExperiment, FoundFile, FoundRun } from "../../client/import/found.ts";
import { runIdFrom } from "../../client/import/ids.ts";
import { importFound } from "../../client/import/import.ts";
import { formatCursor } from "../../wire/cursor.ts";
import { pointsFromJSON } from "../../wire/point.ts";
import { newId } from "../../wire/id.ts";
import type { Run } from "../../wire/run.ts";
import { fixtures } from "../client/import/expected.ts";
import { assay, serverForTests } from "./server.ts";

const server = await serverForTests();
const api = new Api(server.url);
const quickly = { pause: () => 1 };

let experiments = 0;
const experiment = (fields: Partial<FoundExperiment> = {}): FoundExperiment => ({
  kind: "experiment",
  id: "1",
  name: `experiment ${newId()}`,
  note: "",
  tags: {},
  created: 1_760_000_000_000 + experiments++,
  deleted: false,
  ...fields,
});

type Point = { key: string; step: number; time: number; value: number };

function run({
  points = [],
  files = {},
  ...fields
}: Partial<Omit<FoundRun, "points" | "files">> & {
  points?: Point[];
  files?: Record<string, string | (() => Promise<Blob>)>;
}): FoundRun {
  return {
    kind: "run",
    id: newId(),
    experiment: "1",
    name: "found",
    state: "finished",
    params: {},
    paramsAreText: true,
    tags: {},
    note: "",
    parent: null,
    source: "",
    started: 1_760_000_000_000,
    ended: 1_760_000_100_000,
    deleted: false,
    inputs: [],
    modelInputs: [],
    modelOutputs: [],
    ...fields,
    async *points() {
      for (let at = 0; at < points.length; at += 1000)
        yield pointsFromJSON(points.slice(at, at + 1000));
    },
    async *files() {
      for (const [path, content] of Object.entries(files))
        yield {
          path,
          open: typeof content === "string" ? async () => new Blob([content]) : content,
        } satisfies FoundFile;
    },
  };
}

const series = (count: number, key = "loss"): Point[] =>
  Array.from({ length: count }, (_, step) => ({
    key,
    step,
    time: 1_760_000_000_000 + step,
    value: step % 7 === 3 ? NaN : 1 / (step + 1),
  }));

async function* stream(...all: Found[]): AsyncGenerator<Found> {
  yield* all;
}

const there = (id: string): Promise<Run> => api.json("GET", `/runs/${id}`);

/** The cursor behind all there is, deleted runs too. */
const cursor = async (): Promise<string> =>
  (await api.request("GET", "/runs.json", { query: { since: formatCursor([]) } })).headers.get(
    "x-assay-cursor",
  )!;

test("imported again, nothing changes", async () => {
  const one = experiment({ note: "why", tags: { team: "vision" } });
  const two = run({
    params: { lr: "0.5", name: "a" },
    tags: { a: "b" },
    note: "note",
    source: "train.py",
    points: [...series(2500), ...series(10, "val/acc")],
    files: { "a/b.txt": "hello", "empty.bin": "" },
  });
  const three = run({ state: "failed", deleted: true, parent: two.id, points: series(3) });
  const four = run({ state: "running", ended: null, points: series(3) });
  const first = await importFound(api, stream(one, two, three, four));
  expect(first).toMatchObject({
    runs: { found: 3, added: 3 },
    points: { found: 2516, added: 2516 },
    files: { found: 2, added: 2 },
    bytes: 5,
    problems: [],
  });
  expect(await there(two.id)).toMatchObject({
    state: "finished",
    params: { lr: 0.5, name: "a" },
    note: "note",
    source: "train.py",
    started: two.started,
    ended: two.ended,
    points: 2510,
  });
  expect(await there(three.id)).toMatchObject({
    state: "failed",
    parent: two.id,
    deleted: expect.any(Number),
  });
  const since = await cursor();
  const experiments = await api.json("GET", "/experiments");
  const second = await importFound(api, stream(one, two, three, four));
  expect(second).toMatchObject({
    experiments: { found: 1, added: 0 },
    runs: { found: 3, added: 0 },
    points: { found: 2516, added: 0 },
    files: { found: 2, added: 0 },
    problems: [],
  });
  expect(await api.json("GET", "/runs.json", { query: { since } })).toEqual([]);
  expect(await api.json("GET", "/experiments")).toEqual(experiments);
});

test("what the source gained since is added: points, params, tags, files, and the end", async () => {
  const one = experiment();
  const early = run({ state: "running", ended: null, points: series(1500), params: { a: "1" } });
  await importFound(api, stream(one, early));
  expect(await there(early.id)).toMatchObject({ state: "running", points: 1500 });
  const late = run({
    id: early.id,
    points: series(3210),
    params: { a: "1", b: "2" },
    tags: { new: "yes" },
    files: { "end.txt": "end" },
  });
  const report = await importFound(api, stream(one, late));
  expect(report).toMatchObject({ points: { found: 3210, added: 1710 }, problems: [] });
  expect(await there(early.id)).toMatchObject({
    state: "finished",
    ended: late.ended,
    points: 3210,
    params: { a: 1, b: 2 },
    tags: { new: "yes" },
  });
  const resumed = run({ id: early.id, points: series(4000), ended: 1_760_000_200_000 });
  expect(await importFound(api, stream(one, resumed))).toMatchObject({ problems: [] });
  expect(await there(early.id)).toMatchObject({
    state: "finished",
    ended: 1_760_000_200_000,
    points: 4000,
  });
});

test("every answer lost once, the result is the same", async () => {
  const lost = new Set<string>();
  const losing: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const request = `${init?.method} ${String(input)}`;
    if (request.endsWith("/health") || lost.has(request)) return response;
    lost.add(request);
    throw new TypeError("fetch failed");
  };
  const one = experiment();
  const two = run({ points: series(2500), params: { a: "1" }, files: { "a.txt": "a" } });
  const report = await importFound(
    new Api(server.url, { fetch: losing }),
    stream(one, two),
    quickly,
  );
  expect(report).toMatchObject({
    points: { found: 2500, added: 2500 },
    files: { found: 1, added: 1 },
    problems: [],
  });
  expect(await there(two.id)).toMatchObject({ points: 2500, state: "finished" });
  expect(lost.size).toBeGreaterThan(6);
});

test("an import that broke off at any request goes on where it was", async () => {
  const one = experiment();
  const two = run({
    points: series(2500),
    params: { a: "1" },
    files: { "a.txt": "a", "b.txt": "b" },
  });
  let done = false;
  for (let limit = 1; !done; limit++) {
    let left = limit;
    const breaking: typeof fetch = (input, init) =>
      left-- > 0 ? fetch(input, init) : Promise.reject(new TypeError("fetch failed"));
    const broken = new Api(server.url, { fetch: breaking });
    done = await importFound(broken, stream(one, two), { attempts: 1 }).then(
      ({ problems }) => problems.length === 0,
      (error: Error) => {
        expect(error.message).toBe("fetch failed");
        return false;
      },
    );
  }
  const { points, state } = await there(two.id);
  expect([points, state]).toEqual([2500, "finished"]);
  const { files } = await api.json<{ files: unknown[] }>("GET", `/runs/${two.id}/files`);
  expect(files).toHaveLength(2);
});

test("what was changed here stays as it is", async () => {
  const one = experiment();
  const two = run({ tags: { a: "theirs" }, note: "theirs", name: "theirs" });
  await importFound(api, stream(one, two));
  await api.json("PATCH", `/runs/${two.id}`, {
    body: { name: "ours", note: "ours", tags: { a: "ours" } },
  });
  await importFound(api, stream(one, two));
  expect(await there(two.id)).toMatchObject({ name: "ours", note: "ours", tags: { a: "ours" } });
  await api.json("DELETE", `/runs/${two.id}`);
  const { problems, skipped } = await importFound(api, stream(one, two));
  expect([problems, skipped]).toEqual([
    [],
    [{ what: "deletion", name: `run ${two.id}`, why: "is deleted here and not there" }],
  ]);
});

test("what is not here as it is there is said", async () => {
  const one = experiment();
  const two = run({ points: series(20), params: { a: "1" } });
  await importFound(api, stream(one, two));
  const other = run({
    id: two.id,
    state: "failed",
    params: { a: "2" },
    points: series(18).with(17, { key: "loss", step: 17, time: 0, value: 5 }),
  });
  const { problems } = await importFound(api, stream(one, other));
  expect(problems.map(({ what, why }) => `${what}: ${why}`)).toEqual([
    "param: a is 1, not 2",
    "state: finished here, failed there",
    "points: loss has 20 here, 18 there",
  ]);
});

test("what cannot stand here is passed over and said; the rest is imported", async () => {
  const one = experiment({ name: "\u0007bell", tags: { "": "no name", fine: "1" } });
  const two = run({
    name: "two\nlines",
    params: { long: "x".repeat(20_000), ["n".repeat(300)]: "1", fine: "1" },
    tags: { long: "x".repeat(9_000), fine: "1" },
    started: -5,
    points: [
      { key: "loss", step: 0, time: 1000, value: 1 },
      { key: "loss", step: 1, time: 1000, value: 2 },
    ],
    files: {
      "../up.txt": "x",
      "back\\slash.txt": "x",
      "gone.txt": () => Promise.reject(new Error("gone")),
      "fine.txt": "x",
    },
  });
  const broken: FoundRun = {
    ...run({}),
    async *points() {
      yield pointsFromJSON([{ key: "loss", step: 0, time: 1000, value: 1 }]);
      throw new Error("disk error");
    },
  };
  const orphan = run({ experiment: "404" });
  const odd: FoundRun = {
    ...run({}),
    async *points() {
      const points = pointsFromJSON(series(4));
      points.step[1] = 2 ** 60;
      points.time[2] = -1;
      yield { ...points, keys: ["loss"] };
    },
  };
  const report = await importFound(api, stream(one, two, broken, orphan, odd));
  expect(report.problems.map(({ what, why }) => `${what}: ${why}`).sort()).toEqual([
    "file: gone.txt: gone",
    "run: disk error",
    "run: its experiment is not here",
  ]);
  expect(report.skipped.map(({ what, why }) => `${what}: ${why.slice(0, 30)}`).sort()).toEqual([
    "file: invalid file path: ../up.txt",
    "file: invalid file path: back\\slash.",
    expect.stringMatching(/^name: is bell [0-9a-f]{8} here/),
    "name: two\\u000alines is two lines here".slice(0, 36),
    "param: invalid param name: nnnnnnnnnn",
    "param: param is too long: long has 20",
    "points: a step beyond 2^53 (1 points)",
    "points: a time before 1970 or after 99",
    "tag: invalid tag name: ",
    "tag: tag is too long: long has 9000",
    "time: no start: -5",
  ]);
  expect(await there(two.id)).toMatchObject({ name: "two lines", params: { fine: 1 }, points: 2 });
  expect(await there(odd.id)).toMatchObject({ points: 2 });
});

test("experiments of one name become one; of one import they stay apart; deleted ones are archived", async () => {
  const name = `shared ${newId()}`;
  await api.json("POST", "/experiments", { body: { name, note: "ours" } });
  const active = experiment({ name, note: "theirs", tags: { a: "b" } });
  const deleted = experiment({ id: "2", name, deleted: true, created: 5 });
  const report = await importFound(api, stream(active, deleted));
  expect(report.experiments).toEqual({ found: 2, added: 1 });
  expect(await api.json("GET", `/experiments/${encodeURIComponent(name)}`)).toMatchObject({
    note: "ours",
    tags: { a: "b", "mlflow.experimentId": "1" },
  });
  expect(await api.json("GET", `/experiments/${encodeURIComponent(`${name} (2)`)}`)).toMatchObject({
    archived: expect.any(Number),
  });
});

test("ids that can be none here become others, always the same, and parents are still found", async () => {
  const one = experiment();
  const parent = run({ id: "nightly-1" });
  const child = run({ id: "0191F5A0-0000-7000-8000-00000000abcd", parent: "nightly-1" });
  await importFound(api, stream(one, parent, child));
  expect(await there(await runIdFrom("nightly-1"))).toMatchObject({
    tags: { "import.id": "nightly-1" },
  });
  expect(await there("0191f5a0000070008000 00000000abcd".replace(" ", ""))).toMatchObject({
    parent: await runIdFrom("nightly-1"),
  });
});

test("a server that is not there, or a wrong token, is said at once", async () => {
  const nowhere = importFound(new Api("http://127.0.0.1:1"), stream(experiment()));
  await expect(nowhere).rejects.toThrow("fetch failed");
});

test("a param that is a number in JSON goes digit for digit; any other stays text", async () => {
  const sent: string[] = [];
  const noting: typeof fetch = (input, init) => {
    if (String(input).endsWith("/runs")) sent.push(String(init!.body));
    return fetch(input, init);
  };
  const numbers = ["1.0", "1e-05", "-0.0", "12345678901234567890", "0.10"];
  const texts = [
    "nan",
    "01",
    "1.",
    ".5",
    "+1",
    "1e999",
    "0x10",
    "1_000",
    " 1",
    "True",
    "",
    "Infinity",
  ];
  const params = Object.fromEntries([...numbers, ...texts].map((text, i) => [`p${i}`, text]));
  const two = run({ params });
  await importFound(new Api(server.url, { fetch: noting }), stream(experiment(), two));
  const body = sent[0]!;
  const literals = numbers.map((text, i) => `"p${i}":${text}`);
  const quoted = texts.map((text, i) => `"p${i + numbers.length}":${JSON.stringify(text)}`);
  expect(body).toContain([...literals, ...quoted].join(","));
  expect((await there(two.id)).params).toMatchObject({ p0: 1, p1: 1e-5, p5: "nan", p14: "True" });
  const read = await (await api.request("GET", `/runs/${two.id}`)).text();
  for (const part of [...literals, ...quoted]) expect(read).toContain(part);
});

test("the command line says what was found, what is new, and what was passed over", async () => {
  const env = { ASSAY_URL: (await serverForTests()).url };
  const store = join(fixtures, "mlruns");
  const first = await assay(["import", "mlflow", store], { env });
  expect([first.code, first.err]).toEqual([0, ""]);
  expect(first.out.split("\n")).toEqual([
    "experiments          10  10 new",
    "runs                 30  30 new",
    "points             3629  3629 new",
    "files                33  33 new",
    "logged models         0  0 new",
    "models                3  3 new",
    "traces                0  0 new",
    "",
  ]);
  const again = await assay(["import", "mlflow", store], { env });
  expect(
    again.out
      .split("\n")
      .slice(0, 7)
      .map((line) => line.split("  ").at(-1)),
  ).toEqual(Array.from({ length: 7 }, () => "0 new"));
  const nothing = await assay(["import", "mlflow", join(fixtures, "mlruns/models")], { env });
  expect([nothing.code, nothing.err]).toEqual([
    1,
    expect.stringMatching(/^assay: no experiments found/),
  ]);
  const missing = await assay(["import", "mlflow", "/nowhere/mlruns"], { env });
  expect([missing.code, missing.err]).toEqual([1, "assay: source not found: /nowhere/mlruns\n"]);
});
