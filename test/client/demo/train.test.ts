import { expect, test } from "vitest";
import { loadDigits } from "../../../client/cli/demo/digits.ts";
import { planDemo, type Setting } from "../../../client/cli/demo/plan.ts";
import { trainRun } from "../../../client/cli/demo/train.ts";
import { recordRun } from "./fake-lab.ts";

const digits = await loadDigits();
const runs = planDemo({ train: 8000, validation: 2000 }).flatMap((experiment) => experiment.runs);

async function train(name: string, change: Partial<Setting> = {}) {
  const { params } = runs.find((run) => run.name === name)!;
  const { run, record } = recordRun();
  const outcome = await trainRun(run, { ...params, ...change }, digits);
  return { ...record, outcome };
}

test.for(["sgd-2.0-s0", "momentum-0.5-s0"])("%s learns to tell digits apart", async (name) => {
  const { outcome, state } = await train(name);
  expect(state).toBe("finished");
  expect(outcome.accuracy).toBeGreaterThan(0.85);
});

test("the rate that is too high brings the loss to NaN, and the run fails soon after", async () => {
  const { points, err, state, artifacts } = await train("momentum-4.0-s2");
  const nanAt = points.findIndex(({ values }) => Number.isNaN(values["train/loss"]));
  expect(nanAt).toBeGreaterThan(10);
  expect(points.length).toBe(nanAt + 6);
  expect(err).toContain(`loss is NaN at step ${nanAt}`);
  expect([state, artifacts]).toEqual(["failed", {}]);
});

test("the same seed gives the same curve, another seed another", async () => {
  const [a, b] = [await train("mlp-4-s1", { steps: 30 }), await train("mlp-4-s1", { steps: 30 })];
  const other = await train("mlp-4-s1", { steps: 30, seed: 7 });
  expect(a.points).toEqual(b.points);
  expect(a.points).not.toEqual(other.points);
});

test("the loss is logged at every step, the validation digits at every tenth", async () => {
  const { points, out, outcome } = await train("sgd-0.1-s0", { steps: 20 });
  const judged = points.filter(({ values }) => "val/acc" in values && "val/loss" in values);
  expect(points.map(({ step }) => step)).toEqual(Array.from({ length: 21 }, (_, step) => step));
  expect(judged.map(({ step }) => step)).toEqual([0, 10, 20]);
  expect(outcome.points).toBe(21 * 2 + 3 * 2);
  expect(out.at(-1)).toMatch(/^step 20 train\/loss \d\.\d{4} val\/acc 0\.\d{4}$/);
});

test("a finished run leaves a picture, a table and its weights", async () => {
  const { artifacts } = await train("sgd-0.1-s0", { steps: 1 });
  const types = Object.entries(artifacts).map(([path, { type }]) => [path, type]);
  const table = new TextDecoder().decode(artifacts["predictions.csv"]!.content).split("\n");
  expect(Object.fromEntries(types)).toEqual({
    "plots/confusion.png": "image/png",
    "predictions.csv": "text/csv",
    "weights.npy": "application/octet-stream",
  });
  expect(table[0]).toBe("index,label,predicted,p");
  expect(table.length).toBe(1 + 2000 + 1);
  expect(table[1]).toMatch(/^0,\d,\d,0\.\d{4}$/);
});
