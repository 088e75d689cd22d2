import type { Tags } from "../../wire/config.ts";
import type { FoundSpan } from "./found.ts";
import { hashed } from "./ids.ts";

const codes = ["UNSET", "OK", "ERROR"];

/** Returns a found span as OTLP has it in JSON; ids that can be none there become others, always the same. */
export async function spanToOTLP(span: FoundSpan, trace: string): Promise<object> {
  return {
    traceId: trace,
    spanId: await spanId(span.id),
    ...(span.parent === null ? {} : { parentSpanId: await spanId(span.parent) }),
    name: span.name.toWellFormed(),
    startTimeUnixNano: String(span.started),
    endTimeUnixNano: String(span.ended),
    attributes: attributesOf(span.attributes),
    events: span.events.map(({ name, time, attributes }) => ({
      name,
      timeUnixNano: String(time),
      attributes: attributesOf(attributes),
    })),
    links: await Promise.all(
      span.links.map(async (link) => ({
        traceId: /^[0-9a-f]{32}$/.test(link.trace)
          ? link.trace
          : await hashed(["trace", link.trace]),
        spanId: await spanId(link.span),
        attributes: attributesOf(link.attributes),
      })),
    ),
    status: { code: Math.max(0, codes.indexOf(span.status)), message: span.message },
  };
}

const spanId = async (id: string): Promise<string> =>
  /^[0-9a-f]{16}$/.test(id) ? id : (await hashed(["span", id])).slice(0, 16);

const attributesOf = (attributes: Tags): object[] =>
  Object.entries(attributes).map(([key, text]) => ({ key, value: valueFromJSON(text) }));

/** Returns the AnyValue that JSON stands for; whole numbers stay so. Python's bare NaN and Infinity are known; a text that is no JSON stands for itself. */
export function valueFromJSON(text: string): object {
  try {
    return JSON.parse(text, toAnyValue) as object;
  } catch {
    const bare = /"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN/g;
    const plain = text.replace(bare, (token) =>
      token.startsWith('"') ? token : token.replace("Infinity", "1e999").replace("NaN", notANumber),
    );
    try {
      return JSON.parse(plain, toAnyValue) as object;
    } catch {
      return { stringValue: text };
    }
  }
}

/** JSON has no word for NaN; this literal, which nobody else writes, stands for it. */
const notANumber = "1e99999";

function toAnyValue(_: string, value: unknown, { source = "" }: { source?: string } = {}): object {
  if (value === null) return {};
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  if (typeof value === "number") {
    const isInt64 = /^-?\d+$/.test(source) && BigInt.asIntN(64, BigInt(source)) === BigInt(source);
    if (isInt64) return { intValue: source };
    return { doubleValue: source === notANumber ? NaN : value };
  }
  if (Array.isArray(value)) return { arrayValue: { values: value } };
  const values = Object.entries(value as object).map(([key, one]: [string, object]) => ({
    key,
    value: one,
  }));
  return { kvlistValue: { values } };
}
