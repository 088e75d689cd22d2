import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type {
  Found,
  FoundFile,
  FoundLoggedModel,
  FoundRun,
  FoundTrace,
} from "../../../client/import/found.ts";
import { tagsFromFields } from "../../../client/import/mlflow-tags.ts";

export const fixtures = join(import.meta.dirname, "../../files/mlflow");

/** What was logged into a store, noted while that was done; the file's `conventions` explain its fields. */
export const expectedOf = (store: string): any =>
  JSON.parse(readFileSync(join(fixtures, `${store}.expected.json`), "utf8"));

/** Gathers what a reader finds, by kind. */
export async function gather(found: AsyncIterable<Found>) {
  const all: Found[] = await Array.fromAsync(found);
  const of = <Kind extends Found["kind"]>(kind: Kind) =>
    all.filter((one): one is Extract<Found, { kind: Kind }> => one.kind === kind);
  return {
    experiments: of("experiment"),
    runs: of("run"),
    loggedModels: of("loggedModel"),
    models: of("model"),
    traces: of("trace"),
    evaluationDatasets: of("evaluationDataset"),
  };
}

export type Point = [time: number, step: number, value: number | string];

/** The points of a run by key, in the order logged. */
export async function pointsOf(run: FoundRun): Promise<Record<string, Point[]>> {
  const byKey: Record<string, Point[]> = {};
  for await (const { keys, key, step, time, value } of run.points())
    for (let i = 0; i < key.length; i++)
      (byKey[keys[key[i]!]!] ??= []).push([
        time[i]!,
        step[i]!,
        Number.isFinite(value[i]!) ? value[i]! : String(value[i]!),
      ]);
  return byKey;
}

export async function filesOf(files: AsyncIterable<FoundFile>) {
  const found = await Array.fromAsync(files, async ({ path, open }) => {
    const bytes = new Uint8Array(await (await open()).arrayBuffer());
    return {
      path,
      size: bytes.length,
      sha256: createHash("sha256").update(bytes).digest("hex"),
    };
  });
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** A run in the form of expected.json, without its metrics and files. */
export const plainRun = (run: FoundRun) => ({
  run_id: run.id,
  experiment_id: run.experiment,
  name: run.name,
  status: run.state.toUpperCase(),
  lifecycle_stage: run.deleted ? "deleted" : "active",
  start_time: run.started,
  end_time: run.ended,
  parent_run_id: run.parent,
  params: run.params,
  tags: tagsFromFields(run),
  inputs: run.inputs
    .map(({ sourceType, ...input }) => ({ ...input, source_type: sourceType }))
    .sort(byText),
  model_inputs: run.modelInputs,
  model_outputs: run.modelOutputs.map(({ model, step }) => ({ model_id: model, step })),
});

export const plainExpectedRun = (run: any) => ({
  run_id: run.run_id,
  experiment_id: run.experiment_id,
  name: run.name,
  status: run.status,
  lifecycle_stage: run.lifecycle_stage,
  start_time: run.start_time,
  end_time: run.end_time,
  parent_run_id: run.parent_run_id,
  params: run.params,
  tags: { ...run.other_tags, ...run.tags },
  inputs: run.inputs.toSorted(byText),
  model_inputs: run.model_inputs,
  model_outputs: run.model_outputs,
});

const byText = (a: object, b: object): number => {
  const [x, y] = [a, b].map((one) =>
    JSON.stringify(Object.entries(one).sort(([c], [d]) => (c < d ? -1 : 1))),
  );
  return x! < y! ? -1 : 1;
};

const largest = Number.MAX_VALUE;

/** The points as a store keeps them: a database has no exact duplicates, no infinity and no −0. */
export function storedPoints(points: Point[], kind: "file" | "sql"): Point[] {
  if (kind === "file") return points;
  const clamped = points.map(([time, step, value]): Point => [
    time,
    step,
    value === "Infinity" ? largest : value === "-Infinity" ? -largest : value === 0 ? 0 : value,
  ]);
  return [...new Map(clamped.map((point) => [String(point), point])).values()];
}

/** Points as Python's json writes them, which is what expected.json has a hash of. */
export function hashOfPoints(points: Point[]): string {
  const text = points.map(([time, step, value]) => `[${time},${step},${floatOfPython(value)}]`);
  return createHash("sha256").update(`[${text.join()}]`).digest("hex");
}

/** Python's repr of a float in JSON: always with a point or an exponent, which has two digits or more. */
function floatOfPython(value: number | string): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Object.is(value, -0)) return "-0.0";
  const [digits, exponent = ""] = value.toExponential().split("e") as [string, string?];
  const power = Number(exponent);
  if (value !== 0 && (power < -4 || power >= 16))
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  const text =
    power < 0
      ? value.toFixed(Math.max(0, -power + (digits.replace(/[-.]/g, "").length - 1)))
      : String(value);
  return text.includes(".") ? text : `${text}.0`;
}

export const plainLoggedModel = (model: FoundLoggedModel) => ({
  model_id: model.id,
  name: model.name,
  experiment_id: model.experiment,
  lifecycle_stage: model.deleted ? "deleted" : "active",
  status: model.status.toUpperCase(),
  model_type: model.type,
  source_run_id: model.run,
  params: model.params,
  tags: model.tags,
});

export const plainTrace = (trace: FoundTrace) => ({
  trace_id: trace.id,
  experiment_id: trace.experiment,
  state: trace.state,
  request_preview: trace.requestPreview,
  response_preview: trace.responsePreview,
  execution_duration_ms: trace.duration,
  request_time_ms: trace.started,
  tags: trace.tags,
  metadata: trace.metadata,
  spans: trace.spans.map(({ name, status, parent, attributes, events }) => ({
    name,
    type: JSON.parse(attributes["mlflow.spanType"] ?? "null"),
    status: `SpanStatusCode.${status}`,
    parent: parent !== null,
    inputs: JSON.parse(attributes["mlflow.spanInputs"] ?? "null"),
    events: events.map(({ name }) => name),
  })),
  assessments: trace.assessments
    .map(({ name, value, rationale, sourceType, source, kind }) => ({
      name,
      value,
      rationale,
      source: [sourceType, source],
      kind,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1)),
});
