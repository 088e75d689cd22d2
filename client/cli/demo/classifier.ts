import type { Samples } from "./digits.ts";
import { randomNormal } from "../../random.ts";

/** Fully connected layers, relu between them and softmax at the end; its loss is cross-entropy. */
export interface Classifier {
  layers: Layer[];
  /** every weight, layer by layer: a row for each input, and one for the bias */
  weights: Float32Array;
  /** the derivative of the loss by each weight, as computeGradient last found it */
  gradient: Float32Array;
}

interface Layer {
  inputs: number;
  outputs: number;
  /** its part of the classifier's weights and gradient */
  weights: Float32Array;
  gradient: Float32Array;
  /** what it last answered, and the derivative of the loss by what it had before relu or softmax */
  values: Float32Array;
  errors: Float32Array;
}

/** How well a classifier does on samples, and what it says of each. */
interface Evaluation {
  loss: number;
  accuracy: number;
  /** the class held most likely */
  predicted: Uint8Array;
  /** the probability given to that class */
  p: Float32Array;
}

/** Creates a classifier of so many inputs, units in each hidden layer, and classes. */
export function createClassifier(sizes: number[], random: () => number): Classifier {
  const shapes = sizes.slice(1).map((outputs, i) => ({ inputs: sizes[i]!, outputs }));
  const length = shapes.reduce((sum, { inputs, outputs }) => sum + (inputs + 1) * outputs, 0);
  const weights = new Float32Array(length);
  const gradient = new Float32Array(length);
  let end = 0;
  const layers = shapes.map(({ inputs, outputs }): Layer => {
    const start = end;
    end += (inputs + 1) * outputs;
    for (let i = start; i < end - outputs; i++)
      weights[i] = randomNormal(random) * Math.sqrt(2 / inputs);
    return {
      inputs,
      outputs,
      weights: weights.subarray(start, end),
      gradient: gradient.subarray(start, end),
      values: new Float32Array(outputs),
      errors: new Float32Array(outputs),
    };
  });
  return { layers, weights, gradient };
}

/** Computes the gradient of the mean loss over a batch of the samples, and returns that loss. */
export function computeGradient(
  { layers, gradient }: Classifier,
  { inputs, labels }: Samples,
  batch: Uint32Array,
): number {
  const size = layers[0]!.inputs;
  let loss = 0;
  gradient.fill(0);
  for (const i of batch) {
    const input = inputs.subarray(i * size, (i + 1) * size);
    loss += forward(layers, input, labels[i]!);
    backward(layers, input, labels[i]!);
  }
  for (let i = 0; i < gradient.length; i++) gradient[i]! /= batch.length;
  return loss / batch.length;
}

/** Evaluates a classifier on all of the samples. */
export function evaluate({ layers }: Classifier, { count, inputs, labels }: Samples): Evaluation {
  const size = layers[0]!.inputs;
  const { values } = layers.at(-1)!;
  const predicted = new Uint8Array(count);
  const p = new Float32Array(count);
  let loss = 0;
  let right = 0;
  for (let i = 0; i < count; i++) {
    loss += forward(layers, inputs.subarray(i * size, (i + 1) * size), labels[i]!);
    let best = 0;
    for (let k = 1; k < values.length; k++) if (values[k]! > values[best]!) best = k;
    predicted[i] = best;
    p[i] = values[best]!;
    if (best === labels[i]) right++;
  }
  return { loss: loss / count, accuracy: right / count, predicted, p };
}

/** Returns a function that steps down the gradient as a heavy ball rolls; with momentum 0, SGD. */
export function createOptimizer(
  { weights, gradient }: Classifier,
  { lr, momentum }: { lr: number; momentum: number },
): () => void {
  const velocity = new Float32Array(weights.length);
  return () => {
    for (let i = 0; i < weights.length; i++) {
      velocity[i] = momentum * velocity[i]! - lr * gradient[i]!;
      weights[i]! += velocity[i]!;
    }
  };
}

/** Computes what each layer answers to one input, and returns the loss. */
function forward(layers: Layer[], input: Float32Array, label: number): number {
  for (const { inputs, outputs, weights, values } of layers) {
    values.set(weights.subarray(inputs * outputs));
    for (let i = 0; i < inputs; i++) {
      const x = input[i]!;
      if (x !== 0)
        for (let o = 0, w = i * outputs; o < outputs; o++) values[o]! += x * weights[w + o]!;
    }
    if (values === layers.at(-1)!.values) break;
    for (let o = 0; o < outputs; o++) if (values[o]! < 0) values[o] = 0;
    input = values;
  }
  return softmax(layers.at(-1)!.values, label);
}

/**
 * Turns logits into probabilities in place, and returns the loss, minus the log of the label's.
 * The largest logit is not subtracted first: in 32 bits a logit above 88 then overflows, as it has
 * in many a script, so too high a rate gives an infinite loss, and NaN in the step after.
 */
function softmax(values: Float32Array, label: number): number {
  const logit = values[label]!;
  let sum = 0;
  for (let k = 0; k < values.length; k++) sum += values[k] = Math.fround(Math.exp(values[k]!));
  for (let k = 0; k < values.length; k++) values[k]! /= sum;
  return Math.log(sum) - logit;
}

/** Adds the gradient of one sample's loss, once forward has computed its values. */
function backward(layers: Layer[], input: Float32Array, label: number): void {
  for (let l = layers.length - 1; l >= 0; l--) {
    const { inputs, outputs, gradient, values, errors } = layers[l]!;
    const above = layers[l + 1];
    if (above) backpropagate(above, values, errors);
    else for (let o = 0; o < outputs; o++) errors[o] = values[o]! - (o === label ? 1 : 0);
    const below = layers[l - 1]?.values ?? input;
    for (let i = 0; i <= inputs; i++) {
      const x = i < inputs ? below[i]! : 1;
      if (x !== 0)
        for (let o = 0, w = i * outputs; o < outputs; o++) gradient[w + o]! += x * errors[o]!;
    }
  }
}

/** Computes a layer's errors from those of the one above; relu passes none where it answered 0. */
function backpropagate(above: Layer, values: Float32Array, errors: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    let sum = 0;
    if (values[i] !== 0)
      for (let o = 0, w = i * above.outputs; o < above.outputs; o++)
        sum += above.weights[w + o]! * above.errors[o]!;
    errors[i] = sum;
  }
}
