import type { Tags } from "../../wire/config.ts";
import type { Points } from "../../wire/point.ts";
import type {
  Found,
  FoundAssessment,
  FoundExperiment,
  FoundInput,
  FoundLoggedModel,
  FoundModel,
  FoundModelMetric,
  FoundRun,
  FoundSpan,
  FoundTrace,
  FoundVersion,
  OnSkip,
} from "./found.ts";
import { Lots } from "./lots.ts";
import { artifactsOf, type ArtifactPlaces } from "./mlflow-artifacts.ts";
import { numberOf, parseMeta, textOf, textsOf, type Meta } from "./mlflow-meta.ts";
import { linesOf, parseMetricLine, type MetricLine } from "./mlflow-metrics.ts";
import { spansFromJSON } from "./mlflow-spans.ts";
import { modelStateFromMlflow, stateFromMlflow } from "./mlflow-state.ts";
import { fieldsFromTags, noteTag } from "./mlflow-tags.ts";
import { mapParallel } from "./parallel.ts";
import { joined, walk, type Tree } from "./tree.ts";

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
  const tree = await storeIn(given);
  const store = new FileStore(tree, onSkip, places);
  for (const folder of await store.experimentFolders()) yield* store.experiment(folder);
  yield* store.models();
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

class FileStore {
  readonly #tree: Tree;
  readonly #skip: OnSkip;
  readonly #places: ArtifactPlaces;
  readonly #runs = new Set<string>();

  constructor(tree: Tree, skip: OnSkip, places: ArtifactPlaces) {
    this.#tree = tree;
    this.#skip = skip;
    this.#places = places;
  }

  /** The folders of experiments, the deleted ones last. */
  async experimentFolders(): Promise<string[]> {
    const active = (await this.#folders("")).filter(
      (name) => !name.startsWith(".") && name !== "models",
    );
    const deleted = await this.#folders(".trash");
    return [...active, ...deleted.map((name) => `.trash/${name}`)];
  }

