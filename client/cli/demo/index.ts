import { loadDigits } from "./digits.ts";
import { planDemo } from "./plan.ts";
import { trainRun, type DemoRun, type Outcome } from "./train.ts";

export type { DemoRun } from "./train.ts";

/** What the demo asks of a server. */
export interface DemoLab {
  createExperiment(experiment: {
    name: string;
    hypothesis: string;
    metric: string;
    direction: "min" | "max";
  }): Promise<unknown>;
  startRun(run: {
    experiment: string;
    name: string;
    params: Record<string, string | number>;
    tags: Record<string, string>;
  }): Promise<DemoRun>;
}

/** A demo run that has ended, and how many of them have. */
export interface DemoProgress extends Outcome {
  experiment: string;
  name: string;
  done: number;
  total: number;
}

interface DemoOptions {
  /** called as each run ends */
  onProgress?: (progress: DemoProgress) => void;
  /** how many runs go on at a time; defaults to 4 */
  concurrency?: number;
  /** what to run; defaults to the whole demo */
  plan?: typeof planDemo;
}

/** Fills a lab with two experiments of real training on real digits, a few runs at a time. */
export async function runDemo(
  lab: DemoLab,
  { onProgress, concurrency = 4, plan = planDemo }: DemoOptions = {},
): Promise<{ runs: number; points: number }> {
  const digits = await loadDigits();
  const experiments = plan({ train: digits.train.count, validation: digits.validation.count });
  for (const { name, hypothesis, metric, direction } of experiments)
    await lab.createExperiment({ name, hypothesis, metric, direction });

  const planned = experiments.flatMap(({ runs }) => runs);
  const queue = planned.values();
  let done = 0;
  let points = 0;
  const takeRuns = async () => {
    for (const { experiment, name, params, tags } of queue) {
      const run = await lab.startRun({ experiment, name, params, tags });
      const outcome = await trainRun(run, params, digits);
      done++;
      points += outcome.points;
      onProgress?.({ experiment, name, done, total: planned.length, ...outcome });
    }
  };
  await Promise.all(Array.from({ length: concurrency }, takeRuns));
  return { runs: done, points };
}
