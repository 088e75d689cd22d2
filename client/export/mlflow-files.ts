import type { Tags } from "../../wire/config.ts";
import { shown } from "../../wire/error.ts";
import type { Points } from "../../wire/point.ts";
import type {
  Found,
  FoundExperiment,
  FoundFile,
  FoundInput,
  FoundLoggedModel,
  FoundModel,
  FoundRun,
  OnSkip,
  Skip,
} from "../import/found.ts";
import { hashed } from "../import/ids.ts";
import { modelStateToMlflow, stateToMlflow } from "../import/mlflow-state.ts";
import { noteTag, tagsFromFields } from "../import/mlflow-tags.ts";
import { mlflowName, StoreNames } from "./mlflow-names.ts";
import { metaToYAML, type MetaField } from "./mlflow-yaml.ts";
import type { Sink } from "./sink.ts";

/** What an export did. */
export interface ExportReport {
  experiments: number;
  runs: number;
  points: number;
  files: number;
  /** what was passed over or has another name there, and why */
  skipped: Skip[];
}

export const emptyExportReport = (): ExportReport => ({
  experiments: 0,
  runs: 0,
  points: 0,
  files: 0,
  skipped: [],
});

/** Writes experiments, runs and models as a file store that MLflow opens, of version 2 and, where it is allowed to, 3. */
export async function writeMlflowFiles(
  found: AsyncIterable<Found>,
  sink: Sink,
  {
    report = emptyExportReport(),
    onProgress = () => undefined,
  }: { report?: ExportReport; onProgress?: (report: ExportReport) => void } = {},
): Promise<ExportReport> {
  const store = new FileStoreWriter(sink, report);
  await sink.folder(".trash");
  for await (const one of found) {
    if (one.kind === "experiment") await store.experiment(one);
    else if (one.kind === "run") await store.run(one);
    else if (one.kind === "loggedModel") await store.loggedModel(one);
    else if (one.kind === "model") await store.model(one);
    else
      report.skipped.push({
        what: one.kind,
        name: one.id,
        why: "is not written as files",
      });
    onProgress(report);
  }
  return report;
}

interface Place {
  /** MLflow's id of the experiment, and the folder it lies in */
  id: string;
  folder: string;
}

class FileStoreWriter {
  readonly #sink: Sink;
  readonly #report: ExportReport;
  readonly #places = new Map<string, Place>();
  readonly #ids = new Set<string>();
  readonly #datasets = new Set<string>();

  constructor(sink: Sink, report: ExportReport) {
    this.#sink = sink;
    this.#report = report;
  }

  readonly #skip: OnSkip = (skip) => this.#report.skipped.push(skip);

