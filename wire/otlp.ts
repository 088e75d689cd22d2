import { ApiError } from "./error.ts";
import type { Json } from "./trace.ts";

/** A value as OpenTelemetry's JSON has it, in protobuf's own names; whole numbers are bigints. */
export type OtelValue =
  | { string_value: string }
  | { bool_value: boolean }
  | { int_value: bigint }
  | { double_value: number | string }
  | { array_value: { values?: OtelValue[] } }
  | { kvlist_value: { values?: OtelAttribute[] } }
  | { bytes_value: string }
  | Record<string, never>;

export interface OtelAttribute {
  key: string;
  value: OtelValue;
}

/** One step of a program, as OpenTelemetry's exporters send it. */
export interface OtelSpan {
  /** ids in lower-case hex digits: 32 of the trace, 16 of the span and of the one it is part of */
  trace: string;
  id: string;
  parent: string | null;
  name: string;
  /** SpanKind's number; 0 where it is not told */
  kind: number;
  /** ns since 1970; 0 where it is not told */
  start: bigint;
  end: bigint;
  attributes: OtelAttribute[];
  events: { time: bigint; name: string; attributes: OtelAttribute[] }[];
  links: { trace: string; id: string; attributes: OtelAttribute[] }[];
  /** StatusCode's number: 0 unset, 1 ok, 2 error */
  status: { code: number; message: string };
  /** what is said of the program that sent it */
  resource: OtelAttribute[];
}

/**
 * Decodes OpenTelemetry's ExportTraceServiceRequest from protobuf. Throws where the bytes are none, or a span lacks an id.
 * Fields that are not known are skipped, as protobuf demands.
 */
export function spansFromOTLP(bytes: Uint8Array): OtelSpan[] {
  const spans: OtelSpan[] = [];
  for (const { field, bytes: resourceSpans } of fieldsOf(bytes)) {
    if (field !== 1) continue;
    let resource: OtelAttribute[] = [];
    const scopes: Uint8Array[] = [];
    for (const part of fieldsOf(resourceSpans)) {
      if (part.field === 1) resource = attributesOf(part.bytes, 1);
      if (part.field === 2) scopes.push(part.bytes);
    }
    for (const scope of scopes)
      for (const part of fieldsOf(scope))
        if (part.field === 2) spans.push(spanOf(part.bytes, resource));
  }
  return spans;
}

function spanOf(bytes: Uint8Array, resource: OtelAttribute[]): OtelSpan {
  const span: OtelSpan = {
    trace: "",
    id: "",
    parent: null,
    name: "",
    kind: 0,
    start: 0n,
    end: 0n,
    attributes: attributesOf(bytes, 9),
    events: [],
    links: [],
    status: { code: 0, message: "" },
    resource,
  };
  for (const { field, bytes: value, number } of fieldsOf(bytes)) {
    if (field === 1) span.trace = hex(value);
    else if (field === 2) span.id = hex(value);
    else if (field === 4) span.parent = hex(value) || null;
    else if (field === 5) span.name = text(value);
    else if (field === 6) span.kind = Number(number);
    else if (field === 7) span.start = number;
    else if (field === 8) span.end = number;
    else if (field === 11) span.events.push(eventOf(value));
    else if (field === 13) span.links.push(linkOf(value));
    else if (field === 15) span.status = statusOf(value);
  }
  if (!/^[0-9a-f]{32}$/.test(span.trace))
    throw malformed(`a trace's id has 16 bytes: ${span.trace}`);
  if (!/^[0-9a-f]{16}$/.test(span.id)) throw malformed(`a span's id has 8 bytes: ${span.id}`);
  return span;
}

function eventOf(bytes: Uint8Array): OtelSpan["events"][number] {
  const event = { time: 0n, name: "", attributes: attributesOf(bytes, 3) };
  for (const { field, bytes: value, number } of fieldsOf(bytes)) {
    if (field === 1) event.time = number;
    if (field === 2) event.name = text(value);
  }
  return event;
}

function linkOf(bytes: Uint8Array): OtelSpan["links"][number] {
  const link = { trace: "", id: "", attributes: attributesOf(bytes, 4) };
  for (const { field, bytes: value } of fieldsOf(bytes)) {
    if (field === 1) link.trace = hex(value);
    if (field === 2) link.id = hex(value);
  }
  return link;
}

function statusOf(bytes: Uint8Array): OtelSpan["status"] {
  const status = { code: 0, message: "" };
  for (const { field, bytes: value, number } of fieldsOf(bytes)) {
    if (field === 2) status.message = text(value);
    if (field === 3) status.code = Number(number);
  }
  return status;
}

/** Values may hold values; protobuf's own parsers go as deep. */
export const maxDepth = 100;

const attributesOf = (bytes: Uint8Array, wanted: number, depth = 0): OtelAttribute[] =>
  Array.from(fieldsOf(bytes))
    .filter(({ field }) => field === wanted)
    .map(({ bytes: entry }) => attributeOf(entry, depth));

