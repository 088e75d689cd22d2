import { env } from "cloudflare:workers";
import { beforeAll, expect, test } from "vitest";
import { settleRuns } from "../../../worker/db/run-blocks.ts";
import { ask, freshStores } from "../worker.ts";
import { mlflow } from "./door.ts";

freshStores();

/** Four runs: of two datasets, of one, of another of the same name, and of none. */
const read: Record<string, [name: string, digest: string, context?: string][]> = {
  both: [
    ["train", "d1", "training"],
    ["test", "d2", "evaluation"],
  ],
  one: [["train", "d1"]],
  other: [["train", "d9", "Training"]],
  none: [],
};

beforeAll(async () => {
  for (const [name, datasets] of Object.entries(read)) {
    const { json } = await ask("POST", "/runs", { experiment: "fed", name });
    await mlflow("POST", "/2.0/mlflow/runs/log-inputs", {
      run_id: json.id,
      datasets: datasets.map(([name, digest, context]) => ({
        tags: context ? [{ key: "mlflow.data.context", value: context }] : [],
        dataset: { name, digest, source_type: "local", source: "{}" },
      })),
    });
    await ask("POST", `/runs/${json.id}/finish`, { state: "finished" });
  }
});

const cases: [where: string, names: string[]][] = [
  ["dataset.name = 'train'", ["both", "one", "other"]],
  ["datasets.digest in ('d2', 'd9')", ["both", "other"]],
  ["dataset.name = 'train' and dataset.digest = 'd2'", ["both"]],
  ["dataset.name != 'train'", ["both"]],
  ["dataset.context ilike 'TRAIN%'", ["both", "other"]],
  ["dataset.context like 'train%'", ["both"]],
  ["dataset.digest ~ '^d[19]$' and not dataset.name = 'test'", ["one", "other"]],
  ["dataset.name is null", ["none"]],
  ["dataset.context is null", ["none", "one"]],
  ["dataset.context is not null or name = 'none'", ["both", "none", "other"]],
];
const namesOf = async (where: string) => {
  const query = new URLSearchParams({ experiment: "fed", where, order: "name", columns: "name" });
  return (await ask("GET", `/runs.json?${query}`)).json.map((run: { name: string }) => run.name);
};

test.for(cases)("%s", async ([where, names]) => {
  expect(await namesOf(where)).toEqual(names);
});

test("the same is found of runs that have settled", async () => {
  const { id } = (await ask("GET", "/experiments/fed")).json;
  expect(await settleRuns(env, id, { quiet: -1000 })).toBe(4);
  for (const [where, names] of cases) expect(await namesOf(where), where).toEqual(names);
});

test("what datasets do not have, and orders by them, are refused", async () => {
  for (const query of ["where=dataset.size > 1", "order=dataset.name", "columns=dataset.name"])
    expect((await ask("GET", `/runs.json?${query}`)).status, query).toBe(400);
});
