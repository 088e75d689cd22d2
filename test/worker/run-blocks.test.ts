import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newId } from "../../wire/id.ts";
import { parseOrder } from "../../wire/order.ts";
import { rowsWhere } from "../../wire/predicate.ts";
import { parseWhere } from "../../wire/query.ts";
import { runColumns } from "../../wire/run-columns.ts";
import { sortedRows } from "../../wire/sort.ts";
import { selectKeys } from "../../worker/db/keys.ts";
import { collectObjects } from "../../worker/db/objects.ts";
import { planMerge, settleRuns } from "../../worker/db/run-blocks.ts";
import { pagesOfRuns, type FoundRun } from "../../worker/db/runs.ts";
import { faulty, type When } from "./faulty.ts";
import { ask, freshStores } from "./worker.ts";

freshStores();

const settle = (experiment: string, most = 4) =>
  settleRuns(env, experiment, { quiet: -1000, most });

const values = [0, 1, -0, 2.5, "NaN", "Infinity", "a", "Ä", "true", true, false, null];
const filters = [
  "state = 'finished'",
  "params.p > 0",
  "params.p = 'a' or tags.t != 'x'",
  "metrics.m is nan",
  "metrics.m.max >= 1 and not params.q = true",
  "name ~ '^r[0-4]'",
  "params.p is null",
  "x",
];
const orders = [
  "",
  "metrics.m desc",
  "params.p, name desc",
  "tags.t desc, metrics.m.max",
  "number",
];

/** One of the things that happen to runs. */
interface Step {
  what:
    | ("start" | "log" | "finish" | "patch" | "delete" | "restore")
    | ("archive" | "move" | "purge" | "resume" | "settle");
  run: number;
  value: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom<Step["what"][]>(
    "start",
    "start",
    "start",
    "start",
    "log",
    "finish",
    "finish",
    "finish",
    "patch",
    "delete",
    "restore",
    "archive",
    "move",
    "purge",
    "resume",
    "settle",
    "settle",
    "settle",
  ),
  run: fc.nat(40),
  value: fc.nat(values.length - 1),
});

async function carryOut(
  { what, run, value }: Step,
  ids: string[],
  names: [string, string],
): Promise<void> {
  const id = ids[run % Math.max(1, ids.length)];
  if (what === "settle") await settle(await idOf(names[run % 2]!));
  else if (what === "start") ids.push(await start(names[0], `r${ids.length % 10}`, value));
  else if (id) await change(id, what, value, names);
}

async function start(experiment: string, name: string, value: number): Promise<string> {
  const own = { p: values[value], ...(value % 3 ? {} : { q: value % 2 === 0 }) };
  const { json } = await ask("POST", "/runs", {
    experiment,
    name,
    params: Object.fromEntries(Object.entries(own).filter(([, v]) => v !== null)),
    tags: value % 2 ? { t: value % 4 ? "x" : "y" } : {},
  });
  return json.id;
}

async function change(
  id: string,
  what: Exclude<Step["what"], "settle" | "start">,
  value: number,
  names: [string, string],
): Promise<void> {
  const paths = {
    log: [
      "POST",
      `/runs/${id}/points`,
      [{ key: value % 2 ? "m" : "m.max", step: value, value: value % 5 ? value : "NaN" }],
    ],
    finish: ["POST", `/runs/${id}/finish`, { state: value % 2 ? "finished" : "failed" }],
    patch: ["PATCH", `/runs/${id}`, { name: `p${value}`, tags: { t: value % 3 ? "x" : null } }],
    delete: ["DELETE", `/runs/${id}`],
    restore: ["POST", `/runs/${id}/restore`],
    purge: ["POST", `/runs/${id}/purge`],
    resume: ["POST", `/runs/${id}/resume`],
    archive: ["POST", "/runs/bulk", { runs: [id], change: { archived: value % 2 === 0 } }],
    move: ["POST", "/runs/bulk", { runs: [id], change: { experiment: names[value % 2] } }],
  } as const;
  const [method, path, body] = paths[what];
  const { status } = await ask(method, path, body);
  expect([200, 201, 400, 404, 409]).toContain(status);
}

const idOf = async (name: string): Promise<string> =>
  (await ask("GET", `/experiments/${name}`)).json.id;

/** All runs of an experiment as the database has them, those that a list shows. */
async function runsOf(experiment: string, { archived = false } = {}): Promise<FoundRun[]> {
  const { results } = await env.DB.prepare(
    `SELECT no FROM runs WHERE experiment = ? AND deleted IS NULL ${archived ? "" : "AND archived IS NULL"}`,
  )
    .bind(experiment)
    .all<{ no: number }>();
  const numbers = results.map(({ no }) => no);
  return (await Array.fromAsync(pagesOfRuns(env.DB, numbers))).flat();
}

