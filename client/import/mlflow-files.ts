import type { Tags } from "../../wire/config.ts";
import type { Points } from "../../wire/point.ts";
import type { Found, FoundExperiment, FoundInput, FoundRun, OnSkip } from "./found.ts";
import { Lots } from "./lots.ts";
import { artifactsOf, type ArtifactPlaces } from "./mlflow-artifacts.ts";
import { readLoggedModel, readModels } from "./mlflow-files-models.ts";
import { readTrace } from "./mlflow-files-traces.ts";
import { numberOf, textOf, textsOf, type Meta } from "./mlflow-meta.ts";
import { parseMetricLine } from "./mlflow-metrics.ts";
import { stateFromMlflow } from "./mlflow-state.ts";
import { MlflowStore } from "./mlflow-store.ts";
import { fieldsFromTags, noteTag } from "./mlflow-tags.ts";
import { mapParallel } from "./parallel.ts";
import { joined, type Tree } from "./tree.ts";

/** How to read a file store. */
export interface FileStoreOptions extends ArtifactPlaces {
  onSkip?: OnSkip;
}

/** Folders of an experiment that are no runs. */
const reserved = ["tags", "datasets", "traces", "models", "assessments"];

/** Reads MLflow's file store: a folder `mlruns`, or one that holds it, of any version since 0.1. */
export async function* readMlflowFiles(
  given: Tree,
  { onSkip = () => undefined, ...places }: FileStoreOptions = {},
): AsyncGenerator<Found> {
  const store = new MlflowStore(await storeIn(given), onSkip, places);
  const runs = new Set<string>();
  for (const folder of await experimentFolders(store)) yield* readExperiment(store, folder, runs);
  yield* readModels(store);
}

/** Returns the store itself where a folder around it is given. */
async function storeIn(tree: Tree): Promise<Tree> {
  const entries = await tree.list("");
  for (const { name, kind } of entries)
    if (kind === "folder" && (name === ".trash" || (await hasMeta(tree, name)))) return tree;
  const inner = entries.find(({ name, kind }) => name === "mlruns" && kind === "folder");
  return inner ? tree.within(inner.name) : tree;
}

const hasMeta = async (tree: Tree, folder: string): Promise<boolean> =>
  (await tree.list(folder)).some(({ name, kind }) => name === "meta.yaml" && kind === "file");

/** The folders of experiments, the deleted ones last. */
async function experimentFolders(store: MlflowStore): Promise<string[]> {
  const active = (await store.folders("")).filter(
    (name) => !name.startsWith(".") && name !== "models",
  );
  const deleted = await store.folders(".trash");
  return [...active, ...deleted.map((name) => `.trash/${name}`)];
}

/** Reads an experiment with all it holds; `seen` gains the ids of its runs. */
async function* readExperiment(
  store: MlflowStore,
  folder: string,
  seen: Set<string>,
): AsyncGenerator<Found> {
  const meta = await store.meta("experiment", folder);
  if (!meta) return;
  const id = idIn(meta, ["experiment_id"], folder, /^\d+$/);
  if (id === undefined) {
    store.skip({ what: "experiment", name: folder, why: "meta.yaml: no experiment_id" });
    return;
  }
  const experiment = await experimentOf(store, { folder, meta, id });
  yield experiment;
  const names = await store.folders(folder);
  const runs = names.filter((name) => !reserved.includes(name) && !name.startsWith("."));
  const found = await mapParallel(
    runs,
    async (name) => ({
      folder: joined(folder, name),
      meta: await store.meta("run", joined(folder, name)),
    }),
    8,
  );
  const known = found.flatMap(({ folder, meta }) => (meta ? [{ folder, meta }] : []));
  const started = ({ meta }: { meta: Meta }) => numberOf(meta, "start_time") ?? 0;
  for (const run of known.sort((a, b) => started(a) - started(b))) {
    const id = idIn(run.meta, ["run_id", "run_uuid"], run.folder, /^[0-9a-f]{32}$/);
    const skip = (why: string) => store.skip({ what: "run", name: run.folder, why });
    if (id === undefined) skip("meta.yaml: no run_id");
    else if (seen.has(id)) skip(`another run has its id: ${id}`);
    else {
      seen.add(id);
      yield await readRun(store, { ...run, id }, experiment);
    }
  }
  for (const name of await store.folders(joined(folder, "models")))
    yield* readLoggedModel(store, joined(folder, `models/${name}`), experiment);
  for (const name of await store.folders(joined(folder, "traces")))
    yield* readTrace(store, joined(folder, `traces/${name}`), experiment);
}

async function experimentOf(
  store: MlflowStore,
  { folder, meta, id }: { folder: string; meta: Meta; id: string },
): Promise<FoundExperiment> {
  const { [noteTag]: note = "", ...tags } = await store.texts(joined(folder, "tags"));
  return {
    kind: "experiment",
    id,
    name: textOf(meta, "name") || id,
    note,
    tags,
    created: numberOf(meta, "creation_time"),
    deleted: folder.startsWith(".trash/") || textOf(meta, "lifecycle_stage") === "deleted",
  };
}

