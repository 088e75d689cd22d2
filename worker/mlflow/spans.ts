import { jsonFromSpan, plainValue, type OtelAttribute, type OtelSpan } from "../../wire/otlp.ts";
import type { Json } from "../../wire/trace.ts";
import type { Inferred, KeptSpan } from "../db/spans.ts";
import { cut } from "./limits.ts";
import { locationTag, nameTag, spansTag, textsOf } from "./trace-json.ts";

const idAttribute = "mlflow.traceRequestId";
const typeAttribute = "mlflow.spanType";
const tagAttribute = "mlflow.traceTag.";

/** MLflow's id of a trace of OpenTelemetry's. */
export const traceIdOf = ({ trace }: OtelSpan): string => `tr-${trace}`;

const statuses = ["UNSET", "OK", "ERROR"] as const;

/** Returns a span as it is kept; its trace's id is told by the trace, whatever the sender says. */
export function keptSpan(span: OtelSpan, trace = traceIdOf(span)): KeptSpan {
  const attributes = [
    { key: idAttribute, value: { string_value: trace } },
    ...span.attributes.filter(({ key }) => key !== idAttribute),
  ];
  const type = attributeOf(span, typeAttribute);
  return {
    id: span.id,
    parent: span.parent,
    name: span.name,
    type: typeof type === "string" ? type : null,
    status: statuses[span.status.code] ?? "UNSET",
    start: String(span.start),
    end: String(span.end),
    json: jsonFromSpan({ ...span, attributes }),
  };
}

/** Returns what spans of one trace say of it, for the case that nobody else does. */
export function inferredTrace(spans: OtelSpan[], experiment: string, files: string): Inferred {
  const id = traceIdOf(spans[0]!);
  const root = spans.find(({ parent }) => parent === null);
  const started = ms(spans.map(({ start }) => start).reduce((a, b) => (a < b ? a : b)));
  const ended = ms(spans.map(({ end }) => end).reduce((a, b) => (a > b ? a : b)));
  return {
    id,
    experiment,
    state: root ? (root.status.code === 2 ? "error" : "ok") : null,
    started,
    duration: ended === 0 ? null : Math.max(ended - started, 0),
    request: root ? previewOf(attributeOf(root, "mlflow.spanInputs")) : null,
    response: root ? previewOf(attributeOf(root, "mlflow.spanOutputs")) : null,
    name: root ? textOf(attributeOf(root, tagAttribute + nameTag)) : null,
    tags: {
      ...resourceTags(spans[0]!.resource),
      ...(root ? traceTags(root.attributes) : {}),
      [locationTag]: `${files}/traces/${id}/artifacts`,
      [spansTag]: "TRACKING_STORE",
    },
    metadata: textsOf([
      ...firstOf(spans, ["session.id", "gen_ai.conversation.id"], "mlflow.trace.session"),
      ...firstOf(spans, ["user.id"], "mlflow.trace.user"),
    ]),
  };
}

const ms = (ns: bigint): number => Number(ns / 1_000_000n);

function attributeOf({ attributes }: OtelSpan, key: string): Json | undefined {
  const found = attributes.findLast((attribute) => attribute.key === key);
  return found && plainValue(found.value);
}

const textOf = (value: Json | undefined): string | null =>
  value === undefined || value === null
    ? null
    : typeof value === "string"
      ? value
      : JSON.stringify(value);

/** Previews have at most so many characters, as MLflow's clients make them. */
const maxPreview = 1_000;

function previewOf(value: Json | undefined): string | null {
  const text = value === undefined ? null : JSON.stringify(value);
  return text === null || text.length <= maxPreview ? text : `${cut(text, maxPreview - 3)}...`;
}

/** What is said of the program becomes tags, but not what OpenTelemetry says of itself. */
const resourceTags = (resource: OtelAttribute[]): Record<string, string> =>
  textsOf(
    resource
      .filter(({ key }) => !/^(telemetry\.sdk|mlflow)\./.test(key))
      .flatMap(({ key, value }) => entryOf(key, plainValue(value))),
  );

const traceTags = (attributes: OtelAttribute[]): Record<string, string> =>
  textsOf(
    attributes
      .filter(({ key }) => key.startsWith(tagAttribute) && key !== tagAttribute + nameTag)
      .flatMap(({ key, value }) => entryOf(key.slice(tagAttribute.length), plainValue(value))),
  );

const entryOf = (key: string, value: Json): [string, string][] => {
  const text = textOf(value);
  return text === null ? [] : [[key, text]];
};

/** The first value that spans have under one of some keys, as an entry of metadata. */
function firstOf(spans: OtelSpan[], keys: string[], name: string): [string, string][] {
  for (const span of spans)
    for (const key of keys) {
      const text = textOf(attributeOf(span, key));
      if (text) return [[name, text]];
    }
  return [];
}
