import { Hono } from "hono";
import * as v from "valibot";
import { ApiError, shown } from "../../wire/error.ts";
import { parseExactly } from "../../wire/json.ts";
import { spansFromOTLPJSON } from "../../wire/otlp-json.ts";
import { plainValue, type OtelAttribute, type OtelSpan } from "../../wire/otlp.ts";
import { parse } from "../../wire/parse.ts";
import { WholeTrace, type Trace } from "../../wire/trace.ts";
import { readJSON } from "../body.ts";
import { selectExperiment } from "../db/experiments.ts";
import { insertSpans, selectSpans, type KeptSpan } from "../db/spans.ts";
import { addTrace, findTraces, selectTraces, traceOrder } from "../db/traces.ts";
import type { App } from "../env.ts";
import { keptSpan } from "../mlflow/spans.ts";
import { spansTag } from "../mlflow/trace-json.ts";
import { route } from "../route.ts";
import { json } from "./answer.ts";
import { count, list, text } from "./query.ts";
import { namedExperiments } from "./runs.ts";

const TracesQuery = v.strictObject({
  experiment: v.optional(list),
  run: v.optional(text),
  after: v.optional(text),
  limit: v.optional(count(1_000)),
});

export const traces = new Hono<App>()
  .get(
    "/traces",
    route({
      right: "reader",
      summary:
        "Traces, the latest first. experiment: id or name, may repeat; run: those of a run; limit: 100 unless given, 1000 or fewer; after: what the page before called next",
      query: TracesQuery,
    }),
    async (c) => {
      const { after, limit = 100, run, ...query } = parse(TracesQuery, c.req.queries(), "query");
      const experiments =
        query.experiment &&
        (await namedExperiments(c.env.DB, query.experiment)).map(({ id }) => id);
      const last = after === undefined ? undefined : await theTrace(c.env.DB, after);
      const { items, next } = await selectTraces(c.env, {
        experiments,
        order: [{ by: traceOrder.started, descending: true }, { by: traceOrder.id }],
        after: last && [last.started, last.id],
        limit,
        narrowing: run === undefined ? {} : { run },
      });
      return json(c, { traces: items.map(({ trace }) => trace), next: next?.[1] ?? null });
    },
  )
  .post(
    "/traces",
    route({
      right: "writer",
      summary:
        "Add a trace from elsewhere, under its id, with what is said of it and its spans (as OTLP has them in JSON), or what is not here of it; what is here stays as it is",
      body: WholeTrace,
      answers: { 201: "it is here" },
    }),
    async (c) => {
      const { spans, assessments, ...given } = parse(WholeTrace, await readJSON(c, maxTrace));
      const experiment = await selectExperiment(c.env.DB, given.experiment);
      const sent = spansFromOTLPJSON({ resourceSpans: [{ scopeSpans: [{ spans }] }] });
      const trace = { ...given, experiment: experiment.id };
      if (sent.length) trace.tags = { ...trace.tags, [spansTag]: "TRACKING_STORE" };
      const said = assessments.map((it) => ({ ...it, trace: trace.id }));
      await addTrace(c.env.DB, trace, said, c.get("visitor").who);
      const nothing = { state: null, name: null, request: null, response: null };
      if (sent.length)
        await insertSpans(
          c.env,
          { ...trace, ...nothing, tags: {}, metadata: {} },
          sent.map((span) => keptSpan(span, trace.id)),
        );
      return json(c, await theTrace(c.env.DB, trace.id), 201);
    },
  )
  .get(
    "/traces/:trace",
    route({
      right: "reader",
      summary: "A trace with its spans; their times are ns since 1970, in digits",
    }),
    async (c) => {
      const trace = await theTrace(c.env.DB, c.req.param("trace"));
      const spans = (await selectSpans(c.env, [trace.id])).get(trace.id) ?? [];
      return json(c, { ...trace, spans: spans.map(spanOf) });
    },
  );

/** The largest request of a trace, in bytes as sent. */
const maxTrace = 16_000_000;

async function theTrace(db: D1Database, id: string): Promise<Trace> {
  const [trace] = await findTraces(db, [id]);
  if (!trace) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `trace not found: ${shown(id)}`);
  return trace;
}

/** A kept span as it is shown; whole numbers beyond 2^53 keep their digits. */
function spanOf({ json: text, ...span }: KeptSpan) {
  const sent = parseExactly(text) as Pick<OtelSpan, "status"> & {
    attributes?: OtelAttribute[];
    events?: { name?: string; time_unix_nano: unknown; attributes?: OtelAttribute[] }[];
    links?: { trace_id: string; span_id: string; attributes?: OtelAttribute[] }[];
  };
  return {
    ...span,
    message: sent.status.message ?? "",
    attributes: plainOf(sent.attributes),
    events: (sent.events ?? []).map(({ name = "", time_unix_nano: time, attributes }) => ({
      name,
      time: JSON.isRawJSON(time) ? time.rawJSON : String(time),
      attributes: plainOf(attributes),
    })),
    links: (sent.links ?? []).map(({ trace_id, span_id, attributes }) => ({
      trace: hexOfBase64(trace_id),
      span: hexOfBase64(span_id),
      attributes: plainOf(attributes),
    })),
  };
}

const plainOf = (attributes: OtelAttribute[] = []) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plainValue(value)]));

const hexOfBase64 = (text: string): string =>
  Array.from(atob(text), (char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("");
