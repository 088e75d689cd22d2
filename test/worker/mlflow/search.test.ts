import * as fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { ask, freshStores, startRun as startNative } from "../worker.ts";
import { log, mlflow, startRun } from "./door.ts";

freshStores();

const search = async (body: object) => (await mlflow("POST", "/2.0/mlflow/runs/search", body)).json;
const names = (runs: any[] = []): string[] => runs.map(({ info }) => info.run_name);

let experiment: string;
const count = 60;

beforeAll(async () => {
  experiment = (await mlflow("POST", "/2.0/mlflow/experiments/create", { name: "search" })).json
    .experiment_id;
  for (let i = 0; i < count; i++) {
    const run = await startRun({
      experiment_id: experiment,
      run_name: `run ${i}`,
      start_time: 1_760_000_000_000 + (i % 20),
      tags: i % 2 ? [{ key: "mlflow.note.content", value: `note ${i}` }] : [],
    });
    const value = i % 7 === 0 ? "NaN" : i % 11 === 0 ? "Infinity" : i / 10;
    await log(run, {
      metrics: i % 5 ? [{ key: "acc", value, timestamp: 1, step: 0 }] : [],
      params: i % 3 ? [{ key: "lr", value: `1e-0${i % 4}` }] : [],
      tags: [{ key: "fold", value: "ab"[i % 2] }],
    });
  }
});

const orders = [
  "metrics.acc DESC",
  "metrics.acc",
  "params.lr",
  "params.lr DESC",
  "tags.fold",
  "start_time",
  "run_name DESC",
  "end_time",
];
const filters = [
  "",
  "params.lr != '1e-01'",
  "tags.fold = 'a'",
  "metrics.acc > 1",
  "run_name LIKE 'run %5'",
  "params.lr LIKE '%e_0%'",
];

test(
  "pages of any size are the whole, in its order, each run once",
  { timeout: 60_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.constantFrom(...orders), {
          maxLength: 3,
          selector: (order) => order.split(" ")[0],
        }),
        fc.constantFrom(...filters),
        fc.integer({ min: 1, max: count + 1 }),
        async (order_by, filter, max_results) => {
          const query = { experiment_ids: [experiment], order_by, filter };
          const whole = names((await search(query)).runs);
          const paged: string[] = [];
          for (let page_token: string | undefined; ;) {
            const page = await search({ ...query, max_results, page_token });
            paged.push(...names(page.runs));
            page_token = page.next_page_token;
            if (!page_token) break;
          }
          expect(paged).toEqual(whole);
        },
      ),
      { numRuns: 40 },
    );
  },
);

test.each<[string, (i: number) => boolean]>([
  ["", () => true],
  ["params.lr = '1e-01'", (i) => i % 3 > 0 && i % 4 === 1],
  ["params.lr = '0.1'", () => false],
  ["params.lr IS NULL", (i) => i % 3 === 0],
  ["params.lr LIKE '%-_1'", (i) => i % 3 > 0 && i % 4 === 1],
  ["tags.`mlflow.runName` = 'run 7'", (i) => i === 7],
  ["tags.mlflow.note.content LIKE 'note 1%'", (i) => i % 2 > 0 && `${i}`.startsWith("1")],
  ["tags.mlflow.note.content IS NULL", (i) => i % 2 === 0],
  ["metrics.acc < 1", (i) => i % 5 > 0 && i % 7 > 0 && i % 11 > 0 && i < 10],
  ["metrics.acc != 1.2", (i) => i % 5 > 0 && i !== 12],
  ["status = 'RUNNING' AND run_name ILIKE 'RUN 1'", (i) => i === 1],
  ["dataset.name = 'none'", () => false],
])("%s finds those runs and no other", async (filter, isFound) => {
  const { runs } = await search({ experiment_ids: [experiment], filter });
  const wanted = Array.from({ length: count }, (_, i) => i)
    .filter(isFound)
    .map((i) => `run ${i}`);
  expect(names(runs).toSorted()).toEqual(wanted.toSorted());
});

test("the latest comes first, of equals the one with the lesser id", async () => {
  const { runs } = await search({ experiment_ids: [experiment] });
  const keys = runs.map(({ info }: any) => [info.start_time, info.run_id]);
  const sorted = keys.toSorted((a: any, b: any) => b[0] - a[0] || (a[1] < b[1] ? -1 : 1));
  expect(keys).toEqual(sorted);
});