  #meta(folder: string, meta: Record<string, MetaField>): Promise<void> {
    return this.#sink.write(`${folder}/meta.yaml`, metaToYAML(meta));
  }

  /** Writes texts as files by name. */
  async #texts(folder: string, texts: Tags, what: string, owner: string): Promise<void> {
    await this.#sink.folder(folder);
    const names = new StoreNames();
    for (const [key, text] of Object.entries(texts)) {
      const name = this.#name(names, key, what, owner);
      if (name !== undefined)
        await this.#write(`${folder}/${name}`, text, what, `${key} of ${owner}`);
    }
  }

  /** Returns a key's name in the store; says so where it has another, or none. */
  #name(names: StoreNames, key: string, what: string, owner: string): string | undefined {
    const isNew = !names.has(key);
    const name = names.nameOf(key);
    if (isNew && name !== key)
      this.#skip({
        what,
        name: `${shown(key)} of ${owner}`,
        why: name === undefined ? "finds no name there that is free" : `is ${shown(name)} there`,
      });
    return name;
  }

  async #write(path: string, content: string | Blob, what: string, name: string): Promise<boolean> {
    try {
      await this.#sink.write(path, content);
      return true;
    } catch (error) {
      // Such as a name that is too long for a disk.
      this.#skip({ what, name, why: (error as Error).message });
      return false;
    }
  }

  async experiment(found: FoundExperiment): Promise<void> {
    const id = await this.#experimentId(found);
    const folder = found.deleted ? `.trash/${id}` : id;
    this.#places.set(found.id, { id, folder });
    const owner = `experiment ${shown(found.name)}`;
    await this.#meta(folder, {
      artifact_location: `${this.#sink.uri}/${id}`,
      creation_time: found.created,
      experiment_id: id,
      last_update_time: found.created,
      lifecycle_stage: found.deleted ? "deleted" : "active",
      name: found.name,
    });
    const tags = { ...found.tags, ...(found.note ? { [noteTag]: found.note } : {}) };
    await this.#texts(`${folder}/tags`, tags, "tag", owner);
    this.#report.experiments++;
  }

  /** An id that MLflow gave stays; another becomes a number of 18 digits, as its file store makes them; Default is 0. */
  async #experimentId({ id, name }: FoundExperiment): Promise<string> {
    const own = /^\d{1,19}$/.test(id) ? id : undefined;
    const isFree = (one: string | undefined): one is string =>
      one !== undefined && !this.#ids.has(one);
    const number = async () =>
      String(10n ** 17n + (BigInt(`0x${await hashed(["experiment", id])}`) % (9n * 10n ** 17n)));
    const chosen = isFree(own) ? own : name === "Default" && isFree("0") ? "0" : await number();
    this.#ids.add(chosen);
    return chosen;
  }

  async run(found: FoundRun): Promise<void> {
    const place = this.#places.get(found.experiment);
    if (!place) throw new Error(`experiment not found: ${found.experiment}`);
    const id = await this.#idOf(found.id);
    const folder = `${place.folder}/${id}`;
    const owner = `run ${id}`;
    const tags = tagsFromFields(found);
    await this.#meta(folder, {
      artifact_uri: `${this.#sink.uri}/${place.id}/${id}/artifacts`,
      end_time: found.ended,
      entry_point_name: "",
      experiment_id: place.id,
      lifecycle_stage: found.deleted ? "deleted" : "active",
      run_id: id,
      run_name: found.name,
      run_uuid: id,
      source_name: "",
      source_type: 4,
      source_version: "",
      start_time: found.started,
      status: stateToMlflow(found.state),
      tags: [],
      user_id: tags["mlflow.user"] ?? "",
      ...(found.deleted ? { deleted_time: found.ended ?? found.started } : {}),
    });
    const params = Object.entries(found.params).map(
      ([key, value]) => [key, textOfParam(value)] as const,
    );
    await this.#texts(`${folder}/params`, Object.fromEntries(params), "param", owner);
    await this.#texts(`${folder}/tags`, tags, "tag", owner);
    await this.#points(`${folder}/metrics`, found);
    await this.#files(`${folder}/artifacts`, found.files(), owner);
    for (const input of found.inputs) await this.#input(place.folder, id, input);
    for (const model of found.modelInputs)
      await this.#meta(`${folder}/inputs/${await hashed([model, id])}`, {
        source_type: "MODEL",
        source_id: model,
        destination_type: "RUN",
        destination_id: model,
        tags: {},
      });
    for (const { model, step } of found.modelOutputs)
      await this.#meta(`${folder}/outputs/${await this.#idOf(model)}`, {
        source_type: "RUN_OUTPUT",
        source_id: model,
        destination_type: "MODEL_OUTPUT",
        destination_id: model,
        tags: {},
        step,
      });
    this.#report.runs++;
  }

  async #points(folder: string, found: FoundRun): Promise<void> {
    await this.#sink.folder(folder);
    const owner = `run ${found.id}`;
    const names = new StoreNames();
    let fractions = 0;
    for await (const lot of found.points()) {
      fractions += lot.step.reduce((n, step) => n + Number(!Number.isInteger(step)), 0);
      for (const [key, lines] of linesByKey(lot)) {
        const name = this.#name(names, key, "metric", owner);
        if (name === undefined) continue;
        await this.#sink.append(`${folder}/${name}`, lines.join(""));
        this.#report.points += lines.length;
      }
    }
    if (fractions)
      this.#skip({
        what: "steps",
        name: owner,
        why: `MLflow's are whole: ${fractions} are rounded`,
      });
  }

  /** An id becomes a folder, so it is one that MLflow takes; of another its hash. */
  async #idOf(id: string): Promise<string> {
    return /^[a-zA-Z0-9][\w-]{0,255}$/.test(id) ? id : hashed(["id", id]);
  }

  async #files(folder: string, files: AsyncIterable<FoundFile>, owner: string): Promise<void> {
    await this.#sink.folder(folder);
    for await (const { path, open } of files)
      if (
        isPath(path) &&
        (await this.#write(`${folder}/${path}`, await open(), "file", `${path} of ${owner}`))
      )
        this.#report.files++;
  }

  async #input(
    experiment: string,
    run: string,
    { tags, sourceType, ...input }: FoundInput,
  ): Promise<void> {
    const id = await hashed([input.name, input.digest]);
    const folder = `${experiment}/datasets/${id}`;
    if (!this.#datasets.has(folder)) {
      this.#datasets.add(folder);
      await this.#meta(folder, { ...input, source_type: sourceType });
    }
    await this.#meta(`${experiment}/${run}/inputs/${await hashed([id, run])}`, {
      source_type: "DATASET",
      source_id: id,
      destination_type: "RUN",
      destination_id: id,
      tags,
    });
  }

  async loggedModel(found: FoundLoggedModel): Promise<void> {
    const place = this.#places.get(found.experiment);
    if (!place) throw new Error(`experiment not found: ${found.experiment}`);
    const id = await this.#idOf(found.id);
    const folder = `${place.folder}/models/${id}`;
    const owner = `logged model ${id}`;
    await this.#meta(folder, {
      artifact_location: `${this.#sink.uri}/${place.id}/models/${id}/artifacts`,
      creation_timestamp: found.created,
      experiment_id: place.id,
      last_updated_timestamp: found.updated,
      lifecycle_stage: found.deleted ? "deleted" : "active",
      model_id: id,
      model_type: found.type,
      name: found.name,
      source_run_id: found.run,
      status: modelStateToMlflow(found.status),
      status_message: null,
    });
    await this.#texts(`${folder}/params`, found.params, "param", owner);
    await this.#texts(`${folder}/tags`, found.tags, "tag", owner);
    await this.#sink.folder(`${folder}/metrics`);
    for (const { key, time, value, step, run, dataset } of found.metrics) {
      const of = dataset ? ` ${dataset.name} ${dataset.digest}` : "";
      const line = `${time} ${floatToPython(value)} ${step} ${run ?? "-"}${of}\n`;
      await this.#sink.append(`${folder}/metrics/${mlflowName(key)}`, line);
    }
    await this.#files(`${folder}/artifacts`, found.files(), owner);
  }

  async model(found: FoundModel): Promise<void> {
    const folder = `models/${found.name}`;
    const owner = `model ${shown(found.name)}`;
    if (/[/\\:]/.test(found.name) || found.name.startsWith("."))
      return this.#skip({ what: "model", name: found.name, why: "MLflow takes no such name" });
    await this.#meta(folder, {
      aliases: found.aliases,
      creation_timestamp: found.created,
      description: found.description || null,
      last_updated_timestamp: found.updated,
      name: found.name,
    });
    await this.#texts(`${folder}/tags`, found.tags, "tag", owner);
    await this.#texts(`${folder}/aliases`, found.aliases, "alias", owner);
    for (const version of found.versions) {
      if (!/^\d+$/.test(version.version)) continue;
      const place = `${folder}/version-${version.version}`;
      await this.#meta(place, {
        creation_timestamp: version.created,
        current_stage: version.stage,
        description: version.description || null,
        last_updated_timestamp: version.updated,
        model_id: version.loggedModel,
        name: found.name,
        run_id: version.run,
        run_link: null,
        source: version.source,
        status: version.status,
        status_message: null,
        storage_location: version.source,
        user_id: null,
        version: Number(version.version),
      });
      await this.#texts(
        `${place}/tags`,
        version.tags,
        "tag",
        `${owner} version ${version.version}`,
      );
    }
  }
}

/** Whether a path stays within its folder; that of a run's file here always does. */
const isPath = (path: string): boolean =>
  !path.includes("\\") &&
  path.split("/").every((name) => name !== "" && name !== "." && name !== "..");

function linesByKey({ keys, key, step, time, value }: Points): Map<string, string[]> {
  const lines = new Map<string, string[]>();
  for (let i = 0; i < key.length; i++) {
    const name = keys[key[i]!]!;
    if (!lines.has(name)) lines.set(name, []);
    lines.get(name)!.push(`${time[i]} ${floatToPython(value[i]!)} ${Math.round(step[i]!)}\n`);
  }
  return lines;
}

/** Returns a number as Python's float() reads it. */
function floatToPython(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  return Object.is(value, -0) ? "-0.0" : String(value);
}

/** Returns a param as Python's str() writes it, which is how MLflow logs one. */
function textOfParam(value: string | number | boolean | null): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "number" ? floatToPython(value) : value;
}
