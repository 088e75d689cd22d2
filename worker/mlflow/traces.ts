import { reads, writes } from "./rights.ts";
import { Hono, type Context } from "hono";
import { ApiError, shown } from "../../wire/error.ts";
import { spansFromOTLPJSON } from "../../wire/otlp-json.ts";
import { spansFromOTLP, type OtelSpan } from "../../wire/otlp.ts";
import type { Assessment, Trace } from "../../wire/trace.ts";
import { readBytes, readJSON } from "../body.ts";
import {
  createAssessment,
  deleteAssessment,
  findAssessment,
  updateAssessment,
} from "../db/assessments.ts";
import { selectRun } from "../db/runs.ts";
import { insertSpans, selectSpans, type KeptSpan } from "../db/spans.ts";
import {
  deleteTraces,
  findTraces,
  linkTraces,
  nameTrace,
  putTrace,
  selectTraces,
  tagTrace,
} from "../db/traces.ts";
import type { App } from "../env.ts";
import {
  assessmentJSON,
  AssessmentMessage,
  assessmentOf,
  updatedAssessment,
} from "./assessment.ts";
import { activeExperiment, checkExperimentId, experimentOf } from "./experiments.ts";
import { answer } from "./json.ts";
import { checkKey, checkLength, cut, limits } from "./limits.ts";
import { formatPageToken, parsePageToken } from "./page-token.ts";
import {
  boolean,
  int64,
  list,
  message,
  orElse,
  readRequest,
  required,
  string,
  word,
} from "./request.ts";
import { experimentLocation } from "./run-json.ts";
import { ofRun } from "./runs.ts";
import { inferredTrace, keptSpan, traceIdOf } from "./spans.ts";
import {
  checkTraceName,
  Location,
  nameTag,
  newTrace,
  oldTraceJSON,
  sizeMetadata,
  spansTag,
  stateOf,
  stateWords,
  textsOf,
  TraceInfo,
  traceJSON,
} from "./trace-json.ts";
import { tracesQuestion } from "./traces-search.ts";

const v3 = "/3.0/mlflow/traces";
const v2 = "/2.0/mlflow/traces";
const ids = required(list(required(string)));
const pairs = list(message({ key: required(string), value: orElse(string, "") }));

