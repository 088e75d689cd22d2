import { ApiError, shown } from "../../wire/error.ts";
import type { Trace, TraceState } from "../../wire/trace.ts";
import type { NewTrace } from "../db/traces.ts";
import { AssessmentMessage, assessmentJSON } from "./assessment.ts";
import { checkLength, cut } from "./limits.ts";
import { duration, formatDuration, formatTimestamp, timestamp } from "./protobuf-time.ts";
import { list, map, message, orElse, required, string, word, type Of } from "./request.ts";

/** The states of traces in MLflow's numbering, from 0 on. */
export const stateWords = ["STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"] as const;
type StateWord = (typeof stateWords)[number];

const stateOfWord: Record<StateWord, TraceState> = {
  STATE_UNSPECIFIED: "unspecified",
  OK: "ok",
  ERROR: "error",
  IN_PROGRESS: "running",
};
const wordOfState = {
  unspecified: "STATE_UNSPECIFIED",
  ok: "OK",
  error: "ERROR",
  running: "IN_PROGRESS",
} as const satisfies Record<TraceState, StateWord>;

export const stateOf = (word: StateWord | undefined): TraceState =>
  stateOfWord[word ?? "STATE_UNSPECIFIED"];
export const wordOf = (state: TraceState): StateWord => wordOfState[state];

/** The tags and metadata that MLflow reserves to itself. */
export const nameTag = "mlflow.traceName";
export const locationTag = "mlflow.artifactLocation";
export const spansTag = "mlflow.trace.spansLocation";
export const sizeMetadata = "mlflow.trace.sizeStats";
const finalMetadata = "mlflow.trace.infoFinalized";
export const runMetadata = "mlflow.sourceRun";

/** Where a trace is, as it is sent. */
export const Location = message({
  mlflow_experiment: message({ experiment_id: required(string) }),
});

/** What is told of a trace, as it is sent. */
export const TraceInfo = message({
  trace_id: required(string),
  client_request_id: string,
  trace_location: required(Location),
  request_time: timestamp,
  execution_duration: duration,
  state: word(stateWords, 0),
  trace_metadata: map(orElse(string, "")),
  tags: map(orElse(string, "")),
  request_preview: string,
  response_preview: string,
  assessments: list(AssessmentMessage),
});

/** Names and values of tags and metadata are kept up to so many characters, and shown up to fewer. */
const kept = { key: 250, value: 8_000, preview: 10_000 };
const shownMetadata = 250;
const shownTag = 4_096;
const maxName = 4_096;
/** Tags and metadata of a trace have at most so many characters together. */
const maxTotal = 400_000;

/** Returns tags or metadata as they are kept. */
export function textsOf(entries: Iterable<readonly [string, string]>): Record<string, string> {
  const texts = Object.fromEntries(
    Array.from(entries, ([key, value]) => [cut(key, kept.key), cut(value, kept.value)]),
  );
  const size = JSON.stringify(texts).length;
  if (size > maxTotal)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `tags and metadata of a trace are too large: ${size} characters, limit ${maxTotal}`,
    );
  return texts;
}

/** Checks the id of a trace, which becomes part of paths. */
function checkTraceId(id: string): string {
  if (!/^[A-Za-z0-9][\w.-]{0,127}$/.test(id) || id.includes(".."))
    throw new ApiError("INVALID_PARAMETER_VALUE", `Invalid trace ID: '${shown(id)}'`);
  return id;
}

/** Checks the name of a trace. */
export const checkTraceName = (name: string): string => checkLength(name, "Trace name", maxName);

/** Returns what is told of a trace; `files` is where its experiment keeps files. */
export function newTrace(
  info: Omit<Exclude<Of<typeof TraceInfo>, undefined>, "trace_location">,
  experiment: string,
  files: string,
): NewTrace {
  const id = checkTraceId(info.trace_id);
  const { [nameTag]: name = null, ...tags } = textsOf(info.tags);
  return {
    id,
    experiment,
    name: name === null ? null : checkTraceName(name),
    state: stateOf(info.state),
    started: info.request_time ?? 0,
    duration: info.execution_duration ?? null,
    request: info.request_preview === undefined ? null : cut(info.request_preview, kept.preview),
    response: info.response_preview === undefined ? null : cut(info.response_preview, kept.preview),
    client: info.client_request_id ? cut(info.client_request_id, 250) : null,
    tags: { ...tags, [locationTag]: `${files}/traces/${id}/artifacts` },
    metadata: { ...textsOf(info.trace_metadata), [finalMetadata]: "true" },
  };
}

const shortened = (texts: Record<string, string>, limit: number) =>
  Object.entries(texts).map(([key, value]) => [key, cut(value, limit)] as const);

/** The tags of a trace in MLflow's eyes, its name among them. */
const tagsOf = ({ name, tags }: Trace) => [
  ...shortened(tags, shownTag),
  ...(name === null ? [] : [[nameTag, name] as const]),
];

/** Our trace as MLflow writes it. */
export const traceJSON = (trace: Trace) => ({
  trace_id: trace.id,
  client_request_id: trace.client ?? undefined,
  trace_location: {
    type: "MLFLOW_EXPERIMENT",
    mlflow_experiment: { experiment_id: trace.experiment },
  },
  request_time: formatTimestamp(trace.started),
  execution_duration: trace.duration === null ? undefined : formatDuration(trace.duration),
  state: wordOf(trace.state),
  trace_metadata: Object.fromEntries(shortened(trace.metadata, shownMetadata)),
  tags: Object.fromEntries(tagsOf(trace)),
  request_preview: trace.request ?? undefined,
  response_preview: trace.response ?? undefined,
  assessments: trace.assessments.length ? trace.assessments.map(assessmentJSON) : undefined,
});

const pairs = (entries: (readonly [string, string])[]) =>
  entries.map(([key, value]) => ({ key, value }));

/** Our trace as MLflow 2 writes it. */
export const oldTraceJSON = (trace: Trace) => ({
  request_id: trace.id,
  experiment_id: trace.experiment,
  timestamp_ms: trace.started,
  execution_time_ms: trace.duration ?? 0,
  status: wordOf(trace.state).replace("STATE_UNSPECIFIED", "TRACE_STATUS_UNSPECIFIED"),
  request_metadata: pairs(shortened(trace.metadata, shownMetadata)),
  tags: pairs(tagsOf(trace)),
});