/** Expects that tables, pages and keys of an experiment are what a scan of the database finds. */
async function expectTrue(name: string, where: string, order: string): Promise<void> {
  const experiment = await idOf(name);
  const runs = await runsOf(experiment);
  const table = runColumns(runs, { experimentName: () => name });
  const query = new URLSearchParams({
    experiment: name,
    where,
    ...(order && { order }),
    columns: "id",
  });
  const terms = [...parseOrder(order || "started desc"), ...parseOrder("started desc")];
  const byNumber = rowsWhere(parseWhere(where), table).sort((a, b) => runs[b]!.no - runs[a]!.no);
  const expected = Array.from(sortedRows(terms, table, byNumber), (row) => runs[row]!.id);
  const found = (await ask("GET", `/runs.json?${query}`)).json.map(({ id }: { id: string }) => id);
  expect(found, `${where} / ${order}`).toEqual(expected);
  const paged: string[] = [];
  for (let after = ""; ;) {
    const page = await ask("GET", `/runs.json?${query}&limit=3${after && `&after=${after}`}`);
    paged.push(...page.json.map(({ id }: { id: string }) => id));
    after = page.headers.get("x-assay-next") ?? "";
    if (!after) break;
  }
  expect(paged).toEqual(expected);
  await expectKeys(experiment);
}

async function expectKeys(experiment: string): Promise<void> {
  const runs = await runsOf(experiment, { archived: true });
  const found = await selectKeys(env, [experiment]);
  const counts = new Map<string, { runs: number; types: Set<string>; numbers: number[] }>();
  for (const run of runs)
    for (const kind of ["params", "metrics", "tags"] as const)
      for (const [key, value] of Object.entries(run[kind])) {
        if (value === null) continue;
        const name = `${kind}.${key}`;
        const own = counts.get(name) ?? { runs: 0, types: new Set(), numbers: [] };
        counts.set(name, own);
        const plain = kind === "metrics" ? (value as { last: number }).last : value;
        own.runs++;
        own.types.add(typeof plain);
        if (typeof plain === "number" && Number.isFinite(plain)) own.numbers.push(plain);
      }
  expect(
    new Map(
      found.map(({ kind, key, runs, type, min, max }) => [
        `${kind}.${key}`,
        { runs, type, min, max },
      ]),
    ),
  ).toEqual(
    new Map(
      [...counts].map(([name, { runs, types, numbers }]) => [
        name,
        {
          runs,
          type:
            types.size > 1 || types.has("string")
              ? "text"
              : types.has("boolean")
                ? "boolean"
                : "number",
          min: numbers.length ? Math.min(...numbers) + 0 : null,
          max: numbers.length ? Math.max(...numbers) + 0 : null,
        },
      ]),
    ),
  );
}

test("tables, pages and keys are what a scan finds, whatever happens to runs before and after they settle", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 20, maxLength: 50 }),
      fc.constantFrom(...filters),
      fc.constantFrom(...orders),
      async (steps, where, order) => {
        const names: [string, string] = [`a ${newId()}`, `b ${newId()}`];
        for (const name of names) await ask("POST", "/experiments", { name });
        const ids: string[] = [];
        for (const one of steps) await carryOut(one, ids, names);
        for (const name of names) await expectTrue(name, where, order);
      },
    ),
    { numRuns: 6 },
  );
}, 90_000);

async function startFinished(experiment: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const { json } = await ask("POST", "/runs", {
      experiment,
      params: { i, p: values[i % values.length] },
    });
    await ask("POST", `/runs/${json.id}/points`, [{ key: "m", step: 0, value: i }]);
    await ask("POST", `/runs/${json.id}/finish`, { state: "finished" });
    ids.push(json.id);
  }
  return ids;
}

const blocksOf = async (experiment: string) =>
  (
    await env.DB.prepare("SELECT rows, dead FROM run_blocks WHERE experiment = ? ORDER BY no")
      .bind(experiment)
      .all<{ rows: number; dead: string }>()
  ).results;

/** After a collection the objects are those that rows refer to. */
async function expectNoOrphans(): Promise<void> {
  await collectObjects(env, { grace: -1000 });
  const kept = (await env.FILES.list({ prefix: "runs/" })).objects.map(({ key }) => key);
  const { results } = await env.DB.prepare("SELECT object FROM run_blocks").all<{
    object: string;
  }>();
  expect(kept.sort()).toEqual(results.map(({ object }) => object).sort());
}

test("eight small blocks become one; a block that is mostly dead is made anew; objects that nothing needs are collected", async () => {
  const ids = await startFinished("merged", 16);
  const experiment = await idOf("merged");
  expect(await settle(experiment, 2)).toBe(16);
  expect(await blocksOf(experiment)).toEqual([{ rows: 16, dead: "[]" }]);
  for (const id of ids.slice(0, 6)) await ask("DELETE", `/runs/${id}`);
  await settle(experiment);
  expect(await blocksOf(experiment)).toEqual([{ rows: 10, dead: "[]" }]);
  expect((await ask("GET", "/runs.json?experiment=merged")).json).toHaveLength(10);
  for (const id of ids.slice(6)) await ask("DELETE", `/runs/${id}`);
  await settle(experiment);
  expect(await blocksOf(experiment)).toEqual([]);
  await expectNoOrphans();
});