function attributeOf(bytes: Uint8Array, depth: number): OtelAttribute {
  const attribute: OtelAttribute = { key: "", value: {} };
  for (const { field, bytes: part } of fieldsOf(bytes)) {
    if (field === 1) attribute.key = text(part);
    if (field === 2) attribute.value = valueOf(part, depth);
  }
  return attribute;
}

function valueOf(bytes: Uint8Array, depth: number): OtelValue {
  if (depth > maxDepth) throw tooDeep();
  let value: OtelValue = {};
  for (const { field, bytes: part, number } of fieldsOf(bytes)) {
    if (field === 1) value = { string_value: text(part) };
    else if (field === 2) value = { bool_value: number !== 0n };
    else if (field === 3) value = { int_value: BigInt.asIntN(64, number) };
    else if (field === 4) value = { double_value: doubleOf(number) };
    else if (field === 5) {
      const values = Array.from(fieldsOf(part))
        .filter(({ field }) => field === 1)
        .map(({ bytes: item }) => valueOf(item, depth + 1));
      value = { array_value: values.length ? { values } : {} };
    } else if (field === 6) {
      const values = attributesOf(part, 1, depth + 1);
      value = { kvlist_value: values.length ? { values } : {} };
    } else if (field === 7) value = { bytes_value: base64(part) };
  }
  return value;
}

/** The float64 of 64 bits; protobuf's JSON has words for those that JSON lacks. */
function doubleOf(bits: bigint): number | string {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits);
  const value = view.getFloat64(0);
  return Number.isFinite(value) ? value : String(value);
}

interface Field {
  field: number;
  /** what a length-delimited field holds; empty for the others */
  bytes: Uint8Array;
  /** what a varint or fixed field holds, as an unsigned number; 0 for the others */
  number: bigint;
}

const none = new Uint8Array(0);

/** Reads the fields of a protobuf message, in their order. */
function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw malformed("it ends in the middle of a number");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw malformed("a number is longer than 10 bytes");
  };
  const skip = (length: number): number => {
    const start = at;
    at += length;
    if (at > bytes.length) throw malformed("it ends in the middle of a field");
    return start;
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = Number(tag >> 3n);
    const type = Number(tag & 7n);
    if (field === 0) throw malformed("a field has the number 0");
    if (type === 0) yield { field, bytes: none, number: varint() };
    else if (type === 1) yield { field, bytes: none, number: view.getBigUint64(skip(8), true) };
    else if (type === 2) {
      const length = Number(varint());
      const start = skip(length);
      yield { field, bytes: bytes.subarray(start, start + length), number: 0n };
    } else if (type === 5)
      yield { field, bytes: none, number: BigInt(view.getUint32(skip(4), true)) };
    else throw malformed(`a field is of type ${type}`);
  }
}

/** The error of values that hold values that hold values, and so on. */
export const tooDeep = () => malformed(`values are nested deeper than ${maxDepth}`);

const malformed = (why: string) =>
  new ApiError("INVALID_PARAMETER_VALUE", `Invalid OpenTelemetry format: ${why}`);

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

const base64 = (bytes: Uint8Array): string =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

const base64OfHex = (digits: string): string =>
  base64(Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16)));

const statusCodes = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/** Returns a span as protobuf's JSON has it, what is not set left out; whole numbers keep all their digits. */
export function jsonFromSpan(span: OtelSpan): string {
  const { name, kind, attributes, events, links, status } = span;
  const value = {
    trace_id: base64OfHex(span.trace),
    span_id: base64OfHex(span.id),
    parent_span_id: span.parent === null ? undefined : base64OfHex(span.parent),
    name: name || undefined,
    kind: kind || undefined,
    start_time_unix_nano: span.start,
    end_time_unix_nano: span.end || undefined,
    attributes: some(attributes),
    events: some(
      events.map((event) => ({
        time_unix_nano: event.time,
        name: event.name || undefined,
        attributes: some(event.attributes),
      })),
    ),
    links: some(
      links.map((link) => ({
        trace_id: base64OfHex(link.trace),
        span_id: base64OfHex(link.id),
        attributes: some(link.attributes),
      })),
    ),
    status: {
      message: status.message || undefined,
      code: status.code ? (statusCodes[status.code] ?? status.code) : undefined,
    },
  };
  return JSON.stringify(value, (_, v: unknown) =>
    typeof v === "bigint" ? JSON.rawJSON(String(v)) : v,
  );
}

const some = <T>(list: T[]): T[] | undefined => (list.length ? list : undefined);

/** Returns a value as plain JSON; whole numbers beyond 2^53 lose their last digits. */
export function plainValue(value: OtelValue): Json {
  if ("kvlist_value" in value)
    return Object.fromEntries(
      (value.kvlist_value?.values ?? []).map((entry) => [entry.key, plainValue(entry.value)]),
    );
  if ("array_value" in value) return (value.array_value?.values ?? []).map(plainValue);
  const [plain = null] = Object.values(value) as (string | boolean | number | bigint)[];
  return typeof plain === "bigint" ? Number(plain) : plain;
}