  async #folders(folder: string): Promise<string[]> {
    const entries = await this.#tree.list(folder);
    return entries.filter(({ kind }) => kind === "folder").map(({ name }) => name);
  }

  /** Reads a meta.yaml; says why, and returns nothing, where it is missing or is none. */
  async #meta(what: string, folder: string, file = "meta.yaml"): Promise<Meta | undefined> {
    const path = joined(folder, file);
    try {
      const entries = await this.#tree.list(folder);
      if (!entries.some(({ name }) => name === file)) throw new Error(`no ${file}`);
      return parseMeta(await this.#text(path));
    } catch (error) {
      const why = (error as Error).message.split("\n", 1)[0]!;
      this.#skip({ what, name: folder, why: why.startsWith("no ") ? why : `${file}: ${why}` });
      return undefined;
    }
  }

  async #text(path: string): Promise<string> {
    return (await this.#tree.open(path)).text();
  }

  /** The files below a folder as text, by path; a slash in a key has become a folder. */
  async #texts(folder: string): Promise<Tags> {
    const paths = (await Array.fromAsync(walk(this.#tree, folder))).flatMap(({ path, kind }) =>
      kind === "file" ? path : [],
    );
    const entries = await mapParallel(
      paths,
      async (path) => [path, await this.#text(joined(folder, path))] as const,
    );
    return Object.fromEntries(entries);
  }

  async *experiment(folder: string): AsyncGenerator<Found> {
    const meta = await this.#meta("experiment", folder);
    if (!meta) return;
    const experiment = await this.#experimentOf(folder, meta);
    yield experiment;
    const names = await this.#folders(folder);
    const runs = names.filter((name) => !reserved.includes(name) && !name.startsWith("."));
    const found = await mapParallel(
      runs,
      async (name) => ({
        folder: joined(folder, name),
        meta: await this.#meta("run", joined(folder, name)),
      }),
      8,
    );
    const known = found.flatMap(({ folder, meta }) => (meta ? [{ folder, meta }] : []));
    const started = ({ meta }: { meta: Meta }) => numberOf(meta, "start_time") ?? 0;
    for (const run of known.sort((a, b) => started(a) - started(b)))
      yield* this.#run(run.folder, run.meta, experiment);
    for (const name of await this.#folders(joined(folder, "models")))
      yield* this.#loggedModel(joined(folder, `models/${name}`), experiment);
    for (const name of await this.#folders(joined(folder, "traces")))
      yield* this.#trace(joined(folder, `traces/${name}`), experiment);
  }

  async #experimentOf(folder: string, meta: Meta): Promise<FoundExperiment> {
    const id = textOf(meta, "experiment_id") ?? folder.split("/").at(-1)!;
    const { [noteTag]: note = "", ...tags } = await this.#texts(joined(folder, "tags"));
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

  async *#run(
    folder: string,
    meta: Meta,
    { id: experiment }: FoundExperiment,
  ): AsyncGenerator<FoundRun> {
    const id = textOf(meta, "run_id") ?? textOf(meta, "run_uuid") ?? folder.split("/").at(-1)!;
    if (this.#runs.has(id)) {
      this.#skip({ what: "run", name: folder, why: `another run has its id: ${id}` });
      return;
    }
    this.#runs.add(id);
    const isOld = textOf(meta, "run_id") === null;
    const params = await this.#texts(joined(folder, "params"));
    const { name, ...fields } = fieldsFromTags({
      ...tagsOfOldMeta(meta, isOld),
      ...withoutEnds(await this.#texts(joined(folder, "tags")), isOld),
    });
    const end = numberOf(meta, "end_time");
    yield {
      kind: "run",
      id,
      experiment,
      name: textOf(meta, "run_name") || name || textOf(meta, "name") || "",
      state: stateFromMlflow(textOf(meta, "status")),
      params: withoutEnds(params, isOld),
      paramsAreText: true,
      ...fields,
      started: numberOf(meta, "start_time"),
      ended: end || null,
      deleted: textOf(meta, "lifecycle_stage") === "deleted",
      ...(await this.#links(folder)),
      points: () => this.#points(id, joined(folder, "metrics")),
      files: () =>
        artifactsOf(
          {
            tree: this.#tree,
            folder: joined(folder, "artifacts"),
            uri: textOf(meta, "artifact_uri") ?? "",
            id,
          },
          this.#places,
          this.#skip,
        ),
    };
  }

  async #links(folder: string): Promise<Pick<FoundRun, "inputs" | "modelInputs" | "modelOutputs">> {
    const inputs: FoundInput[] = [];
    const modelInputs: string[] = [];
    const modelOutputs: FoundRun["modelOutputs"] = [];
    for (const name of await this.#folders(joined(folder, "inputs"))) {
      const meta = await this.#meta("input", joined(folder, `inputs/${name}`));
      const source = meta && textOf(meta, "source_id");
      if (!source) continue;
      if (textOf(meta, "source_type") === "DATASET")
        inputs.push(...(await this.#input(folder, source, textsOf(meta, "tags"))));
      else modelInputs.push(textOf(meta, "destination_id") ?? source);
    }
    for (const name of await this.#folders(joined(folder, "outputs"))) {
      const meta = await this.#meta("output", joined(folder, `outputs/${name}`));
      if (meta)
        modelOutputs.push({
          model: textOf(meta, "destination_id") ?? name,
          step: numberOf(meta, "step") ?? 0,
        });
    }
    return { inputs, modelInputs, modelOutputs };
  }

  async #input(run: string, dataset: string, tags: Tags): Promise<FoundInput[]> {
    const experiment = run.slice(0, run.lastIndexOf("/"));
    const meta = await this.#meta("dataset", joined(experiment, `datasets/${dataset}`));
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

  async *#points(run: string, folder: string): AsyncGenerator<Points> {
    const lots = new Lots();
    for await (const { path: key, lines } of this.#metricFiles(folder)) {
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
        this.#skip({ what: "points", name, why: `${unreadable} lines hold no number and time` });
      if (ofDatasets)
        this.#skip({
          what: "link",
          name,
          why: `a point has no dataset of its own: ${ofDatasets} of them`,
        });
    }
    const rest = lots.take();
    if (rest) yield rest;
  }

  /** The metric files of a folder: small ones are read many at a time, large ones as they are asked for. */
  async *#metricFiles(
    folder: string,
  ): AsyncGenerator<{ path: string; lines: AsyncIterable<string[]> | Iterable<string[]> }> {
    const paths = (await Array.fromAsync(walk(this.#tree, folder))).flatMap(({ path, kind }) =>
      kind === "file" ? path : [],
    );
    for (let at = 0; at < paths.length; at += 64) {
      const some = await mapParallel(paths.slice(at, at + 64), async (path) => {
        const file = await this.#tree.open(joined(folder, path));
        const lines = file.size < 100_000 ? await Array.fromAsync(linesOf(file)) : linesOf(file);
        return { path, lines };
      });
      yield* some;
    }
  }

  async *#loggedModel(
    folder: string,
    { id: experiment }: FoundExperiment,
  ): AsyncGenerator<FoundLoggedModel> {
    const meta = await this.#meta("logged model", folder);
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
      params: await this.#texts(joined(folder, "params")),
      tags: await this.#texts(joined(folder, "tags")),
      metrics: await Array.fromAsync(this.#modelMetrics(joined(folder, "metrics"))),
      deleted: textOf(meta, "lifecycle_stage") === "deleted",
      files: () =>
        artifactsOf(
          {
            tree: this.#tree,
            folder: joined(folder, "artifacts"),
            uri: textOf(meta, "artifact_location") ?? "",
            id,
          },
          this.#places,
          this.#skip,
        ),
    };
  }

  async *#modelMetrics(folder: string): AsyncGenerator<FoundModelMetric> {
    for await (const { path: key, lines } of this.#metricFiles(folder))
      for await (const some of lines)
        for (const line of some) {
          const point = parseMetricLine(line);
          if (point) yield modelMetric(key, point);
        }
  }

  async *#trace(folder: string, { id: experiment }: FoundExperiment): AsyncGenerator<FoundTrace> {
    const meta = await this.#meta("trace", folder, "trace_info.yaml");
    if (!meta) return;
    const spans = joined(folder, "artifacts/traces.json");
    yield {
      kind: "trace",
      id: textOf(meta, "trace_id") ?? textOf(meta, "request_id") ?? folder.split("/").at(-1)!,
      experiment,
      state: textOf(meta, "state") ?? textOf(meta, "status") ?? "",
      started:
        Date.parse(textOf(meta, "request_time") ?? "") || (numberOf(meta, "timestamp_ms") ?? 0),
      duration: numberOf(meta, "execution_duration_ms") ?? numberOf(meta, "execution_time_ms"),
      requestPreview: textOf(meta, "request_preview"),
      responsePreview: textOf(meta, "response_preview"),
      tags: await this.#texts(joined(folder, "tags")),
      metadata: await this.#texts(joined(folder, "request_metadata")),
      spans: await this.#spans(spans),
      assessments: await Array.fromAsync(this.#assessments(joined(folder, "assessments"))),
    };
  }

  async #spans(path: string): Promise<FoundSpan[]> {
    const folder = path.slice(0, path.lastIndexOf("/"));
    if ((await this.#tree.list(folder)).every(({ name }) => !path.endsWith(`/${name}`))) return [];
    try {
      return spansFromJSON(await this.#text(path));
    } catch (error) {
      this.#skip({ what: "spans", name: path, why: (error as Error).message });
      return [];
    }
  }

  async *#assessments(folder: string): AsyncGenerator<FoundAssessment> {
    for (const { name } of await this.#tree.list(folder)) {
      const meta = await this.#meta("assessment", folder, name);
      if (meta) yield assessmentOf(meta);
    }
  }

  /** The registered models; MLflow keeps prompts among them. */
  async *models(): AsyncGenerator<FoundModel> {
    for (const name of await this.#folders("models")) {
      const folder = `models/${name}`;
      const meta = await this.#meta("model", folder);
      if (meta) yield this.#model(folder, meta);
    }
  }

  async #model(folder: string, meta: Meta): Promise<FoundModel> {
    const tags = await this.#texts(joined(folder, "tags"));
    const aliases = await this.#texts(joined(folder, "aliases"));
    const names = (await this.#folders(folder)).filter((name) => name.startsWith("version-"));
    const versions = await mapParallel(names, (name) => this.#version(joined(folder, name)), 8);
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

  async #version(folder: string): Promise<FoundVersion[]> {
    const meta = await this.#meta("model version", folder);
    const stage = meta && (textOf(meta, "current_stage") ?? "None");
    if (!stage || stage === deletedStage) return [];
    return [
      {
        version: textOf(meta, "version") ?? folder.slice(folder.lastIndexOf("-") + 1),
        description: textOf(meta, "description") ?? "",
        tags: await this.#texts(joined(folder, "tags")),
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
}

/** MLflow deletes a version by this stage and never shows it again. */
export const deletedStage = "Deleted_Internal";
export const promptTag = "mlflow.prompt.is_prompt";

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

function assessmentOf(meta: Meta): FoundAssessment {
  const kind = (["expectation", "issue"] as const).find((name) => name in meta) ?? "feedback";
  const held = (meta[kind] ?? {}) as Meta;
  const source = (meta["source"] ?? {}) as Meta;
  const serialized = (held["serialized_value"] ?? {}) as Meta;
  const text = textOf(serialized, "value") ?? held["value"];
  return {
    name: textOf(meta, "assessment_name") ?? "",
    kind,
    value: typeof text === "string" ? maybeJSON(text) : text,
    rationale: textOf(meta, "rationale"),
    sourceType: textOf(source, "source_type") ?? "",
    source: textOf(source, "source_id") ?? "",
  };
}

/** Returns the value that a text is the JSON of, or else the text. */
export function maybeJSON(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