/** Traces: what a program was asked, answered and took, and what is said of it. */
export const traces = new Hono<App>()
  .post(v3, writes("tell of a trace at its end"), async (c) => {
    const { trace } = await readRequest(c, {
      trace: required(message({ trace_info: required(TraceInfo) })),
    });
    const info = trace.trace_info;
    const asked = info.trace_location.mlflow_experiment?.experiment_id ?? "";
    const experiment = await activeExperiment(c, asked);
    const told = newTrace(info, experiment.id, experimentLocation(experiment));
    const said = info.assessments.flatMap((it) => (it ? [assessmentOf(it, told.id)] : []));
    return c.json({
      trace: { trace_info: traceJSON(await putTrace(c.env.DB, told, said, who(c))) },
    });
  })
  .post(`${v3}/search`, reads("search traces"), async (c) => {
    const asked = await readRequest(c, { ...search, locations: required(list(Location)) });
    const experiments = asked.locations.flatMap((it) => it?.mlflow_experiment?.experiment_id ?? []);
    for (const id of experiments) checkExperimentId(id);
    const { items, next_page_token } = await searched(c, { ...asked, experiments });
    return c.json({
      traces: items.length ? items.map(traceJSON) : undefined,
      next_page_token,
    });
  })
  .get(`${v3}/get`, reads("a trace with its spans"), async (c) => {
    const asked = await readRequest(c, {
      trace_id: required(string),
      allow_partial: orElse(boolean, false),
    });
    const [trace] = await findTraces(c.env.DB, [asked.trace_id]);
    if (!trace)
      throw new ApiError(
        "RESOURCE_DOES_NOT_EXIST",
        `Trace with ID ${shown(asked.trace_id)} is not found.`,
      );
    if (trace.tags[spansTag] !== "TRACKING_STORE")
      throw new ApiError("BAD_REQUEST", "Trace data not stored in tracking store");
    const spans = await spansOf(c, trace, asked.allow_partial);
    return c.body(`{"trace":${textOfTrace(trace, spans)}}`, 200, jsonType);
  })
  .get(`${v3}/batchGet`, reads("traces with their spans"), async (c) => {
    const { found, spans } = await completeTraces(c, (await readRequest(c, batch)).trace_ids);
    const texts = found.map((trace) => textOfTrace(trace, spans.get(trace.id) ?? []));
    return c.body(texts.length ? `{"traces":[${texts.join(",")}]}` : "{}", 200, jsonType);
  })
  .post(`${v3}/batchGetInfos`, reads("traces without their spans"), async (c) => {
    const { trace_ids, experiment_ids } = await readRequest(c, batch);
    const found = among(await findTraces(c.env.DB, trace_ids), experiment_ids);
    return c.json({ trace_infos: found.length ? found.map(traceJSON) : undefined });
  })
  .get(`${v3}/:trace`, reads("a trace"), async (c) => {
    return c.json({ trace: { trace_info: traceJSON(await theTrace(c)) } });
  })
  .on("PATCH", [`${v2}/:trace/tags`, `${v3}/:trace/tags`], writes("tag a trace"), async (c) => {
    const { key, value } = await readRequest(c, {
      key: required(string),
      value: orElse(string, ""),
    });
    checkMutable(key, "set");
    checkLength(checkKey(key, "key"), "key", limits.key);
    const { id } = await theTrace(c);
    if (key === nameTag) await nameTrace(c.env.DB, id, checkTraceName(value), who(c));
    else await tagTrace(c.env.DB, id, { [key]: cut(value, limits.tag) }, who(c));
    return c.json({});
  })
  .on(
    "DELETE",
    [`${v2}/:trace/tags`, `${v3}/:trace/tags`],
    writes("take a tag from a trace"),
    async (c) => {
      const { key } = await readRequest(c, { key: required(string) });
      checkMutable(key, "deleted");
      const { id, name, tags } = await theTrace(c);
      if (key === nameTag ? name === null : !Object.hasOwn(tags, key))
        throw new ApiError(
          "RESOURCE_DOES_NOT_EXIST",
          `No trace tag with key '${shown(key)}' for trace with ID '${id}'`,
        );
      if (key === nameTag) await nameTrace(c.env.DB, id, null, who(c));
      else await tagTrace(c.env.DB, id, { [key]: null }, who(c));
      return c.json({});
    },
  )
  .on(
    "POST",
    [`${v2}/delete-traces`, `${v3}/delete-traces`],
    writes("delete traces"),
    async (c) => {
      const asked = await readRequest(c, {
        experiment_id: required(string),
        max_timestamp_millis: int64,
        max_traces: int64,
        request_ids: list(required(string)),
      });
      const { max_timestamp_millis: until, max_traces: limit, request_ids } = asked;
      if (until === undefined && !request_ids.length)
        throw invalid("Either `max_timestamp_millis` or `trace_ids` must be specified.");
      if (until !== undefined && request_ids.length)
        throw invalid("Only one of `max_timestamp_millis` and `trace_ids` can be specified.");
      if (limit !== undefined && request_ids.length)
        throw invalid("`max_traces` can't be specified if `trace_ids` is specified.");
      if (limit !== undefined && limit <= 0)
        throw invalid(`\`max_traces\` must be a positive integer, received ${limit}.`);
      const doomed = {
        experiment: asked.experiment_id,
        ids: request_ids.length ? request_ids : undefined,
        until,
        limit,
      };
      return c.json({ traces_deleted: await deleteTraces(c.env.DB, doomed, who(c)) });
    },
  )
  .on(
    "POST",
    [`${v2}/link-to-run`, `${v3}/link-to-run`],
    writes("link traces to a run"),
    async (c) => {
      const asked = await readRequest(c, { trace_ids: ids, run_id: required(string) });
      if (asked.trace_ids.length > 100)
        throw invalid(
          `Cannot link more than 100 traces to a run in a single request. Provided ${asked.trace_ids.length} traces.`,
        );
      const run = await ofRun(asked.run_id, selectRun(c.env.DB, asked.run_id));
      await linkTraces(c.env.DB, asked.trace_ids, "runs", [run.id], who(c));
      return c.json({});
    },
  )
  .on(
    "POST",
    [`${v2}/link-prompts`, `${v3}/link-prompts`],
    writes("link versions of prompts to a trace"),
    async (c) => {
      const asked = await readRequest(c, {
        trace_id: required(string),
        prompt_versions: required(
          list(message({ name: required(string), version: required(string) })),
        ),
      });
      const { id } = await theTrace(c, asked.trace_id);
      const prompts = asked.prompt_versions.flatMap((it) =>
        it
          ? [`${checkLength(it.name, "name", 256)}/${checkLength(it.version, "version", 20)}`]
          : [],
      );
      await linkTraces(c.env.DB, [id], "prompts", prompts, who(c));
      return c.json({});
    },
  )
  .post(`${v3}/:trace/assessments`, writes("say something of a trace"), async (c) => {
    const { assessment } = await readRequest(c, { assessment: required(AssessmentMessage) });
    const said = assessmentOf(assessment, c.req.param("trace"));
    if (said.overrides) await theAssessment(c, said.trace, said.overrides);
    const kept = await createAssessment(c.env.DB, said, who(c));
    if (!kept) throw noSuchTrace(said.trace);
    return c.json({ assessment: assessmentJSON(kept) });
  })
  .get(`${v3}/:trace/assessments/:assessment`, reads("what was said of a trace"), async (c) => {
    return c.json({ assessment: assessmentJSON(await theAssessment(c)) });
  })
  .patch(`${v3}/:trace/assessments/:assessment`, writes("change what was said"), async (c) => {
    const asked = await readRequest(c, {
      assessment: required(AssessmentMessage),
      update_mask: required(string),
    });
    const before = await theAssessment(c);
    const after = updatedAssessment(before, asked.assessment, asked.update_mask);
    await updateAssessment(c.env.DB, after, who(c));
    return c.json({ assessment: assessmentJSON(await theAssessment(c)) });
  })
  .delete(`${v3}/:trace/assessments/:assessment`, writes("take back what was said"), async (c) => {
    const [trace, id] = [c.req.param("trace"), c.req.param("assessment")];
    const found = await findAssessment(c.env.DB, trace, id);
    if (found) await deleteAssessment(c.env.DB, found, who(c));
    return c.json({});
  })
  // What MLflow 2 calls.
  .post(v2, writes("tell that a trace begins"), async (c) => {
    const asked = await readRequest(c, {
      experiment_id: required(string),
      timestamp_ms: orElse(int64, 0),
      request_metadata: pairs,
      tags: pairs,
    });
    const experiment = await activeExperiment(c, asked.experiment_id);
    const info = {
      trace_id: crypto.randomUUID().replaceAll("-", ""),
      client_request_id: undefined,
      request_time: asked.timestamp_ms,
      execution_duration: undefined,
      state: "IN_PROGRESS" as const,
      trace_metadata: mapOf(asked.request_metadata),
      tags: mapOf(asked.tags),
      request_preview: undefined,
      response_preview: undefined,
      assessments: [],
    };
    const told = {
      ...newTrace(info, experiment.id, experimentLocation(experiment)),
      metadata: textsOf(info.trace_metadata), // it is not final
    };
    return answer(c, { trace_info: oldTraceJSON(await putTrace(c.env.DB, told, [], who(c))) });
  })
  .patch(`${v2}/:trace`, writes("tell that a trace has ended"), async (c) => {
    const asked = await readRequest(c, {
      timestamp_ms: orElse(int64, 0),
      status: word(stateWords, 0),
      request_metadata: pairs,
      tags: pairs,
    });
    const before = await theTrace(c);
    const { [nameTag]: name = before.name, ...tags } = textsOf(mapOf(asked.tags));
    const after = {
      ...before,
      name: name === null ? null : checkTraceName(name),
      state: stateOf(asked.status),
      duration: asked.timestamp_ms - before.started,
      tags,
      metadata: textsOf(mapOf(asked.request_metadata)),
    };
    return answer(c, { trace_info: oldTraceJSON(await putTrace(c.env.DB, after, [], who(c))) });
  })
  .get(`${v2}/:trace/info`, reads("a trace, as MLflow 2 asks"), async (c) => {
    return answer(c, { trace_info: oldTraceJSON(await theTrace(c)) });
  })
  .get(v2, reads("search traces, as MLflow 2 asks"), async (c) => {
    const asked = await readRequest(c, { ...search, experiment_ids: ids });
    const { items, next_page_token } = await searched(c, {
      ...asked,
      experiments: asked.experiment_ids,
    });
    return answer(c, { traces: items.map(oldTraceJSON), next_page_token });
  });

