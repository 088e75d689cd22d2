import { RecordBatchReader, type RecordBatch } from "apache-arrow";
import type { Experiment } from "../../wire/experiment.ts";
import { formatCursor } from "../../wire/cursor.ts";
import type { RunFile } from "../../wire/file.ts";
import type { Params, Tags } from "../../wire/config.ts";
import { maybeNumber, parseExactly } from "../../wire/json.ts";
import type { LoggedModel } from "../../wire/logged-model.ts";
import type { Model, ModelVersion } from "../../wire/model.ts";
import type { Points } from "../../wire/point.ts";
import type { RunLinks } from "../../wire/run-links.ts";
import type { Run } from "../../wire/run.ts";
import type { Trace } from "../../wire/trace.ts";
import type { Api } from "../api.ts";
import type {
  Found,
  FoundExperiment,
  FoundFile,
  FoundLoggedModel,
  FoundModel,
  FoundRun,
  FoundTrace,
  OnSkip,
} from "../import/found.ts";
import { promptTag } from "../import/mlflow-state.ts";
import { experimentIdTag, nameTag } from "../import/mlflow-tags.ts";
import { pagesOf } from "../import/pages.ts";
import { mapParallel } from "../import/parallel.ts";
import { sourceIdTag } from "../import/write-run.ts";
import { wordOfTraceState } from "../import/write-trace.ts";

/** What to read of a server. */
export interface AssayOptions {
  /** ids or names; defaults to all */
  experiments?: string[];
  onSkip?: OnSkip;
}

/**
 * Reads a server's experiments, runs, models and traces, archived and deleted ones too, in the form in which importers find a stranger's.
 * Ids are those that an import kept of where they came from, or else our own.
 */
export async function* readAssay(
  api: Api,
  { experiments, onSkip = () => undefined }: AssayOptions = {},
): AsyncGenerator<Found> {
  const all = experiments
    ? await mapParallel(
        experiments,
        (one) => api.json<Experiment>("GET", `/experiments/${encodeURIComponent(one)}`),
        8,
      )
    : await api.json<Experiment[]>("GET", "/experiments", { query: { archived: "true" } });
  // A run says its parent by our id; what it was elsewhere is known of all runs only then.
  const listed = await mapParallel(all, ({ id }) => runsOf(api, id), 8);
  const idOf = new Map(
    listed.flat().map(({ id, [`tags.${sourceIdTag}`]: source }) => [id, source ?? id]),
  );
  const runId = (id: string): string => idOf.get(id) ?? id;
  for (const [i, experiment] of all.entries()) {
    const found = foundExperiment(experiment);
    yield found;
    for (const { id } of listed[i]!)
      yield foundRun(api, await readRun(api, id), found.id, runId, onSkip);
    const query = { experiment: experiment.id };
    for await (const { models } of pagesOf<{ models: LoggedModel[] }>(api, "/logged-models", {
      query,
    }))
      for (const model of models) yield foundLoggedModel(api, model, found.id, runId);
    for await (const { traces } of pagesOf<{ traces: Trace[] }>(api, "/traces", { query }))
      for (const { id } of traces) yield foundTrace(await readTrace(api, id), found.id);
  }
  // Registered models belong to no experiment.
  if (experiments) return;
  for await (const { models } of pagesOf<{ models: Model[] }>(api, "/models"))
    for (const model of models) yield await foundModel(api, model, runId);
}

interface ListedRun {
  id: string;
  started: string;
  [sourceId: `tags.${string}`]: string | null;
}

/** Lists the runs of an experiment, oldest first; those deleted are told only as changes since the beginning. */
async function runsOf(api: Api, experiment: string): Promise<ListedRun[]> {
  const runs = await api.json<ListedRun[]>("GET", "/runs.json", {
    query: {
      experiment,
      columns: ["id", "started", `tags.${sourceIdTag}`],
      since: formatCursor([], undefined),
    },
  });
  return runs.toReversed();
}

/** A run, whose params that are numbers are the text by which the server has them, with what it read and made. */
type ReadRun = Run & { params: Params; links: RunLinks };

async function readRun(api: Api, id: string): Promise<ReadRun> {
  const text = await (await api.request("GET", `/runs/${id}`)).text();
  const asText = (_: string, value: unknown, { source }: { source?: string } = {}) =>
    typeof value === "number" ? (source ?? String(value)) : value;
  const { params } = JSON.parse(text, asText) as { params: Params };
  const links = await api.json<RunLinks>("GET", `/runs/${id}/links`);
  return { ...(JSON.parse(text) as Run), params, links };
}

function foundExperiment({ id, tags, ...rest }: Experiment): FoundExperiment {
  const { [experimentIdTag]: sourceId, ...others } = tags;
  return {
    kind: "experiment",
    id: sourceId ?? id,
    name: rest.name,
    note: rest.note,
    tags: others,
    created: rest.created,
    deleted: rest.archived !== null,
  };
}

function foundRun(
  api: Api,
  run: ReadRun,
  experiment: string,
  runId: (id: string) => string,
  onSkip: OnSkip,
): FoundRun {
  const { [sourceIdTag]: _, ...tags } = run.tags;
  if (run.lines)
    onSkip({
      what: "console",
      name: `run ${run.id}`,
      why: `${run.lines} lines have no place there`,
    });
  return {
    kind: "run",
    id: runId(run.id),
    experiment,
    name: run.name,
    state: run.state,
    params: run.params,
    paramsAreText: true,
    tags,
    note: run.note,
    parent: run.parent === null ? null : runId(run.parent),
    source: run.source,
    started: run.started,
    ended: run.ended,
    deleted: run.deleted !== null,
    inputs: run.links.datasets.map(({ type, schema, profile, ...dataset }) => ({
      ...dataset,
      sourceType: type,
      schema: schema || null,
      profile: profile || null,
    })),
    modelInputs: run.links.models.filter(({ role }) => role === "input").map(({ model }) => model),
    modelOutputs: run.links.models
      .filter(({ role }) => role === "output")
      .map(({ model, step }) => ({ model, step })),
    points: () => pointsOf(api, run),
    files: () => filesOf(api, `/runs/${run.id}`),
  };
}