test("a page of large runs is shorter than its limit, and the next goes on", async () => {
  const { experiment_id } = (
    await mlflow("POST", "/2.0/mlflow/experiments/create", { name: "fat" })
  ).json;
  const fat = Array.from({ length: 500 }, (_, i) => [`p${i}`, "x".repeat(8000)]);
  for (let i = 0; i < 5; i++)
    await startNative({
      experiment: experiment_id,
      name: `fat ${i}`,
      tags: Object.fromEntries(fat.slice(0, 150)),
      params: Object.fromEntries(fat.slice(0, 60)),
    });
  const found: string[] = [];
  for (let page_token: string | undefined; ;) {
    const page = await search({ experiment_ids: [experiment_id], page_token });
    found.push(...names(page.runs));
    page_token = page.next_page_token;
    if (!page_token) break;
  }
  expect(found.toSorted()).toEqual(["fat 0", "fat 1", "fat 2", "fat 3", "fat 4"]);
});

test.each<[string, object]>([
  [
    "a filter of 10^5 characters",
    { filter: "metrics.acc > 1 AND ".repeat(5000) + "metrics.acc > 1" },
  ],
  ["a filter of 4,000 clauses", { filter: Array(4000).fill("a = 'b'").join(" AND ") }],
  ["a filter that is broken", { filter: "metrics.acc >" }],
  ["OR", { filter: "params.a = '1' OR params.b = '2'" }],
  ["an order by two of one field", { order_by: ["metrics.acc", "metrics.acc DESC"] }],
  ["an order by a dataset", { order_by: ["dataset.name"] }],
  ["a page token made up", { page_token: "garbage" }],
  ["a page token of another list", { page_token: btoa("[1,2,3]") }],
  ["no result", { max_results: 0 }],
  ["too many results", { max_results: 50_001 }],
  ["a filter that is a number", { filter: 5 }],
])("%s is refused", async (_, body) => {
  const { status, json } = await mlflow("POST", "/2.0/mlflow/runs/search", {
    experiment_ids: [experiment],
    ...body,
  });
  expect([status, json.error_code]).toEqual([400, "INVALID_PARAMETER_VALUE"]);
});

test("a filter of 1,000 clauses is answered", async () => {
  const filter = Array.from({ length: 1000 }, (_, i) => `tags.fold != 'c${i}'`).join(" AND ");
  expect((await search({ experiment_ids: [experiment], filter })).runs).toHaveLength(count);
});

test("experiments are found by name, tag and time, page by page, the archived ones too", async () => {
  const ids: string[] = [];
  for (const [i, name] of ["Zeta", "alpha", "beta", "b%", "gone"].entries())
    ids.push(
      (
        await mlflow("POST", "/2.0/mlflow/experiments/create", {
          name,
          tags: [{ key: "odd", value: `${i % 2}` }],
        })
      ).json.experiment_id,
    );
  await mlflow("POST", "/2.0/mlflow/experiments/delete", { experiment_id: ids[4] });
  const find = async (body: object) =>
    (
      await mlflow("POST", "/2.0/mlflow/experiments/search", { max_results: 100, ...body })
    ).json.experiments?.map(({ name }: any) => name) ?? [];
  expect(await find({ filter: "name LIKE '%eta'" })).toEqual(["beta", "Zeta"]);
  expect(await find({ filter: "name ILIKE 'ALPHA' AND tags.odd = '1'" })).toEqual(["alpha"]);
  expect(await find({ filter: "tags.odd IS NOT NULL", order_by: ["name ASC"] })).toEqual([
    "Zeta",
    "alpha",
    "b%",
    "beta",
  ]);
  expect(await find({ view_type: "DELETED_ONLY" })).toEqual(["gone"]);
  expect(await find({ filter: "creation_time < 5" })).toEqual([]);
  expect(await ask("GET", "/experiments")).toMatchObject({ status: 200 });
  const { json } = await mlflow("POST", "/2.0/mlflow/experiments/search", {
    max_results: 1,
    filter: "attributes.name = 'x'",
  });
  expect(json).toMatchObject({
    error_code: "INVALID_PARAMETER_VALUE",
    message: expect.stringContaining("Invalid entity type 'attributes'"),
  });
});