/** What OpenTelemetry's exporters call; MLflow's clients do, too. */
export const spans = new Hono<App>().post(
  "/v1/traces",
  writes("take spans from OpenTelemetry's exporters"),
  async (c) => {
    const asked = c.req.header("x-mlflow-experiment-id");
    if (!asked) throw invalid("Missing header: x-mlflow-experiment-id");
    const sent = await sentSpans(c);
    if (!sent.length) throw invalid("Invalid OpenTelemetry format - no spans found");
    const experiment = await experimentOf(c, asked);
    const byTrace = Map.groupBy(sent, traceIdOf);
    for (const group of byTrace.values()) {
      const trace = inferredTrace(group, experiment.id, experimentLocation(experiment));
      await insertSpans(
        c.env,
        trace,
        group.map((span) => keptSpan(span)),
      );
    }
    const run = c.req.header("x-mlflow-run-id");
    const ended = sent.filter(({ parent }) => parent === null).map(traceIdOf);
    if (run && ended.length) await linkTraces(c.env.DB, ended, "runs", [run], who(c));
    const isJSON = c.req.header("content-type")?.startsWith("application/json");
    return isJSON ? c.json({}) : c.body(null, 200, { "content-type": "application/x-protobuf" });
  },
);

/** Returns the spans of a request, in protobuf or in JSON. */
async function sentSpans(c: Context<App>): Promise<OtelSpan[]> {
  const header = c.req.header("content-type") ?? "";
  const [type] = header.toLowerCase().split(/\s*;/);
  if (type === "application/x-protobuf") return spansFromOTLP(await readBytes(c, maxOTLP));
  if (type === "application/json") return spansFromOTLPJSON(await readJSON(c, maxOTLP));
  throw invalid(
    `Invalid Content-Type: ${shown(header)}. Expected: application/x-protobuf or application/json`,
  );
}

