import * as v from "valibot";
import { TextsSchema, type Tags } from "./config.ts";
import { ExperimentRef } from "./experiment.ts";
import { text } from "./parse.ts";
import { Time } from "./time.ts";

const traceStates = ["unspecified", "ok", "error", "running"] as const;
export type TraceState = (typeof traceStates)[number];

/** What one run through a program was asked, answered and took. */
export interface Trace {
  id: string;
  /** the id of its experiment */
  experiment: string;
  /** null where none was given */
  name: string | null;
  state: TraceState;
  /** ms since 1970 */
  started: number;
  /** ms; null while it is not known */
  duration: number | null;
  /** what was asked and answered, shortened; null where it is not known */
  request: string | null;
  response: string | null;
  /** the id that the asking program gave it; null for most */
  client: string | null;
  tags: Tags;
  metadata: Tags;
  /** the ids of the runs it was linked to */
  runs: string[];
  /** the versions of prompts it was linked to, as name/number */
  prompts: string[];
  assessments: Assessment[];
}

/** JSON as it came. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** What somebody says of a trace: feedback on what it did, what should have been expected, or an issue it shows. */
export interface Assessment {
  id: string;
  /** the id of its trace */
  trace: string;
  kind: "feedback" | "expectation" | "issue";
  name: string;
  value: Json;
  /** what kept the judge from judging; null for most */
  error: { code: string; message: string; stack: string } | null;
  source: { type: string; id: string };
  rationale: string | null;
  metadata: Tags;
  /** the id of the span it speaks of; null for the whole trace */
  span: string | null;
  /** the id of the assessment it takes the place of */
  overrides: string | null;
  /** false where another took its place */
  valid: boolean;
  created: number;
  updated: number;
}

/** Ids become parts of paths. */
const TraceId = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][\w.-]{0,127}$/, "expected letters, digits, -, _ and ."),
  v.check((id) => !id.includes(".."), "expected letters, digits, -, _ and ."),
);

const maybeText = (limit: number) => v.optional(v.nullable(text(limit)), null);

const maxValue = 100_000;

/** Whether a value's JSON is neither too long nor nested so deeply that it could not be written anew. */
const isShort = (value: unknown): boolean =>
  isShallow(value, 100) && JSON.stringify(value).length <= maxValue;

const isShallow = (value: unknown, depth: number): boolean =>
  typeof value !== "object" ||
  value === null ||
  (depth > 0 && Object.values(value).every((one) => isShallow(one, depth - 1)));

/** An assessment from elsewhere. */
const WholeAssessment = v.strictObject({
  id: v.pipe(text(50), v.minLength(1)),
  kind: v.picklist(["feedback", "expectation", "issue"]),
  name: text(250),
  value: v.custom<Json>(
    (value) => value !== undefined && isShort(value),
    `expected JSON of at most ${maxValue} characters`,
  ),
  error: v.optional(
    v.nullable(v.strictObject({ code: text(1_000), message: text(100_000), stack: text(100_000) })),
    null,
  ),
  source: v.strictObject({ type: text(50), id: text(250) }),
  rationale: maybeText(100_000),
  metadata: v.optional(TextsSchema, {}),
  span: maybeText(50),
  overrides: maybeText(50),
  valid: v.optional(v.boolean(), true),
  created: Time,
  updated: Time,
});

/** A trace from elsewhere, with what is said of it and its spans, or some of them, as OTLP has them in JSON. */
export const WholeTrace = v.strictObject({
  id: TraceId,
  experiment: ExperimentRef,
  name: maybeText(4_096),
  state: v.picklist(traceStates),
  started: Time,
  duration: v.optional(v.nullable(v.pipe(v.number(), v.safeInteger(), v.minValue(0))), null),
  request: maybeText(100_000),
  response: maybeText(100_000),
  client: maybeText(250),
  tags: v.optional(TextsSchema, {}),
  metadata: v.optional(TextsSchema, {}),
  assessments: v.optional(v.pipe(v.array(WholeAssessment), v.maxLength(1_000)), []),
  spans: v.optional(v.array(v.unknown()), []),
});
export type WholeTrace = v.InferInput<typeof WholeTrace>;
