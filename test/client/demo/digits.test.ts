import { expect, test } from "vitest";
import { inputSize, loadDigits } from "../../../client/cli/demo/digits.ts";

test("the digits are split into as many as asked, of every class", async () => {
  const { train, validation } = await loadDigits({ train: 400, validation: 100 });
  expect([train.count, validation.count]).toEqual([400, 100]);
  expect(train.inputs.length).toBe(400 * inputSize);
  expect(new Set(train.labels).size).toBe(10);
});

test("brightnesses lie between 0 and 1, and every digit shows something", async () => {
  const { train } = await loadDigits({ train: 50, validation: 0 });
  expect(train.inputs.every((v) => v >= 0 && v <= 1)).toBe(true);
  for (let i = 0; i < 50; i++)
    expect(Math.max(...train.inputs.subarray(i * inputSize, (i + 1) * inputSize))).toBeGreaterThan(
      0.5,
    );
});

test("the same seed gives the same split, and no digit is on both sides", async () => {
  const [a, b, c] = [await loadDigits(), await loadDigits(), await loadDigits({ seed: 1 })];
  expect(a).toEqual(b);
  expect(a.validation.labels).not.toEqual(c.validation.labels);
  const pictures = ({ count, inputs }: typeof a.train) =>
    Array.from({ length: count }, (_, i) =>
      inputs.subarray(i * inputSize, (i + 1) * inputSize).join(),
    );
  const seen = new Set(pictures(a.train));
  expect(pictures(a.validation).filter((picture) => seen.has(picture))).toEqual([]);
});

test("asking for more digits than there are is an error", async () => {
  await expect(loadDigits({ train: 10_000 })).rejects.toThrow(
    "too few digits: 10000 (12000 asked)",
  );
});