/** The largest request of spans, in bytes as sent. */
const maxOTLP = 16_000_000;

const jsonType = { "content-type": "application/json" };

const who = (c: Context<App>): string => c.get("visitor").who;

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

const search = {
  filter: string,
  max_results: orElse(int64, 100),
  order_by: list(required(string)),
  page_token: string,
};
const batch = { trace_ids: ids, experiment_ids: list(required(string)) };

const mapOf = (pairs: ({ key: string; value: string } | undefined)[]) =>
  new Map(pairs.flatMap((pair) => (pair ? [[pair.key, pair.value] as const] : [])));

/** Returns the trace of an id, or of the one in the path. */
async function theTrace(c: Context<App>, id = c.req.param("trace")!): Promise<Trace> {
  const [trace] = await findTraces(c.env.DB, [id]);
  if (!trace) throw noSuchTrace(id);
  return trace;
}

const noSuchTrace = (id: string) =>
  new ApiError("RESOURCE_DOES_NOT_EXIST", `Trace with ID '${shown(id)}' not found.`);

async function theAssessment(
  c: Context<App>,
  trace = c.req.param("trace")!,
  id = c.req.param("assessment")!,
): Promise<Assessment> {
  const found = await findAssessment(c.env.DB, trace, id);
  if (found) return found;
  await theTrace(c, trace);
  throw new ApiError(
    "RESOURCE_DOES_NOT_EXIST",
    `Assessment with ID '${shown(id)}' not found for trace '${trace}'`,
  );
}