test("a run that is changed while it settles waits for the next time", async () => {
  const [id] = await startFinished("racing", 3);
  const experiment = await idOf("racing");
  const { stores } = faulty(Infinity, "before it is done");
  const put = env.FILES.put.bind(env.FILES);
  let isFirst = true;
  const FILES = new Proxy(stores.FILES, {
    get: (bucket, name: keyof R2Bucket) =>
      name === "put"
        ? async (...args: Parameters<typeof put>) => {
            if (isFirst) await ask("PATCH", `/runs/${id}`, { name: "changed" });
            isFirst = false;
            return put(...args);
          }
        : bucket[name],
  });
  await settleRuns({ DB: env.DB, FILES }, experiment, { quiet: -1000 });
  await expectTrue("racing", "name = 'changed' or params.i > 0", "");
  expect(await blocksOf(experiment)).toHaveLength(1);
});

test("two who settle at once leave each run in one block", async () => {
  await startFinished("twice", 12);
  const experiment = await idOf("twice");
  await Promise.all([settle(experiment), settle(experiment), settle(experiment, 5)]);
  const rows = (await blocksOf(experiment)).reduce((n, block) => n + block.rows, 0);
  expect(rows).toBe(12);
  await expectTrue("twice", "params.i >= 0", "metrics.m desc");
});

describe.for<When>(["before it is done", "after it was done"])("each call failing %s", (when) => {
  test("while runs settle and blocks merge: every run is found once, and no object is too many", async () => {
    for (let n = 0; ; n++) {
      const name = `fault ${when} ${n}`;
      const ids = await startFinished(name, 9);
      const experiment = await idOf(name);
      await settle(experiment, 1);
      await ask("PATCH", `/runs/${ids[0]}`, { name: "again" });
      const { stores, fault } = faulty(n, when);
      await settleRuns(stores, experiment, { quiet: -1000, most: 2 }).catch((error: Error) => {
        if (!/Network connection lost/.test(error.message)) throw error;
      });
      await expectTrue(name, "params.i >= 0", "params.p, metrics.m");
      await settle(experiment, 2);
      await expectTrue(name, "params.i >= 0", "");
      await expectNoOrphans();
      if (!fault.has) break;
    }
  }, 60_000);
});

test("what is merged: several of a size, never too much, or what is largely dead", () => {
  const block = (rows: number, alive = rows, widest = rows * 10) => ({ rows, alive, widest });
  expect(planMerge(Array.from({ length: 7 }, () => block(100)))).toBeUndefined();
  expect(planMerge(Array.from({ length: 9 }, () => block(100)))).toHaveLength(8);
  expect(planMerge(Array.from({ length: 8 }, () => block(30_000)))).toBeUndefined();
  expect(planMerge(Array.from({ length: 8 }, () => block(4096, 4096, 2_000_000)))).toBeUndefined();
  expect(planMerge([block(100), block(100, 70)])).toEqual([block(100, 70)]);
});

test("workspace-wide tables have the runs of all experiments", async () => {
  await startFinished("one", 2);
  await startFinished("other", 2);
  await settle(await idOf("one"));
  const where = encodeURIComponent("experiment in ('one', 'other')");
  const all = (
    await ask("GET", `/runs.json?columns=experiment&order=experiment,params.i&where=${where}`)
  ).json;
  expect(all.map(({ experiment }: { experiment: string }) => experiment)).toEqual([
    "one",
    "one",
    "other",
    "other",
  ]);
});

test("a table of runs is a file with a size and ranges, and the same as long as its runs are", async () => {
  const ids = await startFinished("ranged", 6);
  await settle(await idOf("ranged"));
  const path = "/runs.csv?experiment=ranged&columns=id,name,params.i,metrics.m.max";
  const whole = await ask("GET", path);
  const head = await ask("HEAD", path);
  expect(Number(head.headers.get("content-length"))).toBe(whole.text.length);
  const part = await ask("GET", path, undefined, { range: "bytes=3-40" });
  expect([part.status, part.text]).toEqual([206, whole.text.slice(3, 41)]);
  const etag = head.headers.get("etag")!;
  const known = () => ask("GET", path, undefined, { "if-none-match": etag });
  expect((await known()).status).toBe(304);
  await ask("PATCH", `/runs/${ids[0]}`, { name: "other" });
  expect((await known()).status).toBe(200);
  await settle(await idOf("ranged"));
  expect((await known()).text).toContain("other");
});
