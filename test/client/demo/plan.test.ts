import { expect, test } from "vitest";
import { planDemo } from "../../../client/cli/demo/plan.ts";

const [digits, width] = planDemo({ train: 8000, validation: 2000 });

test("the digits sweep has 24 runs, and one that diverges", () => {
  expect(digits!.runs.map((run) => run.name)).toMatchInlineSnapshot(`
    [
      "sgd-0.01-s0",
      "momentum-0.01-s0",
      "sgd-0.1-s0",
      "momentum-0.1-s0",
      "sgd-0.5-s0",
      "momentum-0.5-s0",
      "sgd-2.0-s0",
      "momentum-2.0-s0",
      "sgd-0.01-s1",
      "momentum-0.01-s1",
      "sgd-0.1-s1",
      "momentum-0.1-s1",
      "sgd-0.5-s1",
      "momentum-0.5-s1",
      "sgd-2.0-s1",
      "momentum-2.0-s1",
      "sgd-0.01-s2",
      "momentum-0.01-s2",
      "sgd-0.1-s2",
      "momentum-0.1-s2",
      "sgd-0.5-s2",
      "momentum-0.5-s2",
      "sgd-2.0-s2",
      "momentum-2.0-s2",
      "momentum-4.0-s2",
    ]
  `);
});

test("the width experiment has three seeds of three widths", () => {
  expect(width!.runs.map((run) => run.name)).toMatchInlineSnapshot(`
    [
      "mlp-4-s0",
      "mlp-16-s0",
      "mlp-64-s0",
      "mlp-4-s1",
      "mlp-16-s1",
      "mlp-64-s1",
      "mlp-4-s2",
      "mlp-16-s2",
      "mlp-64-s2",
    ]
  `);
});

test("names are unique, and every setting is", () => {
  const runs = [...digits!.runs, ...width!.runs];
  expect(new Set(runs.map((run) => run.name)).size).toBe(runs.length);
  expect(new Set(runs.map((run) => JSON.stringify(run.params))).size).toBe(runs.length);
});

test("both experiments say what they ask and what decides", () => {
  for (const { name, hypothesis, metric, direction, runs } of [digits!, width!]) {
    expect(hypothesis).toMatch(/\?$/);
    expect([metric, direction]).toEqual(["val/acc", "max"]);
    expect(runs.every((run) => run.experiment === name)).toBe(true);
  }
});

test("only a run with momentum has a share to keep, and only an mlp a hidden layer", () => {
  for (const { params } of [...digits!.runs, ...width!.runs]) {
    expect(params.momentum > 0).toBe(params.optimizer === "momentum");
    expect("hidden" in params).toBe(params.model === "mlp");
  }
});