async function readRun(
  store: MlflowStore,
  { folder, meta, id }: { folder: string; meta: Meta; id: string },
  { id: experiment }: FoundExperiment,
): Promise<FoundRun> {
  const isOld = textOf(meta, "run_id") === null;
  const params = await store.texts(joined(folder, "params"));
  const { name, ...fields } = fieldsFromTags({
    ...tagsOfOldMeta(meta, isOld),
    ...withoutEnds(await store.texts(joined(folder, "tags")), isOld),
  });
  return {
    kind: "run",
    id,
    experiment,
    name: textOf(meta, "run_name") || name || textOf(meta, "name") || "",
    state: stateFromMlflow(textOf(meta, "status")),
    params: withoutEnds(params, isOld),
    paramsAreText: true,
    ...fields,
    started: numberOf(meta, "start_time"),
    ended: numberOf(meta, "end_time") || null,
    deleted: textOf(meta, "lifecycle_stage") === "deleted",
    ...(await linksOf(store, folder)),
    points: () => pointsIn(store, id, joined(folder, "metrics")),
    files: () =>
      artifactsOf(
        {
          tree: store.tree,
          folder: joined(folder, "artifacts"),
          uri: textOf(meta, "artifact_uri") ?? "",
          id,
        },
        store.places,
        store.skip,
      ),
  };
}

async function linksOf(
  store: MlflowStore,
  folder: string,
): Promise<Pick<FoundRun, "inputs" | "modelInputs" | "modelOutputs">> {
  const inputs: FoundInput[] = [];
  const modelInputs: string[] = [];
  const modelOutputs: FoundRun["modelOutputs"] = [];
  for (const name of await store.folders(joined(folder, "inputs"))) {
    const meta = await store.meta("input", joined(folder, `inputs/${name}`));
    const source = meta && textOf(meta, "source_id");
    if (!source) continue;
    if (textOf(meta, "source_type") === "DATASET")
      inputs.push(...(await inputsFrom(store, folder, source, textsOf(meta, "tags"))));
    else modelInputs.push(source);
  }
  for (const name of await store.folders(joined(folder, "outputs"))) {
    const meta = await store.meta("output", joined(folder, `outputs/${name}`));
    if (meta)
      modelOutputs.push({
        model: textOf(meta, "destination_id") ?? name,
        step: numberOf(meta, "step") ?? 0,
      });
  }
  return { inputs, modelInputs, modelOutputs };
}

async function inputsFrom(
  store: MlflowStore,
  run: string,
  dataset: string,
  tags: Tags,
): Promise<FoundInput[]> {
  const experiment = run.slice(0, run.lastIndexOf("/"));
  const meta = await store.meta("dataset", joined(experiment, `datasets/${dataset}`));
  if (!meta) return [];
  return [
    {
      name: textOf(meta, "name") ?? "",
      digest: textOf(meta, "digest") ?? "",
      sourceType: textOf(meta, "source_type") ?? "",
      source: textOf(meta, "source") ?? "",
      schema: textOf(meta, "schema"),
      profile: textOf(meta, "profile"),
      tags,
    },
  ];
}

async function* pointsIn(store: MlflowStore, run: string, folder: string): AsyncGenerator<Points> {
  const lots = new Lots();
  for await (const { path: key, lines } of store.metricFiles(folder)) {
    let unreadable = 0;
    let ofDatasets = 0;
    for await (const some of lines)
      for (const line of some) {
        const point = parseMetricLine(line);
        if (!point) {
          unreadable += Number(line !== "");
          continue;
        }
        if (point.rest.length > 0) ofDatasets++;
        const lot = lots.add(key, point.step, point.time, point.value);
        if (lot) yield lot;
      }
    const name = `${key} of run ${run}`;
    if (unreadable)
      store.skip({
        what: "points",
        name,
        why: `${unreadable} lines hold no number and time`,
      });
    if (ofDatasets)
      store.skip({
        what: "link",
        name,
        why: `a point has no dataset of its own: ${ofDatasets} of them`,
      });
  }
  const rest = lots.take();
  if (rest) yield rest;
}

/** Returns the id that a meta.yaml holds in the first of these fields that is there, or else its folder's name, where that can be one. */
function idIn(meta: Meta, fields: string[], folder: string, form: RegExp): string | undefined {
  const name = folder.slice(folder.lastIndexOf("/") + 1);
  const held = fields.map((field) => textOf(meta, field)).find((text) => text !== null);
  return held ?? (form.test(name) ? name : undefined);
}

/** Before 1.0, MLflow ended each file of a param or tag with a line's end; files of one line that end as Windows ends lines went through it. */
function withoutEnds(texts: Tags, isOld: boolean): Tags {
  const trimmed = ([key, text]: [string, string]) =>
    [key, isOld ? text.replace(/\r?\n$/, "") : text.replace(/^([^\r\n]*)\r\n$/, "$1")] as const;
  return Object.fromEntries(Object.entries(texts).map(trimmed));
}

/** Before 1.0, a run's meta.yaml held what tags hold since. */
function tagsOfOldMeta(meta: Meta, isOld: boolean): Tags {
  const list = Array.isArray(meta["tags"]) ? meta["tags"] : [];
  const listed = list.flatMap((tag): [string, string][] =>
    typeof tag === "object" && tag !== null && !Array.isArray(tag)
      ? [[textOf(tag, "key") ?? "", textOf(tag, "value") ?? ""]]
      : [],
  );
  if (!isOld) return Object.fromEntries(listed);
  const types = ["NOTEBOOK", "JOB", "PROJECT", "LOCAL", "UNKNOWN"];
  const fields = {
    "mlflow.user": textOf(meta, "user_id"),
    "mlflow.source.name": textOf(meta, "source_name"),
    "mlflow.source.type": types[(numberOf(meta, "source_type") ?? 0) - 1],
    "mlflow.source.git.commit": textOf(meta, "source_version"),
    "mlflow.project.entryPoint": textOf(meta, "entry_point_name"),
  };
  return Object.fromEntries([
    ...Object.entries(fields).flatMap(([key, text]) => (text ? [[key, text] as const] : [])),
    ...listed,
  ]);
}
