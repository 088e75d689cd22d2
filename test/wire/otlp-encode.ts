import type { OtelAttribute, OtelSpan, OtelValue } from "../../wire/otlp.ts";

/** Encodes spans as OpenTelemetry's ExportTraceServiceRequest in protobuf; of all the resource is that of the first. */
export function otlpFromSpans(spans: OtelSpan[]): Uint8Array<ArrayBuffer> {
  if (!spans.length) return new Uint8Array(0);
  const scope = message(spans.map((span) => field(2, spanBytes(span))));
  const resource = message(attributeFields(1, spans[0]!.resource));
  return new Uint8Array(field(1, message([field(1, resource), field(2, scope)])));
}

const spanBytes = (span: OtelSpan): number[] =>
  message([
    field(1, bytesOfHex(span.trace)),
    field(2, bytesOfHex(span.id)),
    ...(span.parent === null ? [] : [field(4, bytesOfHex(span.parent))]),
    field(5, utf8(span.name)),
    [6 << 3, ...varint(BigInt(span.kind))],
    fixed64(7, span.start),
    fixed64(8, span.end),
    ...attributeFields(9, span.attributes),
    ...span.events.map((event) =>
      field(
        11,
        message([
          fixed64(1, event.time),
          field(2, utf8(event.name)),
          ...attributeFields(3, event.attributes),
        ]),
      ),
    ),
    ...span.links.map((link) =>
      field(
        13,
        message([
          field(1, bytesOfHex(link.trace)),
          field(2, bytesOfHex(link.id)),
          ...attributeFields(4, link.attributes),
        ]),
      ),
    ),
    field(
      15,
      message([field(2, utf8(span.status.message)), [3 << 3, ...varint(BigInt(span.status.code))]]),
    ),
    // A field that is not known, as later versions of the format may have.
    [...varint((200n << 3n) | 5n), 1, 2, 3, 4],
  ]);

const attributeFields = (number: number, attributes: OtelAttribute[]): number[][] =>
  attributes.map(({ key, value }) =>
    field(number, message([field(1, utf8(key)), field(2, valueBytes(value))])),
  );

function valueBytes(value: OtelValue): number[] {
  if ("string_value" in value) return field(1, utf8(value.string_value));
  if ("bool_value" in value) return [2 << 3, value.bool_value ? 1 : 0];
  if ("int_value" in value) return [3 << 3, ...varint(BigInt.asUintN(64, value.int_value))];
  if ("double_value" in value) {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, Number(value.double_value));
    return fixed64(4, view.getBigUint64(0));
  }
  if ("array_value" in value)
    return field(
      5,
      message((value.array_value.values ?? []).map((item) => field(1, valueBytes(item)))),
    );
  if ("kvlist_value" in value)
    return field(6, message(attributeFields(1, value.kvlist_value.values ?? [])));
  if ("bytes_value" in value)
    return field(
      7,
      Array.from(atob(value.bytes_value), (char) => char.charCodeAt(0)),
    );
  return [];
}

const message = (fields: number[][]): number[] => fields.flat();
const field = (number: number, bytes: number[]): number[] => [
  ...varint(BigInt((number << 3) | 2)),
  ...varint(BigInt(bytes.length)),
  ...bytes,
];
const fixed64 = (number: number, value: bigint): number[] => {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value, true);
  return [...varint(BigInt((number << 3) | 1)), ...new Uint8Array(view.buffer)];
};

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    if (rest < 0x80n) return [...bytes, Number(rest)];
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}

const utf8 = (text: string): number[] => Array.from(new TextEncoder().encode(text));
const bytesOfHex = (digits: string): number[] =>
  Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