/** Where spans are, this server alone says. */
function checkMutable(key: string, verb: "set" | "deleted"): void {
  if (key === spansTag)
    throw invalid(`Tag '${key}' is immutable and cannot be ${verb} on a trace.`);
}

/** So many traces at most are given on a page. */
const maxPage = 500;

async function searched(
  c: Context<App>,
  asked: {
    experiments: string[];
    filter: string | undefined;
    max_results: number;
    order_by: string[];
    page_token: string | undefined;
  },
): Promise<{ items: Trace[]; next_page_token: string | undefined }> {
  const limit = asked.max_results;
  if (limit < 1 || limit > maxPage)
    throw invalid(
      `Invalid value ${limit} for parameter 'max_results' supplied. It must be ${limit < 1 ? "a positive integer" : `at most ${maxPage}`}`,
    );
  const { question, ...selection } = tracesQuestion(asked.filter, asked.order_by);
  const { items, next } = await selectTraces(c.env, {
    ...selection,
    experiments: asked.experiments,
    limit,
    after: parsePageToken(asked.page_token, question, selection.order.length),
  });
  return {
    items: items.map(({ trace }) => trace),
    next_page_token: next && formatPageToken(next, question),
  };
}

const among = (found: Trace[], experiments: string[]): Trace[] =>
  experiments.length ? found.filter(({ experiment }) => experiments.includes(experiment)) : found;

/** How many spans a trace was told to have; 0 where it was not. */
function spansTold({ metadata }: Trace): number {
  try {
    const { num_spans = 0 } = JSON.parse(metadata[sizeMetadata] ?? "{}") as { num_spans?: number };
    return num_spans;
  } catch {
    return 0; // a client may have set it to anything
  }
}

/** How long spans that are still on their way are waited for, in ms, one time after the other. */
const waits = [200, 600, 1_200];

/** Returns the spans of a trace; waits for those that are still on their way unless parts will do. */
async function spansOf(c: Context<App>, trace: Trace, allowPartial: boolean): Promise<KeptSpan[]> {
  for (const wait of [...waits, 0]) {
    const spans = (await selectSpans(c.env, [trace.id])).get(trace.id) ?? [];
    if (allowPartial || (spans.length && spans.length >= spansTold(trace))) return spans;
    if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  throw new ApiError(
    "RESOURCE_DOES_NOT_EXIST",
    `Trace with ID ${trace.id} is not fully exported yet, please try again later.`,
  );
}

/** Returns those of some traces that are here with all their spans. */
async function completeTraces(c: Context<App>, wanted: string[]) {
  const here = (await findTraces(c.env.DB, wanted)).filter(
    ({ tags }) => tags[spansTag] === "TRACKING_STORE",
  );
  const spans = await selectSpans(
    c.env,
    here.map(({ id }) => id),
  );
  const found = here.filter((trace) => {
    const count = spans.get(trace.id)?.length ?? 0;
    return count > 0 && count >= spansTold(trace);
  });
  return { found, spans };
}

/** A trace with its spans as MLflow writes it: JSON, put together from spans as they are kept, as their numbers have more digits than JavaScript's. */
const textOfTrace = (trace: Trace, spans: KeptSpan[]): string =>
  `{"trace_info":${JSON.stringify(traceJSON(trace))}${
    spans.length ? `,"spans":[${spans.map(({ json }) => json).join(",")}]` : ""
  }}`;
