import { expect, test } from "vitest";
import {
  computeGradient,
  createClassifier,
  createOptimizer,
  evaluate,
} from "../../../client/cli/demo/classifier.ts";
import { inputSize, loadDigits } from "../../../client/cli/demo/digits.ts";
import { randomOrder, seededRandom } from "../../../client/random.ts";

const { train } = await loadDigits({ train: 32, validation: 0 });
const batch = randomOrder(32, seededRandom(0));

test.for([[[inputSize, 10]], [[inputSize, 16, 10]]])(
  "the gradient of %j is that of finite differences",
  ([sizes]) => {
    const classifier = createClassifier(sizes!, seededRandom(1));
    computeGradient(classifier, train, batch);
    const gradient = classifier.gradient.slice();
    const { weights } = classifier;
    const lossAt = (i: number, weight: number) => {
      weights[i] = weight;
      return computeGradient(classifier, train, batch);
    };
    for (let i = 0; i < weights.length; i += 7) {
      const weight = weights[i]!;
      const slope = (lossAt(i, weight + 2e-3) - lossAt(i, weight - 2e-3)) / 4e-3;
      weights[i] = weight;
      expect(Math.abs(slope - gradient[i]!)).toBeLessThan(1e-3);
    }
  },
);

test("momentum keeps a share of the last step, and SGD none", () => {
  const moves = [0, 0.9].map((momentum) => {
    const classifier = createClassifier([1, 1], () => 0);
    const descend = createOptimizer(classifier, { lr: 0.5, momentum });
    classifier.gradient.fill(1);
    descend();
    descend();
    return classifier.weights[1];
  });
  expect(moves).toEqual([-1, Math.fround(-1.45)]);
});

test("a logit that overflows makes the loss infinite, and then NaN", () => {
  const classifier = createClassifier([inputSize, 10], seededRandom(0));
  const descend = createOptimizer(classifier, { lr: 1, momentum: 0 });
  classifier.weights[classifier.weights.length - 1] = 100;
  expect(computeGradient(classifier, train, batch)).toBe(Infinity);
  descend();
  expect(computeGradient(classifier, train, batch)).toBeNaN();
});

test("an evaluation says what is predicted, how surely, and how often rightly", () => {
  const classifier = createClassifier([inputSize, 10], seededRandom(0));
  classifier.weights.fill(0);
  classifier.weights[classifier.weights.length - 7] = Math.log(9); // of 3: p = 9 / 18
  const { loss, accuracy, predicted, p } = evaluate(classifier, train);
  const share = train.labels.filter((label) => label === 3).length / 32;
  expect(new Set(predicted)).toEqual(new Set([3]));
  expect(p[0]).toBeCloseTo(0.5);
  expect(accuracy).toBe(share);
  expect(loss).toBeCloseTo(Math.log(18) - share * Math.log(9));
});
