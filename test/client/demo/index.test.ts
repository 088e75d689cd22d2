import { expect, test } from "vitest";
import { runDemo, type DemoProgress } from "../../../client/cli/demo/index.ts";
import { planDemo } from "../../../client/cli/demo/plan.ts";
import { recordLab } from "./fake-lab.ts";

/** The demo's first three runs of each experiment, cut short. */
const plan: typeof planDemo = (data) =>
  planDemo(data).map((experiment) => ({
    ...experiment,
    runs: experiment.runs
      .slice(0, 3)
      .map((run) => ({ ...run, params: { ...run.params, steps: 4 } })),
  }));

test("the demo creates its experiments, ends every run, and counts what it did", async () => {
  const { lab, experiments, runs } = recordLab();
  const { runs: count, points } = await runDemo(lab, { plan });
  const logged = runs.flatMap((run) => run.points.map(({ values }) => Object.keys(values).length));
  expect(experiments).toEqual(["digits", "digits-width"]);
  expect(runs.map((run) => run.state)).toEqual(Array(6).fill("finished"));
  expect(count).toBe(6);
  expect(points).toBe(logged.reduce((a, b) => a + b));
});

test("progress is told as each run ends", async () => {
  const progress: DemoProgress[] = [];
  await runDemo(recordLab().lab, { plan, onProgress: (p) => progress.push(p) });
  expect(progress.map(({ done, total }) => `${done}/${total}`)).toEqual([
    "1/6",
    "2/6",
    "3/6",
    "4/6",
    "5/6",
    "6/6",
  ]);
});

test("only as many runs go on at a time as asked", async () => {
  const { lab, runs } = recordLab();
  const going: number[] = [];
  const count = () => going.push(runs.filter((run) => run.state === "running").length);
  const startRun: typeof lab.startRun = (run) => lab.startRun(run).finally(count);
  await runDemo({ ...lab, startRun }, { plan, concurrency: 2 });
  expect(Math.max(...going)).toBe(2);
});
