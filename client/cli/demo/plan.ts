/** What sets a demo run apart, as its params. */
export type Setting = {
  model: "softmax" | "mlp";
  /** the units of its hidden layer, which only an mlp has */
  hidden?: number;
  optimizer: "sgd" | "momentum";
  lr: number;
  /** the share of the last step that the next one keeps; 0 for sgd */
  momentum: number;
  /** how many digits each step sees */
  batch: number;
  steps: number;
  seed: number;
  /** how many digits there are to learn from, and to be judged by */
  train: number;
  validation: number;
};

type Sizes = Pick<Setting, "train" | "validation">;

interface PlannedRun {
  experiment: string;
  name: string;
  params: Setting;
  tags: Record<string, string>;
}

interface PlannedExperiment {
  name: string;
  hypothesis: string;
  metric: string;
  direction: "min" | "max";
  runs: PlannedRun[];
}

const seeds = [0, 1, 2];
const batch = 64;
const tags = { demo: "true", data: "mnist" };

/** Plans the demo's experiments; runs to be compared are neighbours, and so grow side by side. */
export function planDemo(data: Sizes): PlannedExperiment[] {
  return [planDigits(data), planWidth(data)];
}

function planDigits(data: Sizes): PlannedExperiment {
  const planRun = (optimizer: Setting["optimizer"], lr: number, seed: number): PlannedRun => ({
    experiment: "digits",
    name: `${optimizer}-${Number.isInteger(lr) ? lr.toFixed(1) : lr}-s${seed}`,
    params: {
      model: "softmax",
      optimizer,
      lr,
      momentum: optimizer === "momentum" ? 0.9 : 0,
      batch,
      steps: 300,
      seed,
      ...data,
    },
    tags,
  });
  const runs = seeds.flatMap((seed) =>
    [0.01, 0.1, 0.5, 2].flatMap((lr) => [planRun("sgd", lr, seed), planRun("momentum", lr, seed)]),
  );
  return {
    name: "digits",
    hypothesis:
      "Does momentum beat plain SGD at the same number of steps, once each has its best rate?",
    metric: "val/acc",
    direction: "max",
    runs: [...runs, planRun("momentum", 4, 2)], // at twice the highest rate its loss becomes NaN
  };
}

// Of the rates 0.05, 0.1 and 0.2, the mean val/acc over these nine runs is best at 0.1.
function planWidth(data: Sizes): PlannedExperiment {
  const planRun = (hidden: number, seed: number): PlannedRun => ({
    experiment: "digits-width",
    name: `mlp-${hidden}-s${seed}`,
    params: {
      model: "mlp",
      hidden,
      optimizer: "momentum",
      lr: 0.1,
      momentum: 0.9,
      batch,
      steps: 500,
      seed,
      ...data,
    },
    tags,
  });
  return {
    name: "digits-width",
    hypothesis: "How wide must the hidden layer be before more width stops helping?",
    metric: "val/acc",
    direction: "max",
    runs: seeds.flatMap((seed) => [4, 16, 64].map((hidden) => planRun(hidden, seed))),
  };
}
