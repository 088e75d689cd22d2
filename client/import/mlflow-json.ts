import type { Tags } from "../../wire/config.ts";
import type { FoundAssessment, FoundExperiment, FoundVersion } from "./found.ts";
import { parseFloatOfPython } from "./mlflow-metrics.ts";
import { noteTag } from "./mlflow-tags.ts";

interface KeyValue {
  key: string;
  value?: string;
}

/** int64 comes as a number from MLflow and as text from servers that speak protobuf's JSON; absent is 0 or none. */
export type Int = number | string | undefined;

/** An experiment as MLflow's REST API tells it; the others likewise. */
export interface ExperimentJSON {
  experiment_id: string;
  name: string;
  lifecycle_stage?: string;
  creation_time?: Int;
  tags?: KeyValue[];
}

export interface RunJSON {
  info: {
    run_id?: string;
    run_uuid: string;
    run_name?: string;
    status?: string;
    start_time?: Int;
    end_time?: Int;
    lifecycle_stage?: string;
    artifact_uri?: string;
  };
  data?: { metrics?: { key: string }[]; params?: KeyValue[]; tags?: KeyValue[] };
  inputs?: {
    dataset_inputs?: {
      tags?: KeyValue[];
      dataset: {
        name: string;
        digest: string;
        source_type?: string;
        source?: string;
        schema?: string;
        profile?: string;
      };
    }[];
    model_inputs?: { model_id: string }[];
  };
  outputs?: { model_outputs?: { model_id: string; step?: Int }[] };
}

export interface MetricJSON {
  key: string;
  value?: number | string;
  timestamp?: Int;
  step?: Int;
  run_id?: string;
  dataset_name?: string;
  dataset_digest?: string;
}

export interface LoggedModelJSON {
  info: {
    model_id: string;
    name?: string;
    status?: string;
    model_type?: string;
    source_run_id?: string;
    creation_timestamp_ms?: Int;
    last_updated_timestamp_ms?: Int;
    tags?: KeyValue[];
  };
  data?: { params?: KeyValue[]; metrics?: MetricJSON[] };
}

export interface ModelJSON {
  name: string;
  description?: string;
  creation_timestamp?: Int;
  last_updated_timestamp?: Int;
  tags?: KeyValue[];
  aliases?: { alias: string; version: string }[];
}

export interface VersionJSON {
  version: string;
  description?: string;
  current_stage?: string;
  status?: string;
  source?: string;
  run_id?: string;
  model_id?: string;
  creation_timestamp?: Int;
  last_updated_timestamp?: Int;
  tags?: KeyValue[];
}

export interface TraceJSON {
  trace_id: string;
  client_request_id?: string;
  state?: string;
  request_time?: string;
  execution_duration?: string;
  request_preview?: string;
  response_preview?: string;
  tags?: Tags;
  trace_metadata?: Tags;
  assessments?: AssessmentJSON[];
}

interface AssessmentJSON {
  assessment_id?: string;
  assessment_name: string;
  source?: { source_type?: string; source_id?: string };
  rationale?: string;
  feedback?: { value?: unknown; error?: ErrorJSON };
  expectation?: { value?: unknown; serialized_value?: { value: string } };
  issue?: { issue_name?: string };
  metadata?: Tags;
  span_id?: string;
  overrides?: string;
  valid?: boolean;
  create_time?: string;
  last_update_time?: string;
}

interface ErrorJSON {
  error_code?: string;
  error_message?: string;
  stack_trace?: string;
}

/** Returns what kept a program from judging. */
export const errorOf = (error: ErrorJSON | null | undefined): FoundAssessment["error"] =>
  error
    ? {
        code: error.error_code ?? "",
        message: error.error_message ?? "",
        stack: error.stack_trace ?? "",
      }
    : null;

/** Returns what MLflow tells of an experiment as what we find. */
export function experimentOf({
  experiment_id,
  name,
  tags,
  ...rest
}: ExperimentJSON): FoundExperiment {
  const { [noteTag]: note = "", ...others } = textsOf(tags);
  return {
    kind: "experiment",
    id: experiment_id,
    name,
    note,
    tags: others,
    created: numberOf(rest.creation_time),
    deleted: rest.lifecycle_stage === "deleted",
  };
}

/** Returns what it tells of a model's version. */
export function versionOf(version: VersionJSON): FoundVersion {
  return {
    version: version.version,
    description: version.description ?? "",
    tags: textsOf(version.tags),
    stage: version.current_stage ?? "None",
    status: version.status ?? "READY",
    source: version.source ?? "",
    run: version.run_id || null,
    loggedModel: version.model_id || null,
    created: numberOf(version.creation_timestamp),
    updated: numberOf(version.last_updated_timestamp),
  };
}

/** Returns what it tells of an assessment of a trace. */
export function assessmentOf({
  assessment_name,
  source,
  ...held
}: AssessmentJSON): FoundAssessment {
  const text = held.expectation?.serialized_value?.value;
  return {
    id: held.assessment_id ?? "",
    name: assessment_name,
    kind: held.expectation ? "expectation" : held.feedback ? "feedback" : "issue",
    value:
      text === undefined
        ? held.issue
          ? held.issue.issue_name
          : (held.expectation ?? held.feedback)?.value
        : (JSON.parse(text) as unknown),
    error: errorOf(held.feedback?.error),
    metadata: held.metadata ?? {},
    span: held.span_id ?? null,
    overrides: held.overrides ?? null,
    valid: held.valid ?? true,
    created: Date.parse(held.create_time ?? "") || null,
    updated: Date.parse(held.last_update_time ?? "") || null,
    rationale: held.rationale ?? null,
    sourceType: source?.source_type ?? "",
    source: source?.source_id ?? "",
  };
}

/** Returns pairs as texts by name; absent text is empty. */
export const textsOf = (pairs: KeyValue[] | undefined): Tags =>
  Object.fromEntries((pairs ?? []).map(({ key, value }) => [key, value ?? ""]));

/** Returns an int64 as a number; null where it is absent. */
export const numberOf = (value: Int): number | null => (value === undefined ? null : Number(value));

/** A value as JSON has it; absent, it is protobuf's 0. */
export const valueOf = (value: number | string | undefined): number =>
  typeof value === "string" ? (parseFloatOfPython(value) ?? NaN) : (value ?? 0);
