import {
  tableFromArrays,
  tableToIPC,
  int64,
  float32,
  utf8,
  timestamp,
  dictionary,
} from "@uwdata/flechette";
import { expect, test } from "vitest";
import { pointsFromIPC } from "../../wire/point-ipc.ts";
import { concatPoints, fillTimes, pointsFromJSON, sortPoints } from "../../wire/point.ts";

const ipc = (columns: Record<string, unknown[]>, types: Record<string, any> = {}) =>
  tableToIPC(tableFromArrays(columns, { types }), { format: "stream" })!;

test.for([
  ["int64 steps and float32 values", { step: int64(), value: float32(), key: utf8() }],
  ["keys in a dictionary", { key: dictionary(utf8()) }],
] as const)("Arrow by others is taken: %s", ([, types]) => {
  const points = pointsFromIPC(
    ipc(
      {
        key: ["a", "b", "a"],
        step: [1, 2, 3].map((n) => ("step" in types ? BigInt(n) : n)),
        value: [0.5, 1.5, 2.5],
      },
      types,
    ),
  );
  expect([points.keys, [...points.key], [...points.step], [...points.value]]).toEqual([
    ["a", "b"],
    [0, 1, 0],
    [1, 2, 3],
    [0.5, 1.5, 2.5],
  ]);
  expect(points.time[0]).toBeNaN();
});

test("steps beyond 2^53 are refused, whatever type they come in", () => {
  const bytes = ipc({ key: ["a"], step: [2n ** 53n + 2n], value: [1] }, { step: int64() });
  expect(() => pointsFromIPC(bytes)).toThrow("invalid step at 0: 9007199254740994");
});

test("Arrow timestamps are milliseconds", () => {
  expect(
    pointsFromIPC(
      ipc(
        { key: ["a"], step: [0], value: [1], time: [1_795_432_172_440] },
        { time: timestamp(1, null) },
      ),
    ).time[0],
  ).toBe(1_795_432_172_440);
});

test.for<[string, Record<string, unknown[]>, string]>([
  ["a missing column", { key: ["a"], value: [1] }, "missing column: step (found key, value)"],
  ["another column", { key: ["a"], step: [0], value: [1], epoch: [2] }, "unknown column: epoch"],
  ["keys that are numbers", { key: [1], step: [0], value: [1] }, "invalid key at 0: 1"],
  ["values that are texts", { key: ["a"], step: [0], value: ["x"] }, "invalid value at 0: x"],
  ["a null value", { key: ["a", "a"], step: [0, 1], value: [1, null] }, "invalid value at 1: null"],
])("Arrow with %s is refused by name", ([, columns, message]) => {
  expect(() => pointsFromIPC(ipc(columns))).toThrow(message);
});

test("times left open are filled, fractions of a millisecond dropped", () => {
  const points = pointsFromJSON([
    { key: "a", step: 0, value: 1 },
    { key: "a", step: 1, value: 1, time: 5.9 },
  ]);
  expect([...fillTimes(points, 77).time]).toEqual([77, 5]);
});

test("lots join under one list of keys, and sort by key, step, time and value, whatever order they came in", () => {
  const one = pointsFromJSON([
    { key: "b", step: 1, time: 9, value: 1 },
    { key: "a", step: 2, time: 9, value: "NaN" },
  ]);
  const two = pointsFromJSON([
    { key: "c", step: 0, time: 9, value: 3 },
    { key: "a", step: 2, time: 9, value: 4 },
    { key: "a", step: 2, time: 8, value: 7 },
    { key: "a", step: 2, time: 9, value: -0 },
    { key: "a", step: 2, time: 9, value: 0 },
    { key: "b", step: 0, time: 9, value: 5 },
  ]);
  for (const lots of [
    [one, two],
    [two, one],
  ]) {
    const { keys, key, value } = sortPoints(concatPoints(lots));
    expect(Array.from(key, (k, i) => [keys[k], value[i]])).toEqual([
      ["a", 7],
      ["a", -0],
      ["a", 0],
      ["a", 4],
      ["a", NaN],
      ["b", 5],
      ["b", 1],
      ["c", 3],
    ]);
  }
});
