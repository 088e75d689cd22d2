import { plainValue, type OtelAttribute } from "../../wire/otlp.ts";
import type { Tags } from "../../wire/config.ts";
import type { FoundSpan } from "./found.ts";

/** Attributes by name or, as protobuf has them in JSON, a list. */
type Attributes = Record<string, unknown> | OtelAttribute[];

interface Event {
  name: string;
  time_unix_nano?: string | number;
  timestamp?: string | number;
  attributes?: Attributes;
}

/** A span as MLflow writes it since version 3, after OpenTelemetry's protobuf. */
export interface Span {
  span_id: string;
  parent_span_id?: string | null;
  name: string;
  start_time_unix_nano: string;
  end_time_unix_nano: string | null;
  status?: { code?: string; message?: string };
  attributes?: Attributes;
  events?: Event[];
  links?: { trace_id: string; span_id: string; attributes?: Attributes }[];
}

/** A span as MLflow wrote it up to version 2. */
interface OldSpan {
  name: string;
  context: { span_id: string };
  parent_id: string | null;
  start_time: string;
  end_time: string | null;
  status_code?: string;
  status_message?: string;
  attributes?: Attributes;
  events?: Event[];
}

/** Returns the span that a piece of JSON describes, in MLflow's form of either age. */
export function spanFromJSON(text: string): FoundSpan {
  return spanOf(parseJSON(text) as Span | OldSpan);
}

/** Returns the spans of a traces.json. */
export function spansFromJSON(text: string): FoundSpan[] {
  const { spans } = parseJSON(text) as { spans?: (Span | OldSpan)[] };
  return (spans ?? []).map(spanOf);
}

/** Returns the span that an object describes, in MLflow's form of either age. */
export function spanOf(span: Span | OldSpan): FoundSpan {
  const isOld = "context" in span;
  return {
    id: isOld ? span.context.span_id.replace(/^0x/, "") : hexOf(span.span_id),
    parent: isOld
      ? (span.parent_id?.replace(/^0x/, "") ?? null)
      : span.parent_span_id
        ? hexOf(span.parent_span_id)
        : null,
    name: span.name,
    started: BigInt(isOld ? span.start_time : span.start_time_unix_nano),
    ended: BigInt((isOld ? span.end_time : span.end_time_unix_nano) ?? 0),
    status: ((isOld ? span.status_code : span.status?.code) ?? "UNSET").replace("STATUS_CODE_", ""),
    message: (isOld ? span.status_message : span.status?.message) ?? "",
    attributes: attributesOf(span.attributes, (text) => text),
    events: (span.events ?? []).map((event) => ({
      name: event.name,
      time: BigInt(event.time_unix_nano ?? event.timestamp ?? 0),
      attributes: attributesOf(event.attributes, JSON.stringify),
    })),
    links: (isOld ? [] : (span.links ?? [])).map((link) => ({
      trace: hexOf(link.trace_id),
      span: hexOf(link.span_id),
      attributes: attributesOf(link.attributes, JSON.stringify),
    })),
  };
}

/** Attributes as JSON by name; what those of a span are in MLflow's own form already. */
function attributesOf(attributes: Attributes = {}, ofText: (text: string) => string): Tags {
  if (Array.isArray(attributes))
    return Object.fromEntries(
      attributes.map(({ key, value }) => [key, JSON.stringify(plainValue(value))]),
    );
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      typeof value === "string" ? ofText(value) : JSON.stringify(value),
    ]),
  );
}

/** Ids are base64 of their bytes in JSON of protobuf, or hex as they are shown. */
function hexOf(id: string): string {
  if (/^(0x)?([0-9a-f]{16}|[0-9a-f]{32})$/.test(id)) return id.replace("0x", "");
  return Array.from(atob(id), (char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

/** Integers that a number cannot hold, such as times in ns, become their text. Python's bare NaN and Infinity become null. */
export function parseJSON(text: string): unknown {
  const reviver = (_: string, value: unknown, { source }: { source?: string } = {}) =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)
      ? (source ?? value)
      : value;
  try {
    return JSON.parse(text, reviver);
  } catch {
    const bare = /"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:Infinity|NaN)/g;
    const plain = text.replace(bare, (token) => (token.startsWith('"') ? token : "null"));
    return JSON.parse(plain, reviver);
  }
}
