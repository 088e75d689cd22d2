import { ApiError } from "../../wire/error.ts";
import type { Assessment, Json } from "../../wire/trace.ts";
import { checkLength, cut } from "./limits.ts";
import { formatTimestamp, timestamp } from "./protobuf-time.ts";
import { boolean, json, map, message, orElse, string, type Of } from "./request.ts";

/** An assessment as it is sent. */
export const AssessmentMessage = message({
  assessment_id: string,
  assessment_name: orElse(string, ""),
  span_id: string,
  source: message({ source_type: orElse(string, ""), source_id: orElse(string, "") }),
  create_time: timestamp,
  last_update_time: timestamp,
  feedback: message({
    value: json,
    error: message({
      error_code: orElse(string, ""),
      error_message: orElse(string, ""),
      stack_trace: orElse(string, ""),
    }),
  }),
  expectation: message({
    value: json,
    serialized_value: message({
      serialization_format: orElse(string, ""),
      value: orElse(string, ""),
    }),
  }),
  issue: message({ issue_name: orElse(string, "") }),
  rationale: string,
  metadata: map(orElse(string, "")),
  overrides: string,
  valid: boolean,
});

type SentAssessment = Exclude<Of<typeof AssessmentMessage>, undefined>;

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** An assessment's text is kept up to so many characters. */
const maxText = 100_000;

/** Returns what an assessment of a trace says, with an id where it has none. */
export function assessmentOf(sent: SentAssessment, trace: string, now = Date.now()): Assessment {
  const metadata = Object.fromEntries(sent.metadata);
  const kind = sent.expectation ? "expectation" : sent.feedback ? "feedback" : "issue";
  if (kind === "issue" && !sent.issue) throw invalid("Unknown assessment type: None");
  const value = valueOf(sent);
  checkSize([value, metadata], maxText);
  checkLength(sent.assessment_name, "assessment_name", 250);
  return {
    id: checkLength(
      sent.assessment_id || `a-${crypto.randomUUID().replaceAll("-", "")}`,
      "assessment_id",
      50,
    ),
    trace,
    kind,
    name: sent.assessment_name,
    value,
    error: errorOf(sent),
    source: {
      type: checkLength(sent.source?.source_type || "CODE", "source_type", 50),
      id: checkLength(sent.source?.source_id || "default", "source_id", 250),
    },
    rationale: sent.rationale === undefined ? null : cut(sent.rationale, maxText),
    metadata,
    span: sent.span_id || null,
    overrides: sent.overrides || null,
    valid: sent.valid ?? true,
    created: sent.create_time ?? now,
    updated: sent.last_update_time ?? now,
  };
}

function valueOf({ expectation, feedback, issue }: SentAssessment): Json {
  if (feedback && !expectation) return (feedback.value ?? null) as Json;
  if (issue && !expectation) return issue.issue_name;
  if (!expectation?.serialized_value) return (expectation?.value ?? null) as Json;
  const { serialization_format: format, value } = expectation.serialized_value;
  if (format !== "JSON_FORMAT")
    throw invalid(`Unknown serialization format: ${format}. Only JSON_FORMAT is supported.`);
  try {
    return JSON.parse(value) as Json;
  } catch {
    throw invalid("Malformed JSON in the value of an expectation");
  }
}

/** Throws where something is too large to be kept, or nested so deeply that it cannot be written down. */
function checkSize(value: unknown, limit: number): void {
  let size = Infinity;
  try {
    size = JSON.stringify(value).length;
  } catch {
    // The stack has an end.
  }
  if (size > limit) throw invalid(`An assessment is too large: ${size} characters, limit ${limit}`);
}

function errorOf({ feedback }: SentAssessment): Assessment["error"] {
  if (!feedback?.error) return null;
  const { error_code, error_message, stack_trace } = feedback.error;
  return { code: error_code, message: error_message, stack: cut(stack_trace, maxText) };
}

/** Returns an assessment with the fields that an update_mask names taken from what is sent. */
export function updatedAssessment(
  before: Assessment,
  sent: SentAssessment,
  mask: string,
  now = Date.now(),
): Assessment {
  const fields = new Set(
    mask.split(",").map((path) => path.trim().replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)),
  );
  for (const kind of ["expectation", "feedback"] as const)
    if (fields.has(kind) && before.kind !== kind)
      throw invalid(
        kind === "expectation"
          ? "Cannot update expectation value on a Feedback assessment."
          : "Cannot update feedback value on an Expectation assessment.",
      );
  const isValued = fields.has(before.kind) && sent[before.kind] !== undefined;
  const after = {
    ...before,
    ...(fields.has("assessment_name") ? { name: sent.assessment_name } : {}),
    ...(isValued ? { value: valueOf(sent), error: errorOf(sent) } : {}),
    ...(fields.has("rationale") ? { rationale: sent.rationale ?? "" } : {}),
    ...(fields.has("metadata")
      ? { metadata: { ...before.metadata, ...Object.fromEntries(sent.metadata) } }
      : {}),
    ...(fields.has("valid") && sent.valid !== undefined ? { valid: sent.valid } : {}),
    updated: now,
  };
  checkSize(after, 4 * maxText);
  return after;
}

/** Our assessment as MLflow writes it. */
export const assessmentJSON = (assessment: Assessment) => ({
  assessment_id: assessment.id,
  assessment_name: assessment.name,
  trace_id: assessment.trace,
  span_id: assessment.span ?? undefined,
  source: { source_type: assessment.source.type, source_id: assessment.source.id },
  create_time: formatTimestamp(assessment.created),
  last_update_time: formatTimestamp(assessment.updated),
  ...valueJSON(assessment),
  rationale: assessment.rationale ?? undefined,
  metadata: Object.keys(assessment.metadata).length ? assessment.metadata : undefined,
  overrides: assessment.overrides ?? undefined,
  valid: assessment.valid,
});

function valueJSON({ kind, value, error }: Assessment): object {
  if (kind === "issue") return { issue: { issue_name: value } };
  if (kind === "feedback")
    return {
      feedback: {
        value,
        error: error
          ? {
              error_code: error.code,
              error_message: error.message || undefined,
              stack_trace: error.stack || undefined,
            }
          : undefined,
      },
    };
  if (typeof value !== "object" || value === null) return { expectation: { value } };
  const serialized = { serialization_format: "JSON_FORMAT", value: JSON.stringify(value) };
  return { expectation: { serialized_value: serialized } };
}
