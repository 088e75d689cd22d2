import fc from "fast-check";
import { expect, test } from "vitest";
import {
  jsonFromSpan,
  plainValue,
  spansFromOTLP,
  type OtelAttribute,
  type OtelSpan,
  type OtelValue,
} from "../../wire/otlp.ts";
import { spansFromOTLPJSON } from "../../wire/otlp-json.ts";
import { otlpFromSpans } from "./otlp-encode.ts";

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: length, maxLength: length });
const text = fc.string({ unit: "grapheme", maxLength: 12 });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const time = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

const value: fc.Arbitrary<OtelValue> = fc.letrec<{ value: OtelValue; attribute: OtelAttribute }>(
  (tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.record({ string_value: text }),
      fc.record({ bool_value: fc.boolean() }),
      fc.record({ int_value: int64 }),
      fc.record({
        double_value: fc
          .double()
          .map((number) => (Number.isFinite(number) ? number : String(number))),
      }),
      fc.record({
        bytes_value: fc
          .uint8Array({ maxLength: 9 })
          .map((bytes) => btoa(String.fromCharCode(...bytes))),
      }),
      fc.constant({}),
      fc
        .array(tie("value"), { maxLength: 3 })
        .map((values) => ({ array_value: values.length ? { values } : {} })),
      fc
        .array(tie("attribute"), { maxLength: 3 })
        .map((values) => ({ kvlist_value: values.length ? { values } : {} })),
    ),
    attribute: fc.record({ key: text, value: tie("value") }),
  }),
).value;
const attributes = fc.array(fc.record({ key: text, value }), { maxLength: 4 });

const span: fc.Arbitrary<OtelSpan> = fc.record({
  trace: hex(32),
  id: hex(16),
  parent: fc.option(hex(16)),
  name: text,
  kind: fc.integer({ min: 0, max: 5 }),
  start: time,
  end: time,
  attributes,
  events: fc.array(fc.record({ time, name: text, attributes }), { maxLength: 2 }),
  links: fc.array(fc.record({ trace: hex(32), id: hex(16), attributes }), { maxLength: 2 }),
  status: fc.record({ code: fc.integer({ min: 0, max: 2 }), message: text }),
  resource: fc.constant([{ key: "service.name", value: { string_value: "test" } }]),
});

test("spans are read as they were sent", () => {
  fc.assert(
    fc.property(fc.array(span, { maxLength: 4 }), (spans) => {
      expect(spansFromOTLP(otlpFromSpans(spans))).toEqual(spans);
    }),
  );
});

/** OTLP's JSON of spans, whole numbers as text. */
const json = (spans: OtelSpan[]) => ({
  resourceSpans: spans.map((span) => ({
    resource: { attributes: span.resource.map(attributeJSON) },
    scopeSpans: [
      {
        spans: [
          {
            traceId: span.trace,
            spanId: span.id.toUpperCase(),
            ...(span.parent === null ? {} : { parentSpanId: span.parent }),
            name: span.name,
            kind: span.kind,
            startTimeUnixNano: String(span.start),
            endTimeUnixNano: String(span.end),
            attributes: span.attributes.map(attributeJSON),
            events: span.events.map((event) => ({
              timeUnixNano: String(event.time),
              name: event.name,
              attributes: event.attributes.map(attributeJSON),
            })),
            links: span.links.map((link) => ({
              traceId: link.trace,
              spanId: link.id,
              attributes: link.attributes.map(attributeJSON),
            })),
            status: span.status,
            laterFields: "are skipped",
          },
        ],
      },
    ],
  })),
});
const attributeJSON = ({ key, value }: OtelAttribute): object => ({ key, value: valueJSON(value) });
function valueJSON(value: OtelValue): object {
  if ("array_value" in value)
    return { arrayValue: { values: (value.array_value.values ?? []).map(valueJSON) } };
  if ("kvlist_value" in value)
    return { kvlistValue: { values: (value.kvlist_value.values ?? []).map(attributeJSON) } };
  const [[name, plain] = ["none", null]] = Object.entries(value);
  return {
    [name.replace("_v", "V")]: typeof plain === "bigint" ? String(plain) : plain,
  };
}

test("spans are read from JSON as they were sent", () => {
  fc.assert(
    fc.property(fc.array(span, { maxLength: 4 }), (spans) => {
      const sent = JSON.parse(JSON.stringify(json(spans))) as unknown;
      // JSON has no −0.
      const wanted = JSON.parse(text0(spans)) as unknown;
      expect(JSON.parse(text0(spansFromOTLPJSON(sent)))).toEqual(wanted);
    }),
  );
});
const text0 = (spans: OtelSpan[]) =>
  JSON.stringify(spans, (_, v: unknown) => (typeof v === "bigint" ? String(v) : v));

test.each([
  [[], "resourceSpans: []"],
  [{ resourceSpans: {} }, "resourceSpans: {}"],
  [{ resourceSpans: [1] }, "resource: 1"],
  [{ resourceSpans: [{ scopeSpans: [{ spans: [{}] }] }] }, "traceId: "],
  [{ resourceSpans: [{ scopeSpans: [{ spans: [{ traceId: "x" }] }] }] }, "traceId: x"],
])("%j is refused as spans in JSON", (sent, message) => {
  expect(() => spansFromOTLPJSON(sent)).toThrow(`Invalid OpenTelemetry format: invalid ${message}`);
});

test("as JSON a span keeps every digit of its whole numbers", () => {
  fc.assert(
    fc.property(span, (sent) => {
      const json = jsonFromSpan(sent);
      expect(() => JSON.parse(json)).not.toThrow();
      expect(json).toContain(`"start_time_unix_nano":${sent.start}`);
      for (const { value } of sent.attributes)
        if ("int_value" in value) expect(json).toContain(`{"int_value":${value.int_value}}`);
    }),
  );
});

test("bytes that are no spans are refused, and nothing else happens", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        spansFromOTLP(bytes);
      } catch (error) {
        expect(String(error)).toMatch(/Invalid OpenTelemetry format/);
      }
    }),
  );
  const sent = otlpFromSpans([
    { ...fc.sample(span, { numRuns: 1, seed: 1 })[0]!, name: "x".repeat(300) },
  ]);
  for (let length = 1; length < sent.length; length++)
    expect(() => spansFromOTLP(sent.subarray(0, length))).toThrow(/Invalid OpenTelemetry format/);
});

test("values nested deeper than protobuf's own parsers go are refused", () => {
  let deep: OtelValue = { int_value: 1n };
  for (let i = 0; i < 200; i++) deep = { array_value: { values: [deep] } };
  const sent = {
    ...fc.sample(span, { numRuns: 1, seed: 1 })[0]!,
    attributes: [{ key: "k", value: deep }],
  };
  expect(() => spansFromOTLP(otlpFromSpans([sent]))).toThrow(/nested deeper than 100/);
  expect(() => spansFromOTLPJSON(json([sent]))).toThrow(/nested deeper than 100/);
});

test("plain values are what programs meant", () => {
  const entry = (key: string, value: OtelValue): OtelAttribute => ({ key, value });
  expect(
    plainValue({
      kvlist_value: {
        values: [
          entry("a", { int_value: -5n }),
          entry("b", {
            array_value: { values: [{ bool_value: true }, {}, { double_value: 0.5 }] },
          }),
          entry("c", { kvlist_value: {} }),
          entry("d", { string_value: "é" }),
        ],
      },
    }),
  ).toEqual({ a: -5, b: [true, null, 0.5], c: {}, d: "é" });
});
