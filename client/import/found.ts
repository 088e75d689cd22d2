import type { Params, Tags } from "../../wire/config.ts";
import type { Points } from "../../wire/point.ts";
import type { RunState } from "../../wire/run.ts";

/**
 * What a reader finds in another tracker's files, in the words of our own nouns: any importer gives a stream of these,
 * and any exporter takes one. Experiments come before their runs, and a run's points and files are read only when asked
 * for. Ids are the other tracker's.
 */
export type Found =
  | FoundExperiment
  | FoundRun
  | FoundLoggedModel
  | FoundModel
  | FoundTrace
  | FoundEvaluationDataset;

export interface FoundExperiment {
  kind: "experiment";
  id: string;
  name: string;
  note: string;
  tags: Tags;
  /** ms since 1970; null where it is not known */
  created: number | null;
  deleted: boolean;
}

export interface FoundRun {
  kind: "run";
  id: string;
  /** the id of its experiment */
  experiment: string;
  /** "" where it has none */
  name: string;
  state: RunState;
  params: Params;
  /** whether the tracker keeps params as text alone, so that one may stand for a number */
  paramsAreText: boolean;
  tags: Tags;
  note: string;
  /** the id of the run it belongs to */
  parent: string | null;
  /** what started it */
  source: string;
  /** ms since 1970 */
  started: number | null;
  ended: number | null;
  deleted: boolean;
  /** the datasets it read */
  inputs: FoundInput[];
  /** the logged models it read, and those it made, by id */
  modelInputs: string[];
  modelOutputs: { model: string; step: number }[];
  /** its points in lots that one request can carry, those of a key in the order logged */
  points(): AsyncIterable<Points>;
  files(): AsyncIterable<FoundFile>;
}

/** A file, read when asked for. */
export interface FoundFile {
  path: string;
  /** bytes; undefined where only reading tells */
  size?: number | undefined;
  open(): Promise<Blob>;
}

/** A dataset that a run read, and in what part. */
export interface FoundInput {
  name: string;
  digest: string;
  sourceType: string;
  source: string;
  schema: string | null;
  profile: string | null;
  tags: Tags;
}

/** A model that a run made, before anyone registers it. */
export interface FoundLoggedModel {
  kind: "loggedModel";
  id: string;
  experiment: string;
  name: string;
  status: "pending" | "ready" | "failed";
  type: string | null;
  /** the id of the run that made it */
  run: string | null;
  created: number | null;
  updated: number | null;
  params: Tags;
  tags: Tags;
  metrics: FoundModelMetric[];
  deleted: boolean;
  files(): AsyncIterable<FoundFile>;
}

/** One value of a metric of a logged model. */
export interface FoundModelMetric {
  key: string;
  step: number;
  time: number;
  value: number;
  run: string | null;
  dataset: { name: string; digest: string } | null;
}

/** A registered model or, where its text is what is versioned, a prompt. */
export interface FoundModel {
  kind: "model";
  name: string;
  description: string;
  tags: Tags;
  /** versions by movable name */
  aliases: Record<string, string>;
  versions: FoundVersion[];
  isPrompt: boolean;
  created: number | null;
  updated: number | null;
}

export interface FoundVersion {
  version: string;
  description: string;
  tags: Tags;
  stage: string;
  status: string;
  source: string;
  run: string | null;
  loggedModel: string | null;
  created: number | null;
  updated: number | null;
}

export interface FoundTrace {
  kind: "trace";
  id: string;
  experiment: string;
  state: string;
  /** ms since 1970, and how many of them it took */
  started: number;
  duration: number | null;
  /** the id that the asking program gave it */
  client: string | null;
  requestPreview: string | null;
  responsePreview: string | null;
  tags: Tags;
  metadata: Tags;
  spans: FoundSpan[];
  assessments: FoundAssessment[];
}

export interface FoundSpan {
  id: string;
  /** the id of the span around it */
  parent: string | null;
  name: string;
  /** ns since 1970, whose digits a number cannot hold */
  started: bigint;
  ended: bigint;
  /** OK, ERROR or UNSET */
  status: string;
  /** what went wrong */
  message: string;
  /** by name; each value is JSON */
  attributes: Tags;
  events: FoundEvent[];
  links: { trace: string; span: string; attributes: Tags }[];
}

/** What happened during a span. */
interface FoundEvent {
  name: string;
  /** ns since 1970 */
  time: bigint;
  attributes: Tags;
}

/** What a person or a program thinks of a trace. */
export interface FoundAssessment {
  id: string;
  name: string;
  kind: "feedback" | "expectation" | "issue";
  value: unknown;
  /** what kept a program from judging */
  error: { code: string; message: string; stack: string } | null;
  rationale: string | null;
  sourceType: string;
  source: string;
  metadata: Tags;
  /** the id of the span it speaks of */
  span: string | null;
  /** the id of the one it takes the place of */
  overrides: string | null;
  /** false where another took its place */
  valid: boolean;
  created: number | null;
  updated: number | null;
}

/** Questions with expected answers; of these only how many there are is read. */
export interface FoundEvaluationDataset {
  kind: "evaluationDataset";
  id: string;
  name: string;
  records: number;
  experiments: string[];
}

/** Something that is not imported, and why. */
export interface Skip {
  /** its noun, such as "param" */
  what: string;
  /** which one, and of what */
  name: string;
  why: string;
}

/** Is told what a reader passes over. */
export type OnSkip = (skip: Skip) => void;
