import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { randomOrder, seededRandom } from "../../random.ts";

/** Labelled pictures, one after another. */
export interface Samples {
  count: number;
  /** `inputSize` brightnesses from 0 to 1 for each sample */
  inputs: Float32Array;
  /** the digit that each sample shows */
  labels: Uint8Array;
}

export interface Digits {
  train: Samples;
  validation: Samples;
}

const side = 28;
const pooledSide = side / 2;
/** How many numbers describe a sample: the pixels of a picture at half its width and height. */
export const inputSize = pooledSide ** 2;

/** Loads MNIST's handwritten digits at half their size, and splits them at random by the seed. */
export async function loadDigits({
  train = 8000,
  validation = 2000,
  seed = 0,
} = {}): Promise<Digits> {
  const all = joinSamples(
    await Promise.all(Array.from({ length: 10 }, (_, digit) => loadDigit(digit))),
  );
  if (train + validation > all.count)
    throw new Error(`too few digits: ${all.count} (${train + validation} asked)`);
  const order = randomOrder(all.count, seededRandom(seed));
  return {
    train: pickSamples(all, order.subarray(0, train)),
    validation: pickSamples(all, order.subarray(train, train + validation)),
  };
}

async function loadDigit(digit: number): Promise<Samples> {
  const path = createRequire(import.meta.url).resolve(`mnist/src/digits/${digit}.json`);
  const { data } = JSON.parse(await readFile(path, "utf8")) as { data: number[] };
  const count = data.length / side ** 2;
  return { count, inputs: poolPixels(data, count), labels: new Uint8Array(count).fill(digit) };
}

/** Returns pictures of half the width and height, each pixel the mean of four. */
function poolPixels(pixels: number[], count: number): Float32Array {
  const pooled = new Float32Array(count * inputSize);
  for (let i = 0, at = 0; i < pooled.length; i++, at += i % pooledSide ? 2 : side + 2)
    pooled[i] = (pixels[at]! + pixels[at + 1]! + pixels[at + side]! + pixels[at + side + 1]!) / 4;
  return pooled;
}

function joinSamples(parts: Samples[]): Samples {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const joined = {
    count,
    inputs: new Float32Array(count * inputSize),
    labels: new Uint8Array(count),
  };
  let at = 0;
  for (const { count, inputs, labels } of parts) {
    joined.inputs.set(inputs, at * inputSize);
    joined.labels.set(labels, at);
    at += count;
  }
  return joined;
}

function pickSamples({ inputs, labels }: Samples, order: Uint32Array): Samples {
  const picked = new Float32Array(order.length * inputSize);
  order.forEach((from, to) =>
    picked.set(inputs.subarray(from * inputSize, (from + 1) * inputSize), to * inputSize),
  );
  return { count: order.length, inputs: picked, labels: Uint8Array.from(order, (i) => labels[i]!) };
}
