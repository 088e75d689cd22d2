import * as fc from "fast-check";
import { expect, test } from "vitest";
import { packNumbers, unpackNumbers } from "../../worker/numbers.ts";

test("any numbers come back as they were", () => {
  const number = fc.oneof(
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double(),
    fc.constantFrom(0, -0, NaN, Infinity, 2 ** 51, 2 ** 53 - 1, 1 - 2 ** 53, 0.1),
  );
  fc.assert(
    fc.property(fc.array(number), (numbers) => {
      expect(unpackNumbers(packNumbers(numbers))).toEqual(numbers);
    }),
    { numRuns: 500 },
  );
});

test("a column that rises by one takes a byte a number", () => {
  const text = packNumbers(Array.from({ length: 3000 }, (_, i) => i));
  expect(text.length).toBeLessThanOrEqual(4004);
});
