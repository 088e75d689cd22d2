import type { FoundSpan } from "./found.ts";

/** A span as MLflow writes it since version 3, after OpenTelemetry's protobuf. */
interface Span {
  span_id: string;
  parent_span_id?: string | null;
  name: string;
  start_time_unix_nano: string;
  end_time_unix_nano: string | null;
  status?: { code?: string };
  attributes?: Record<string, unknown>;
  events?: { name: string }[];
}

/** A span as MLflow wrote it up to version 2. */
interface OldSpan {
  name: string;
  context: { span_id: string };
  parent_id: string | null;
  start_time: string;
  end_time: string | null;
  status_code?: string;
  attributes?: Record<string, unknown>;
  events?: { name: string }[];
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

function spanOf(span: Span | OldSpan): FoundSpan {
  const isOld = "context" in span;
  return {
    id: isOld ? span.context.span_id : hexOf(span.span_id),
    parent: isOld ? span.parent_id : span.parent_span_id ? hexOf(span.parent_span_id) : null,
    name: span.name,
    started: BigInt(isOld ? span.start_time : span.start_time_unix_nano),
    ended: BigInt((isOld ? span.end_time : span.end_time_unix_nano) ?? 0),
    status: ((isOld ? span.status_code : span.status?.code) ?? "UNSET").replace("STATUS_CODE_", ""),
    attributes: Object.fromEntries(
      Object.entries(span.attributes ?? {}).map(([name, value]) => [
        name,
        typeof value === "string" ? value : JSON.stringify(value),
      ]),
    ),
    events: (span.events ?? []).map(({ name }) => name),
  };
}

/** Ids are base64 of their bytes in JSON of protobuf, or hex as they are shown. */
function hexOf(id: string): string {
  if (/^(0x)?[0-9a-f]{16}$/.test(id)) return id.replace("0x", "");
  return Array.from(atob(id), (char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

/** Integers that a number cannot hold, such as times in ns, become their text. Python's bare NaN and Infinity become null. */
function parseJSON(text: string): unknown {
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
