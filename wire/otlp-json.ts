import { ApiError, shown } from "./error.ts";
import { maxDepth, tooDeep, type OtelAttribute, type OtelSpan, type OtelValue } from "./otlp.ts";

/**
 * Returns the spans of OpenTelemetry's ExportTraceServiceRequest as OTLP has it in JSON: ids are hex digits, whole numbers
 * may be text. Throws where something is not what it must be; fields that are not known are skipped.
 */
export function spansFromOTLPJSON(request: unknown): OtelSpan[] {
  return listOf(request, "resourceSpans").flatMap((resourceSpans) => {
    const resource = attributesOf(fieldOf(resourceSpans, "resource") ?? {});
    return listOf(resourceSpans, "scopeSpans").flatMap((scope) =>
      listOf(scope, "spans").map((span) => spanOf(span, resource)),
    );
  });
}

function spanOf(span: unknown, resource: OtelAttribute[]): OtelSpan {
  const status = fieldOf(span, "status") ?? {};
  return {
    trace: idOf(span, "traceId", 32),
    id: idOf(span, "spanId", 16),
    parent: textOf(span, "parentSpanId") === "" ? null : idOf(span, "parentSpanId", 16),
    name: textOf(span, "name"),
    kind: Number(wholeOf(span, "kind")),
    start: wholeOf(span, "startTimeUnixNano"),
    end: wholeOf(span, "endTimeUnixNano"),
    attributes: attributesOf(span),
    events: listOf(span, "events").map((event) => ({
      time: wholeOf(event, "timeUnixNano"),
      name: textOf(event, "name"),
      attributes: attributesOf(event),
    })),
    links: listOf(span, "links").map((link) => ({
      trace: idOf(link, "traceId", 32),
      id: idOf(link, "spanId", 16),
      attributes: attributesOf(link),
    })),
    status: { code: Number(wholeOf(status, "code")), message: textOf(status, "message") },
    resource,
  };
}

const attributesOf = (holder: unknown, name = "attributes", depth = 0): OtelAttribute[] =>
  listOf(holder, name).map((entry) => ({
    key: textOf(entry, "key"),
    value: valueOf(fieldOf(entry, "value") ?? {}, depth),
  }));

function valueOf(value: unknown, depth: number): OtelValue {
  if (depth > maxDepth) throw tooDeep();
  const has = (name: string) => fieldOf(value, name) !== undefined;
  if (has("stringValue")) return { string_value: textOf(value, "stringValue") };
  if (has("boolValue")) return { bool_value: fieldOf(value, "boolValue") === true };
  if (has("intValue")) return { int_value: wholeOf(value, "intValue") };
  if (has("doubleValue")) return { double_value: doubleOf(fieldOf(value, "doubleValue")) };
  if (has("bytesValue")) return { bytes_value: textOf(value, "bytesValue") };
  if (has("arrayValue")) {
    const values = listOf(fieldOf(value, "arrayValue"), "values").map((item) =>
      valueOf(item, depth + 1),
    );
    return { array_value: values.length ? { values } : {} };
  }
  if (has("kvlistValue")) {
    const values = attributesOf(fieldOf(value, "kvlistValue"), "values", depth + 1);
    return { kvlist_value: values.length ? { values } : {} };
  }
  return {};
}

/** Returns a field of a message, by either of the spellings that protobuf's JSON has for its name. */
function fieldOf(holder: unknown, name: string): unknown {
  if (typeof holder !== "object" || holder === null || Array.isArray(holder))
    throw malformed(name, holder);
  const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const own = [name, snake].find((key) => Object.hasOwn(holder, key));
  return own === undefined ? undefined : ((holder as Record<string, unknown>)[own] ?? undefined);
}

function listOf(holder: unknown, name: string): unknown[] {
  const value = fieldOf(holder, name) ?? [];
  if (!Array.isArray(value)) throw malformed(name, value);
  return value;
}

function textOf(holder: unknown, name: string): string {
  const value = fieldOf(holder, name) ?? "";
  if (typeof value !== "string") throw malformed(name, value);
  return value.toWellFormed();
}

function idOf(holder: unknown, name: string, length: number): string {
  const id = textOf(holder, name).toLowerCase();
  if (id.length !== length || !/^[0-9a-f]*$/.test(id)) throw malformed(name, id);
  return id;
}

function wholeOf(holder: unknown, name: string): bigint {
  const value = fieldOf(holder, name) ?? 0;
  if (typeof value === "number" && Number.isInteger(value)) return BigInt(value);
  if (typeof value === "string" && /^-?\d{1,20}$/.test(value)) return BigInt(value);
  throw malformed(name, value);
}

function doubleOf(value: unknown): number | string {
  if (typeof value === "number") return value;
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return value;
  if (typeof value === "string" && value.trim() !== "" && !Number.isNaN(Number(value)))
    return Number(value);
  throw malformed("doubleValue", value);
}

const malformed = (name: string, value: unknown) =>
  new ApiError(
    "INVALID_PARAMETER_VALUE",
    `Invalid OpenTelemetry format: invalid ${name}: ${shown(value)}`,
  );
