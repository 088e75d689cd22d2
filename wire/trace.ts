import type { Tags } from "./config.ts";

export type TraceState = "unspecified" | "ok" | "error" | "running";

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
