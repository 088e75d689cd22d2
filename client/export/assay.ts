import { RecordBatchReader, type RecordBatch } from "apache-arrow";
import type { Experiment } from "../../wire/experiment.ts";
import { formatCursor } from "../../wire/cursor.ts";
import type { RunFile } from "../../wire/file.ts";
import type { Params } from "../../wire/config.ts";
import type { Points } from "../../wire/point.ts";
import type { Run } from "../../wire/run.ts";
import type { Api } from "../api.ts";
import type { Found, FoundExperiment, FoundFile, FoundRun, OnSkip } from "../import/found.ts";
import { experimentIdTag } from "../import/mlflow-tags.ts";
import { mapParallel } from "../import/parallel.ts";
import { sourceIdTag } from "../import/write-run.ts";

/** What to read of a server. */
export interface AssayOptions {
  /** ids or names; defaults to all */
  experiments?: string[];
  onSkip?: OnSkip;
}

/**
 * Reads a server's experiments and runs, archived and deleted ones too, in the form in which importers find a stranger's.
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
  for (const [i, experiment] of all.entries()) {
    const found = foundExperiment(experiment);
    yield found;
    for (const { id } of listed[i]!)
      yield foundRun(api, await readRun(api, id), found.id, idOf, onSkip);
  }
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

/** A run, whose params that are numbers are the text by which the server has them. */
type ReadRun = Run & { params: Params };

async function readRun(api: Api, id: string): Promise<ReadRun> {
  const text = await (await api.request("GET", `/runs/${id}`)).text();
  const asText = (_: string, value: unknown, { source }: { source?: string } = {}) =>
    typeof value === "number" ? (source ?? String(value)) : value;
  const { params } = JSON.parse(text, asText) as { params: Params };
  return { ...(JSON.parse(text) as Run), params };
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
  idOf: Map<string, string>,
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
    id: idOf.get(run.id) ?? run.id,
    experiment,
    name: run.name,
    state: run.state,
    params: run.params,
    paramsAreText: true,
    tags,
    note: run.note,
    parent: run.parent === null ? null : (idOf.get(run.parent) ?? run.parent),
    source: run.source,
    started: run.started,
    ended: run.ended,
    deleted: run.deleted !== null,
    inputs: [],
    modelInputs: [],
    modelOutputs: [],
    points: () => pointsOf(api, run),
    files: () => filesOf(api, run.id),
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

async function* filesOf(api: Api, run: string): AsyncGenerator<FoundFile> {
  const { files } = await api.json<{ files: RunFile[] }>("GET", `/runs/${run}/files`);
  for (const { path, size } of files) {
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    const open = async () => (await api.request("GET", `/runs/${run}/files/${encoded}`)).blob();
    yield { path, size, open };
  }
}
