import { setImmediate } from "node:timers/promises";
import {
  computeGradient,
  createClassifier,
  createOptimizer,
  evaluate,
  type Classifier,
} from "./classifier.ts";
import { countConfusions, drawConfusions } from "./confusion.ts";
import { inputSize, type Digits, type Samples } from "./digits.ts";
import { arrayToNpy } from "./npy.ts";
import type { Setting } from "./plan.ts";
import { pictureToPNG } from "./png.ts";
import { randomOrder, seededRandom } from "../../random.ts";

/** What the demo asks of a run that it logs to. */
export interface DemoRun {
  log(values: Record<string, number>, options?: { step?: number }): void;
  print(line: string, options?: { stream?: "out" | "err" }): void;
  artifact(path: string, content: Uint8Array | Blob, options?: { type?: string }): void;
  finish(state?: "finished" | "failed" | "killed"): Promise<unknown>;
}

/** How a run went. */
export interface Outcome {
  state: "finished" | "failed";
  /** its best val/acc */
  accuracy: number;
  /** how many points it logged */
  points: number;
}

/** How often, in steps, the validation digits are judged. */
const validateEvery = 10;
/** How many more steps a run takes once its loss is NaN. */
const patience = 5;

/**
 * Trains a classifier as the setting says, and logs it. The point at a step is of the weights after
 * that many steps. The run fails, without artifacts, if its loss becomes NaN.
 */
export async function trainRun(
  run: DemoRun,
  setting: Setting,
  { train, validation }: Digits,
): Promise<Outcome> {
  const { batch, hidden, lr, model, optimizer, seed, steps } = setting;
  const random = seededRandom(seed);
  const sizes = hidden === undefined ? [inputSize, 10] : [inputSize, hidden, 10];
  const classifier = createClassifier(sizes, random);
  const descend = createOptimizer(classifier, setting);
  const batches = drawBatches(train.count, batch, random);
  const warn = (line: string) => run.print(line, { stream: "err" });
  run.print(
    `${model}, ${classifier.weights.length} weights, ${optimizer} at rate ${lr}, seed ${seed}`,
  );
  run.print(`${train.count} digits to learn from, ${validation.count} to judge by`);

  let accuracy = 0;
  let points = 0;
  let usualNorm = Infinity;
  let failedAt = Infinity;
  for (let step = 0; step <= Math.min(steps, failedAt + patience); step++) {
    const loss = computeGradient(classifier, train, batches.next().value);
    const norm = computeNorm(classifier.gradient);
    const values: Record<string, number> = { "train/loss": loss, "train/grad_norm": norm };
    if (step % validateEvery === 0) {
      const judged = evaluate(classifier, validation);
      values["val/acc"] = judged.accuracy;
      values["val/loss"] = judged.loss;
      accuracy = Math.max(accuracy, judged.accuracy);
      run.print(`step ${step} train/loss ${loss.toFixed(4)} val/acc ${judged.accuracy.toFixed(4)}`);
    }
    run.log(values, { step });
    points += Object.keys(values).length;

    if (norm > 2 * usualNorm)
      warn(`grad norm is ${norm.toFixed(2)} at step ${step}, usually ${usualNorm.toFixed(2)}`);
    usualNorm = usualNorm === Infinity ? norm : 0.9 * usualNorm + 0.1 * norm;
    if (!Number.isFinite(loss) && failedAt === Infinity) warn(`loss is ${loss} at step ${step}`);
    if (Number.isNaN(loss)) failedAt = Math.min(failedAt, step);
    if (step < steps) descend();
    await setImmediate(); // the other runs' turn, and that of what has been logged to be sent
  }

  const state = failedAt === Infinity ? "finished" : "failed";
  if (state === "finished") uploadArtifacts(run, classifier, validation);
  await run.finish(state);
  return { state, accuracy, points };
}

/** Yields batches of indexes below count without end, in a new order each time round. */
function* drawBatches(
  count: number,
  size: number,
  random: () => number,
): Generator<Uint32Array, never> {
  for (;;) {
    const order = randomOrder(count, random);
    for (let at = 0; at + size <= count; at += size) yield order.subarray(at, at + size);
  }
}

function computeNorm(gradient: Float32Array): number {
  let sum = 0;
  for (const g of gradient) sum += g * g;
  return Math.sqrt(sum);
}

function uploadArtifacts(run: DemoRun, classifier: Classifier, samples: Samples): void {
  const { predicted, p } = evaluate(classifier, samples);
  const confusions = drawConfusions(countConfusions(samples.labels, predicted));
  run.artifact("plots/confusion.png", pictureToPNG(confusions), { type: "image/png" });
  const rows = Array.from(
    predicted,
    (digit, i) => `${i},${samples.labels[i]},${digit},${p[i]!.toFixed(4)}\n`,
  );
  const table = new TextEncoder().encode("index,label,predicted,p\n" + rows.join(""));
  run.artifact("predictions.csv", table, { type: "text/csv" });
  run.artifact("weights.npy", arrayToNpy(classifier.weights), { type: "application/octet-stream" });
}
