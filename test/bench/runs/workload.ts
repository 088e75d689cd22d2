import type { Params } from "../../../wire/config.ts";
import type { Run } from "../../../wire/run.ts";
import type { Summary } from "../../../wire/summary.ts";
import { randomFrom } from "../workload.ts";

/** A run that has ended, as far as the bench makes it. */
export type BenchRun = Pick<
  Run,
  "id" | "number" | "name" | "state" | "params" | "tags" | "metrics" | "started" | "points"
> & { ended: number };

type Random = () => number;

/**
 * Returns the i-th run of a search over training settings, the same for the same i: 25 params (13 numbers, 8 texts, 3
 * booleans, one a number or a text), 5 tags and 30 metrics with their summaries in full float64. A metric is missing in 3
 * of 100 runs, and its last value is NaN in 1 of 100. Runs are ten seconds apart.
 */
export function benchRun(i: number): BenchRun {
  const random = randomFrom(i);
  const started = 1_760_000_000_000 + i * 10_000 + Math.floor(random() * 5000);
  const steps = 100 * Math.ceil(50 * random());
  const params = Object.fromEntries(
    Object.entries(paramMakers).map(([key, make]) => [key, make(random)]),
  );
  const skill = skillOf(params["lr"] as number, random);
  const ended = started + steps * 250;
  const metrics: Record<string, Summary> = {};
  for (const [key, make] of Object.entries(metricMakers)) {
    const series = make(skill, random);
    if (random() < 0.03) continue;
    metrics[key] = summaryOf(series, { steps, time: ended, isNaN: random() < 0.01 }, random);
  }
  return {
    id: idOf(started, random),
    number: i + 1,
    name: `${oneOf(["swift", "calm", "bold", "wry", "keen"])(random)}-${oneOf(["otter", "heron", "lynx", "wren"])(random)}-${i + 1}`,
    state: state(random),
    params,
    tags: Object.fromEntries(Object.entries(tagMakers).map(([key, make]) => [key, make(random)])),
    metrics,
    points: steps * Object.keys(metrics).length,
    started,
    ended,
  };
}

/** A UUIDv7 without dashes. */
function idOf(time: number, random: Random): string {
  const hex = (digits: number) =>
    Math.floor(random() * 16 ** digits)
      .toString(16)
      .padStart(digits, "0");
  return `${time.toString(16).padStart(12, "0")}7${hex(3)}8${hex(7)}${hex(8)}`;
}

const oneOf =
  <T>(values: T[]) =>
  (random: Random): T =>
    values[Math.floor(random() * values.length)]!;
const between = (low: number, high: number) => (random: Random) => low + (high - low) * random();
const powerOfTen = (low: number, high: number) => (random: Random) =>
  10 ** (low + (high - low) * random());
const coin = (random: Random) => random() < 0.5;
const state = oneOf<Run["state"]>(["finished", "finished", "finished", "failed", "killed"]);

const paramMakers: Record<string, (random: Random) => Params[string]> = {
  lr: powerOfTen(-5, -1),
  weight_decay: powerOfTen(-6, -2),
  dropout: (random) => Math.round(random() * 10) / 20,
  batch_size: oneOf([16, 32, 64, 128, 256]),
  epochs: oneOf([10, 30, 90]),
  warmup: oneOf([0, 500, 1000, 5000]),
  depth: oneOf([6, 12, 24]),
  width: oneOf([256, 384, 512, 768]),
  heads: oneOf([4, 6, 8, 12]),
  beta2: oneOf([0.95, 0.98, 0.99, 0.999]),
  clip: between(0.1, 5),
  temperature: between(0.05, 1),
  seed: (random) => Math.floor(random() * 10_000),
  optimizer: oneOf(["sgd", "adam", "adamw", "lion"]),
  scheduler: oneOf(["cosine", "linear", "constant"]),
  model: oneOf(["vit-s/16", "vit-b/16", "resnet-50", "convnext-t", "swin-t"]),
  dataset: oneOf(["imagenet-1k", "cifar-100", "food-101"]),
  augment: oneOf(["none", "randaugment", "mixup", "cutmix"]),
  activation: oneOf(["relu", "gelu", "silu"]),
  norm: oneOf(["layer", "batch", "rms"]),
  precision: oneOf(["fp32", "bf16", "fp16"]),
  amp: coin,
  ema: coin,
  resume: coin,
  patience: (random) => (random() < 0.5 ? "off" : Math.ceil(random() * 20)),
};