async function* pointsOf(api: Api, run: Run): AsyncGenerator<Points> {
  if (run.points === 0) return;
  const response = await api.request("GET", "/points.arrow", { query: { run: run.id } });
  const reader = await RecordBatchReader.from(response.body!);
  for await (const batch of reader) if (batch.numRows) yield pointsOfBatch(batch);
}

function pointsOfBatch(batch: RecordBatch): Points {
  const key = batch.getChild("key")!.data[0]!;
  const column = (name: string) => batch.getChild(name)!.data[0]!;
  return {
    keys: Array.from(
      { length: key.dictionary!.length },
      (_, i) => key.dictionary!.get(i) as string,
    ),
    key: Uint32Array.from(key.values as Int32Array),
    step: Float64Array.from(column("step").values as Float64Array),
    time: Float64Array.from(column("time").values as BigInt64Array, Number),
    value: Float64Array.from(column("value").values as Float64Array),
  };
}

async function* filesOf(api: Api, place: string): AsyncGenerator<FoundFile> {
  const { files } = await api.json<{ files: RunFile[] }>("GET", `${place}/files`);
  for (const { path, size } of files) {
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    const open = async () => (await api.request("GET", `${place}/files/${encoded}`)).blob();
    yield { path, size, open };
  }
}

function foundLoggedModel(
  api: Api,
  model: LoggedModel,
  experiment: string,
  runId: (id: string) => string,
): FoundLoggedModel {
  return {
    kind: "loggedModel",
    id: model.id,
    experiment,
    name: model.name,
    status: model.state,
    type: model.type || null,
    run: model.run === null ? null : runId(model.run),
    created: model.created,
    updated: model.updated,
    params: model.params,
    tags: model.tags,
    metrics: model.points.map(({ run, value, ...point }) => ({
      ...point,
      value: maybeNumber(value) ?? NaN,
      run: run === "" ? null : runId(run),
    })),
    deleted: model.deleted !== null,
    files: () => filesOf(api, `/logged-models/${model.id}`),
  };
}

async function foundModel(
  api: Api,
  { name, note, tags, aliases, created, updated }: Model,
  runId: (id: string) => string,
): Promise<FoundModel> {
  const versions: ModelVersion[] = [];
  const path = `/models/${encodeURIComponent(name)}`;
  for await (const page of pagesOf<{ versions: ModelVersion[] }>(api, path, { cursor: "before" }))
    versions.push(...page.versions);
  return {
    kind: "model",
    name,
    description: note,
    tags,
    aliases: Object.fromEntries(
      Object.entries(aliases).map(([alias, number]) => [alias, String(number)]),
    ),
    versions: versions.toReversed().map((version) => ({
      version: String(version.number),
      description: version.note,
      tags: version.tags,
      stage: version.stage,
      status: "READY",
      source: version.source,
      run: version.run === null ? null : runId(version.run),
      loggedModel: version.built,
      created: version.created,
      updated: version.updated,
    })),
    isPrompt: tags[promptTag] === "true",
    created,
    updated,
  };
}

/** A trace with its spans, whose attributes are JSON by name. */
type ReadTrace = Trace & { spans: ReadSpan[] };

interface ReadSpan {
  id: string;
  parent: string | null;
  name: string;
  status: string;
  start: string;
  end: string;
  message: string;
  attributes: Record<string, unknown>;
  events: { name: string; time: string; attributes: Record<string, unknown> }[];
  links: { trace: string; span: string; attributes: Record<string, unknown> }[];
}

/** Reads a trace; whole numbers in its attributes keep all their digits. */
async function readTrace(api: Api, id: string): Promise<ReadTrace> {
  const text = await (await api.request("GET", `/traces/${encodeURIComponent(id)}`)).text();
  const exact = parseExactly(text) as ReadTrace;
  return { ...(JSON.parse(text) as ReadTrace), spans: exact.spans };
}

const jsonByName = (values: Record<string, unknown>): Tags =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, JSON.stringify(value)]));

function foundTrace({ name, spans, ...trace }: ReadTrace, experiment: string): FoundTrace {
  return {
    kind: "trace",
    id: trace.id,
    experiment,
    state: wordOfTraceState(trace.state),
    started: trace.started,
    duration: trace.duration,
    client: trace.client,
    requestPreview: trace.request,
    responsePreview: trace.response,
    tags: { ...trace.tags, ...(name === null ? {} : { [nameTag]: name }) },
    metadata: trace.metadata,
    spans: spans.map(({ start, end, ...span }) => ({
      id: span.id,
      parent: span.parent,
      name: span.name,
      started: BigInt(start),
      ended: BigInt(end),
      status: span.status,
      message: span.message,
      attributes: jsonByName(span.attributes),
      events: span.events.map((event) => ({
        name: event.name,
        time: BigInt(event.time),
        attributes: jsonByName(event.attributes),
      })),
      links: span.links.map((link) => ({ ...link, attributes: jsonByName(link.attributes) })),
    })),
    assessments: trace.assessments.map(({ source, trace: _, ...said }) => ({
      ...said,
      sourceType: source.type,
      source: source.id,
    })),
  };
}
