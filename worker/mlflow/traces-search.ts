import type { Value } from "../../wire/filter.ts";
import type { MlflowField } from "../../wire/mlflow-query.ts";
import { plainValue, type OtelAttribute } from "../../wire/otlp.ts";
import type { Json, Trace } from "../../wire/trace.ts";
import type { Order } from "../db/page.ts";
import type { KeptSpan } from "../db/spans.ts";
import { byText, traceOrder, type Narrowing } from "../db/traces.ts";
import { nameTag, runMetadata, stateOf, stateWords, wordOf } from "./trace-json.ts";
import { clausesOf, maybe, ordersOf, ownValue, testAll, withTies, type Clause } from "./where.ts";

/** The prompts that a trace is linked to are asked for like a tag of this name. */
const promptsTag = "mlflow.linkedPrompts";

/** A trace with its spans, where a search looks into them. */
interface SearchedTrace {
  trace: Trace;
  spans: KeptSpan[];
}

/** Reads a search of traces. */
export function tracesQuestion(filter: string | undefined, orderBy: string[]) {
  const clauses = clausesOf("trace", filter);
  const ofSpans = clauses.filter(({ field }) => field.kind === "span");
  const testTrace = testAll(
    clauses.filter(({ field }) => field.kind !== "span"),
    valuesOfTrace,
  );
  const testSpan = testAll(ofSpans, valuesOfSpan);
  const orders = ordersOf("trace", orderBy, orderOf);
  return {
    // What is asked of spans must hold of one and the same.
    test: clauses.length
      ? ({ trace, spans }: SearchedTrace) =>
          testTrace(trace) && (ofSpans.length === 0 || spans.some(testSpan))
      : undefined,
    needsSpans: ofSpans.length > 0,
    narrowing: narrowingOf(clauses),
    order: withTies(
      orders.map(({ order }) => order),
      [{ by: traceOrder.started, descending: true }, { by: traceOrder.id }],
    ),
    question: ["traces", filter ?? "", orderBy],
  };
}

/** At most so many tags are looked for by the database, which binds no more than 100 values. */
const maxNarrowed = 10;

/** Returns what the clauses that the database can tell ask for. */
function narrowingOf(clauses: Clause[]): Narrowing {
  const equal = clauses.filter(({ operator }) => operator === "=");
  const ofKind = (kind: MlflowField["kind"], reserved: string[]) =>
    equal
      .filter(({ field }) => field.kind === kind && !reserved.includes(field.key))
      .slice(0, maxNarrowed)
      .map(({ field, values }): [string, string] => [field.key, String(values[0])]);
  const valueOf = (kind: MlflowField["kind"], key: string) => {
    const found = equal.find(({ field }) => field.kind === kind && field.key === key);
    return found && String(found.values[0]);
  };
  const times = clauses.filter(
    ({ field }) => field.kind === "attribute" && field.key === "timestamp_ms",
  );
  const limits = (wanted: RegExp) =>
    times
      .filter(({ operator, values }) => wanted.test(operator) && Number.isFinite(values[0]))
      .map(({ values }) => Number(values[0]));
  const [status, name, run] = [
    valueOf("attribute", "status"),
    valueOf("tag", nameTag),
    valueOf("request_metadata", runMetadata),
  ];
  const word = stateWords.find((known) => known === status);
  const [from, to] = [limits(/^(>|>=|=)$/), limits(/^(<|<=|=)$/)];
  return {
    ...(word ? { state: stateOf(word) } : {}),
    ...(name === undefined ? {} : { name }),
    ...(run === undefined ? {} : { run }),
    ...(from.length ? { from: Math.max(...from) } : {}),
    ...(to.length ? { to: Math.min(...to) } : {}),
    tags: ofKind("tag", [nameTag, promptsTag]),
    metadata: ofKind("request_metadata", [runMetadata]),
  };
}

function valuesOfTrace(trace: Trace, { field: { kind, key }, operator }: Clause): Value[] {
  switch (kind) {
    case "tag":
      if (key === nameTag) return maybe(trace.name);
      if (key === promptsTag) return trace.prompts;
      return ownValue(trace.tags, key);
    case "request_metadata":
      // A trace belongs to the run that it was made in, and to those that it was linked to.
      if (key === runMetadata && (operator === "=" || operator === "IN"))
        return [...ownValue(trace.metadata, key), ...trace.runs];
      return ownValue(trace.metadata, key);
    case "feedback":
    case "expectation":
      return trace.assessments
        .filter((it) => it.kind === kind && it.name === key && it.valid)
        .map(({ value }) => comparable(value));
    case "issue":
      return trace.assessments.filter((it) => it.kind === "issue").map(({ name }) => name);
    default:
      return attributeOf(trace, key);
  }
}

function attributeOf(trace: Trace, key: string): Value[] {
  const attributes: Record<string, Value | null> = {
    request_id: trace.id,
    client_request_id: trace.client,
    status: wordOf(trace.state),
    timestamp_ms: trace.started,
    execution_time_ms: trace.duration,
    end_time_ms: trace.duration === null ? null : trace.started + trace.duration,
  };
  return maybe(attributes[key]);
}

/** A value of an assessment as it is compared: what is no number, text or boolean as JSON. */
const comparable = (value: Json): Value =>
  typeof value === "object" ? JSON.stringify(value) : value;

function valuesOfSpan(span: KeptSpan, { field: { key } }: Clause): Value[] {
  if (key === "name") return [span.name];
  if (key === "type") return maybe(span.type);
  if (key === "status") return [span.status];
  if (key === "content") return [span.json];
  const name = key.replace(/^attributes\./, "");
  const { attributes = [] } = JSON.parse(span.json) as { attributes?: OtelAttribute[] };
  return attributes
    .filter((attribute) => attribute.key === name)
    .map(({ value }) => comparable(plainValue(value)));
}

function orderOf({ kind, key }: MlflowField): Order | undefined {
  if (kind === "tag" && key === nameTag) return { by: traceOrder.name, nullable: true };
  if (kind === "tag") return byText("tags", key, false);
  if (kind === "request_metadata") return byText("metadata", key, false);
  const attributes: Record<string, Order> = {
    request_id: { by: traceOrder.id },
    client_request_id: { by: traceOrder.client, nullable: true },
    experiment_id: { by: traceOrder.experiment },
    status: { by: traceOrder.state },
    timestamp_ms: { by: traceOrder.started },
    execution_time_ms: { by: traceOrder.duration, nullable: true },
    end_time_ms: { by: traceOrder.ended, nullable: true },
  };
  return kind === "attribute" ? attributes[key] : undefined;
}