const tagMakers: Record<string, (random: Random) => string> = {
  team: oneOf(["vision", "text", "audio"]),
  user: oneOf(["ada", "grace", "alan", "kurt", "emmy", "sofia", "henri"]),
  host: (random) => `gpu-${Math.floor(random() * 40)}`,
  purpose: oneOf(["sweep", "baseline", "ablation"]),
  commit: (random) => `${Math.floor(random() * 2000).toString(16)}c0ffee`,
};

/** How well a run does, from 0 to 1: best at a rate of 1e-3. */
const skillOf = (lr: number, random: Random): number =>
  Math.min(
    1,
    Math.max(0.01 * random(), 1 - 0.35 * Math.abs(Math.log10(lr) + 3) - 0.4 * random() ** 2),
  );

/** Where a series begins and where it ends. */
type Series = [first: number, last: number];
type MetricMaker = (skill: number, random: Random) => Series;

const loss =
  (worst: number): MetricMaker =>
  (skill, random) => [
    worst * (1 + 0.1 * random()),
    worst * (1.02 - skill * (0.9 + 0.1 * random())),
  ];
const rate =
  (best: number): MetricMaker =>
  (skill, random) => [0.1 * random(), best * skill * (0.95 + 0.05 * random())];
const gauge =
  (low: number, high: number): MetricMaker =>
  (_, random) => [between(low, high)(random), between(low, high)(random)];

const metricMakers: Record<string, MetricMaker> = {
  "train/loss": loss(7),
  "train/acc": rate(0.99),
  "train/grad_norm": gauge(0.1, 8),
  "train/lr": gauge(0, 1e-3),
  "train/aux_loss": loss(2),
  "train/kl": loss(0.5),
  "train/weight_norm": gauge(20, 80),
  "train/perplexity": loss(1100),
  "val/loss": loss(7.2),
  "val/acc": rate(0.95),
  "val/top5": rate(0.99),
  "val/f1": rate(0.94),
  "val/precision": rate(0.95),
  "val/recall": rate(0.93),
  "val/auc": rate(0.99),
  "val/ece": loss(0.3),
  "test/loss": loss(7.3),
  "test/acc": rate(0.94),
  "test/f1": rate(0.93),
  "robust/acc": rate(0.6),
  "robust/loss": loss(9),
  "system/gpu_util": gauge(60, 100),
  "system/gpu_memory": gauge(10, 80),
  "system/gpu_temperature": gauge(50, 85),
  "system/gpu_power": gauge(150, 400),
  "system/cpu_util": gauge(5, 60),
  "system/memory": gauge(8, 64),
  "time/step": gauge(0.1, 0.6),
  "time/data": gauge(0.001, 0.05),
  throughput: gauge(200, 4000),
};

function summaryOf(
  [first, last]: Series,
  { steps, time, isNaN }: { steps: number; time: number; isNaN: boolean },
  random: Random,
): Summary {
  const [low, high] = first < last ? [first, last] : [last, first];
  const early = Math.floor(0.05 * steps * random());
  const late = steps - 1 - Math.floor(0.2 * steps * random());
  return {
    last: isNaN ? NaN : last,
    step: steps - 1,
    time,
    min: low - 0.01 * (high - low) * random(),
    minStep: first < last ? early : late,
    max: high + 0.01 * (high - low) * random(),
    maxStep: first < last ? late : early,
    sum: steps * (0.2 * first + 0.8 * last),
    count: steps,
    nan: isNaN ? 1 : 0,
  };
}
