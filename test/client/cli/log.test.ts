import { expect, test } from "vitest";
import { logLine } from "../../../client/cli/log.ts";
import type { LogOptions, Values } from "../../../client/run.ts";

/** What a line says to a run. */
function said(line: string) {
  const calls: unknown[] = [];
  logLine(
    {
      log: (values: Values, options?: LogOptions) => calls.push({ values, ...options }),
      print: (text: string) => calls.push(text),
    },
    line,
  );
  return calls;
}

test("a line is values, with step and time taken out", () => {
  expect(said('{"loss": 0.5, "step": 3, "time": 1795432172440}')).toEqual([
    { values: { loss: 0.5 }, step: 3, time: 1795432172440 },
  ]);
});

test("a time may be ISO 8601; one that is none is left to the clock", () => {
  const time = "2026-11-23T15:00:00.5Z";
  expect(said(`{"a": 1, "time": "${time}"}`)).toEqual([
    { values: { a: 1 }, time: Date.parse(time) },
  ]);
  expect(said('{"a": 1, "time": "soon"}')).toEqual([{ values: { a: 1 } }]);
  expect(said('{"a": 1, "time": null}')).toEqual([{ values: { a: 1 } }]);
});

test("a step of null, as Python's None, is no step; one in quotes is one", () => {
  expect(said('{"a": 1, "step": null}')).toEqual([{ values: { a: 1 } }]);
  expect(said('{"a": 1, "step": "7"}')).toEqual([{ values: { a: 1 }, step: 7 }]);
});

test("NaN and infinities may stand bare, as Python writes them, or in quotes", () => {
  expect(said('{"a": NaN, "b": [Infinity,-Infinity], "c":{"d":-Infinity}, "e": "NaN"}')).toEqual([
    { values: { a: "NaN", b: ["Infinity", "-Infinity"], c: { d: "-Infinity" }, e: "NaN" } },
  ]);
});

test("NaN inside a text or a key is text", () => {
  expect(said('{"a": NaN, "why": "x: NaN, \\"y\\": Infinity}", "NaN": 1}')).toEqual([
    { values: { a: "NaN", why: 'x: NaN, "y": Infinity}', NaN: 1 } },
  ]);
});

test("nested values stay nested for the run to flatten", () => {
  expect(said('{"val": {"acc": 0.9}}')).toEqual([{ values: { val: { acc: 0.9 } } }]);
});

test.for(["[1, 2]", "7", '"text"', "null", "epoch 1 done", "{broken", "{'a': 1}", "  indented"])(
  "what is no object goes to the console as it is: %s",
  (line) => {
    expect(said(line)).toEqual([line]);
  },
);

test("a blank line says nothing", () => {
  expect(["", "  \t"].flatMap(said)).toEqual([]);
});

test("unicode, a byte order mark and a line of many megabytes are read", () => {
  expect(said('\ufeff {"потеря 📉": 1}')).toEqual([{ values: { "потеря 📉": 1 } }]);
  const text = '\\\\ \\" NaN '.repeat(1_000_000);
  expect(said(`{"a": NaN, "b": "${text}"}`)).toEqual([
    { values: { a: "NaN", b: JSON.parse(`"${text}"`) } },
  ]);
  expect(said("x".repeat(10_000_000))).toHaveLength(1);
});
