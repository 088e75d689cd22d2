import * as arrow from "apache-arrow";
import * as flechette from "@uwdata/flechette";
import { expect, test } from "vitest";
import { pointsFromIPC } from "../../wire/point-ipc.ts";

// What apache-arrow and flechette write themselves; polars and pyarrow write the same in test/whole/python.test.ts.

const readBack = (bytes: Uint8Array) => {
  const { keys, key, step, time, value } = pointsFromIPC(bytes);
  return Array.from(key, (k, i) => [keys[k], step[i], time[i], value[i]]);
};
const byArrow = (columns: Record<string, arrow.Vector>) =>
  arrow.tableToIPC(new arrow.Table(columns), "stream");
const texts = arrow.vectorFromArray(["a", "ü", "a"], new arrow.Utf8());
const dictionary = arrow.vectorFromArray(
  ["a", "ü", "a"],
  new arrow.Dictionary(new arrow.Utf8(), new arrow.Int8()),
);
const expected = (values: number[]) => [
  ["a", 1, NaN, values[0]],
  ["ü", 2, NaN, values[1]],
  ["a", 3, NaN, values[2]],
];

test.for<[string, arrow.Vector, arrow.Vector, arrow.Vector, number[]]>([
  [
    "int64 and float64",
    texts,
    arrow.makeVector(BigInt64Array.of(1n, 2n, 3n)),
    arrow.makeVector(Float64Array.of(NaN, -0, Infinity)),
    [NaN, -0, Infinity],
  ],
  [
    "int32 and float32",
    texts,
    arrow.makeVector(Int32Array.of(1, 2, 3)),
    arrow.makeVector(Float32Array.of(NaN, -0, 0.5)),
    [NaN, -0, 0.5],
  ],
  [
    "uint8 and int64",
    dictionary,
    arrow.makeVector(Uint8Array.of(1, 2, 3)),
    arrow.makeVector(BigInt64Array.of(4n, 5n, -6n)),
    [4, 5, -6],
  ],
  [
    "float32 and int16, keys in a dictionary",
    dictionary,
    arrow.makeVector(Float32Array.of(1, 2, 3)),
    arrow.makeVector(Int16Array.of(4, 5, -6)),
    [4, 5, -6],
  ],
])(
  "apache-arrow's steps and values as %s are taken, with times left open",
  ([, key, step, value, values]) => {
    expect(readBack(byArrow({ key, step, value }))).toEqual(expected(values));
  },
);

test("timestamps of any unit, with and without a zone, are milliseconds; a null is left open", () => {
  const at = 1_795_432_172_440;
  for (const type of [
    new arrow.TimestampMillisecond(),
    new arrow.TimestampMillisecond("UTC"),
    new arrow.TimestampMicrosecond(),
    new arrow.TimestampNanosecond(),
  ])
    expect(
      readBack(
        byArrow({
          key: arrow.vectorFromArray(["a", "a"], new arrow.Utf8()),
          step: arrow.makeVector(Int32Array.of(0, 1)),
          time: arrow.vectorFromArray([at, null], type),
          value: arrow.makeVector(Float64Array.of(1, 2)),
        }),
      ),
    ).toEqual([
      ["a", 0, at, 1],
      ["a", 1, NaN, 2],
    ]);
});

test("a stream of several batches is read whole", () => {
  const batch = (from: number) =>
    new arrow.Table({
      key: arrow.vectorFromArray(["a"], new arrow.Utf8()),
      step: arrow.makeVector(Int32Array.of(from)),
      value: arrow.makeVector(Float64Array.of(from)),
    });
  const bytes = arrow.tableToIPC(batch(1).concat(batch(2), batch(3)), "stream");
  expect(readBack(bytes)).toEqual([1, 2, 3].map((n) => ["a", n, NaN, n]));
});

test("steps beyond 2^53 are refused by name, not rounded", () => {
  for (const step of [2n ** 53n + 2n, 2n ** 60n, -(2n ** 62n)])
    expect(() =>
      pointsFromIPC(
        flechette.tableToIPC(
          flechette.tableFromArrays(
            { key: ["a"], step: [step], value: [1] },
            { types: { step: flechette.int64() } },
          ),
          { format: "stream" },
        )!,
      ),
    ).toThrow(`invalid step at 0: ${Number(step)}`);
});
