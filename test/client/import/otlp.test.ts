import * as fc from "fast-check";
import { expect, test } from "vitest";
import { valueFromJSON } from "../../../client/import/otlp.ts";
import { toJSON } from "../../../wire/json.ts";
import { spansFromOTLPJSON } from "../../../wire/otlp-json.ts";
import { plainValue } from "../../../wire/otlp.ts";

/** What a server makes of a value that is sent as an attribute. */
function kept(text: string): unknown {
  const ids = { traceId: "a".repeat(32), spanId: "b".repeat(16) };
  const span = { ...ids, attributes: [{ key: "a", value: valueFromJSON(text) }] };
  const sent = toJSON({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] });
  const [found] = spansFromOTLPJSON(JSON.parse(sent));
  return plainValue(found!.attributes[0]!.value);
}

test("any JSON comes back as it was", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(kept(text)).toEqual(JSON.parse(text));
    }),
  );
});

test("Python's NaN and Infinity are known, and what is no JSON stands for itself", () => {
  expect(kept('{"a": [NaN, -Infinity, Infinity], "NaN": "NaN"}')).toEqual({
    a: ["NaN", "-Infinity", "Infinity"],
    NaN: "NaN",
  });
  expect(kept("plain text")).toBe("plain text");
  expect(valueFromJSON("[9007199254740993, 1.0, 1e99]")).toEqual({
    arrayValue: {
      values: [{ intValue: "9007199254740993" }, { doubleValue: 1 }, { doubleValue: 1e99 }],
    },
  });
});
