import type {
  FoundExperiment,
  FoundLoggedModel,
  FoundModel,
  FoundModelMetric,
  FoundVersion,
} from "./found.ts";
import { artifactsOf } from "./mlflow-artifacts.ts";
import { numberOf, textOf, textsOf, type Meta } from "./mlflow-meta.ts";
import { parseMetricLine, type MetricLine } from "./mlflow-metrics.ts";
import { deletedStage, modelStateFromMlflow, promptTag } from "./mlflow-state.ts";
import type { MlflowStore } from "./mlflow-store.ts";
import { mapParallel } from "./parallel.ts";
import { joined } from "./tree.ts";

/** Reads a logged model; yields none where its folder says nothing. */
export async function* readLoggedModel(
  store: MlflowStore,
  folder: string,
  { id: experiment }: FoundExperiment,
): AsyncGenerator<FoundLoggedModel> {
  const meta = await store.meta("logged model", folder);
  if (!meta) return;
  const id = textOf(meta, "model_id") ?? folder.split("/").at(-1)!;
  yield {
    kind: "loggedModel",
    id,
    experiment,
    name: textOf(meta, "name") ?? "",
    status: modelStateFromMlflow(textOf(meta, "status")),
    type: textOf(meta, "model_type"),
    run: textOf(meta, "source_run_id"),
    created: numberOf(meta, "creation_timestamp"),
    updated: numberOf(meta, "last_updated_timestamp"),
    params: await store.texts(joined(folder, "params")),
    tags: await store.texts(joined(folder, "tags")),
    metrics: await Array.fromAsync(modelMetrics(store, joined(folder, "metrics"))),
    deleted: textOf(meta, "lifecycle_stage") === "deleted",
    files: () =>
      artifactsOf(
        {
          tree: store.tree,
          folder: joined(folder, "artifacts"),
          uri: textOf(meta, "artifact_location") ?? "",
          id,
        },
        store.places,
        store.skip,
      ),
  };
}

async function* modelMetrics(store: MlflowStore, folder: string): AsyncGenerator<FoundModelMetric> {
  for await (const { path: key, lines } of store.metricFiles(folder))
    for await (const some of lines)
      for (const line of some) {
        const point = parseMetricLine(line);
        if (point) yield modelMetric(key, point);
      }
}

function modelMetric(key: string, { time, value, step, rest }: MetricLine): FoundModelMetric {
  const [run = null, ...dataset] = rest;
  const digest = dataset.pop();
  return {
    key,
    step,
    time,
    value,
    run,
    dataset: digest === undefined ? null : { name: dataset.join(" "), digest },
  };
}

/** Reads the registered models; MLflow keeps prompts among them. */
export async function* readModels(store: MlflowStore): AsyncGenerator<FoundModel> {
  for (const name of await store.folders("models")) {
    const folder = `models/${name}`;
    const meta = await store.meta("model", folder);
    if (meta) yield await modelOf(store, folder, meta);
  }
}

async function modelOf(store: MlflowStore, folder: string, meta: Meta): Promise<FoundModel> {
  const tags = await store.texts(joined(folder, "tags"));
  const aliases = await store.texts(joined(folder, "aliases"));
  const names = (await store.folders(folder)).filter((name) => name.startsWith("version-"));
  const versions = await mapParallel(names, (name) => versionsOf(store, joined(folder, name)), 8);
  return {
    kind: "model",
    name: textOf(meta, "name") ?? folder.slice("models/".length),
    description: textOf(meta, "description") ?? "",
    tags,
    aliases: Object.fromEntries(
      Object.entries({ ...textsOf(meta, "aliases"), ...aliases }).map(([alias, version]) => [
        alias,
        version.trim(),
      ]),
    ),
    versions: versions.flat().sort((a, b) => Number(a.version) - Number(b.version)),
    isPrompt: tags[promptTag] === "true",
    created: numberOf(meta, "creation_timestamp"),
    updated: numberOf(meta, "last_updated_timestamp"),
  };
}

async function versionsOf(store: MlflowStore, folder: string): Promise<FoundVersion[]> {
  const meta = await store.meta("model version", folder);
  const stage = meta && (textOf(meta, "current_stage") ?? "None");
  if (!stage || stage === deletedStage) return [];
  return [
    {
      version: textOf(meta, "version") ?? folder.slice(folder.lastIndexOf("-") + 1),
      description: textOf(meta, "description") ?? "",
      tags: await store.texts(joined(folder, "tags")),
      stage,
      status: textOf(meta, "status") ?? "READY",
      source: textOf(meta, "source") ?? "",
      run: textOf(meta, "run_id"),
      loggedModel: textOf(meta, "model_id"),
      created: numberOf(meta, "creation_timestamp"),
      updated: numberOf(meta, "last_updated_timestamp"),
    },
  ];
}
