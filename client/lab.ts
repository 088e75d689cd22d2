import { tableFromIPC, type Table } from "apache-arrow";
import { journalOf, platform } from "#platform";
import type { BulkOutcome, RunsChange, RunsRef, UndoOutcome } from "../wire/bulk.ts";
import type { ConsoleLine } from "../wire/console.ts";
import type { Experiment, ExperimentPatch, NewExperiment } from "../wire/experiment.ts";
import type { FileTree, RunFile } from "../wire/file.ts";
import { newId } from "../wire/id.ts";
import { parse } from "../wire/parse.ts";
import { NewRun, type Finish, type Run, type RunPatch } from "../wire/run.ts";
import { Api, Refusal, type ApiOptions } from "./api.ts";
import { Delivery } from "./delivery.ts";
import { operationRecord, readHead } from "./journal/journal.ts";
import { inOneBatch } from "./one-batch.ts";
import { LoggedRun } from "./run.ts";
import { syncJournal, type SyncOutcome } from "./sync.ts";

/** Which runs a table holds. */
export interface RunsOptions {
  /** a filter, such as `params.lr < 0.1 AND state = 'finished'` */
  where?: string;
  /** such as `metrics.loss, started desc`; defaults to newest first */
  order?: string;
  /** such as `["name", "params.lr", "metrics.loss.min"]`, or `["*"]` for all; defaults to id, name, number, state and times */
  columns?: string[];
  limit?: number;
  /** with the archived ones; defaults to false */
  archived?: boolean;
  /** the cursor of an earlier table, for what changed since */
  since?: string;
}

/** Which points a table holds: of experiments (ids or names), or of runs. */
export interface PointsSelection {
  experiment?: string | string[];
  run?: string | string[];
  /** metric keys, what they begin with, and an RE2 expression they match; any of the three will do */
  key?: string | string[];
  prefix?: string | string[];
  regex?: string;
  /** the least and greatest step */
  from?: number;
  to?: number;
  /** the earliest and latest time: ms since 1970, a Date, or ISO 8601 */
  timeFrom?: number | string | Date;
  timeTo?: number | string | Date;
  /** what was accepted after one cursor, and up to another: a table with `until` never changes */
  since?: string;
  until?: string;
  /** at most so many buckets of each series instead of its points: first, last, min, max and counts of each */
  buckets?: number;
  /** "wide" has a row for each step and time and a column for each key, and takes one run; defaults to "long" */
  layout?: "long" | "wide";
}

/** A run to start. */
export interface RunOptions {
  /** its name; an unknown one is created */
  experiment: string;
  name?: string;
  /** nested config is flattened with dots */
  params?: Record<string, unknown>;
  tags?: Record<string, string> | string[];
  note?: string;
  /** the id of the run it belongs to */
  parent?: string;
  /** what started it; defaults to the script's path */
  source?: string;
}

/** An experiment tracker: what a server holds, as Arrow tables, and a way to log more. */
export class Lab {
  readonly url: string;
  readonly #api: Api;

  readonly #token: string | undefined;

  /** Labs are made by `connect`. */
  constructor(url: string, options: ApiOptions) {
    this.#api = new Api(url, options);
    this.#token = options.token;
    this.url = this.#api.url;
  }

  /** Returns the experiments as a table, newest first. */
  experiments({ archived = false }: { archived?: boolean } = {}): Promise<Table> {
    return this.#table("/experiments.arrow", { archived: archived ? "true" : undefined });
  }

  /** Returns the runs of an experiment (id or name; all where it is left out) as a table; `cursorOf` gives its cursor. */
  async runs(
    experiment?: string | string[],
    { archived, ...options }: RunsOptions = {},
  ): Promise<Table> {
    const table = await this.#table("/runs.arrow", {
      experiment,
      ...options,
      archived: archived ? "true" : undefined,
    });
    return inOneBatch(table);
  }

  /** Returns the params, metrics and tags that the runs of an experiment have (all where it is left out), with their types, counts and ranges. */
  keys(experiment?: string | string[]): Promise<Table> {
    return this.#table("/keys.arrow", { experiment });
  }

  /** Returns every point of an experiment, or of what is selected, as a table of run, key, step, time and value. */
  points(selection: string | PointsSelection): Promise<Table> {
    return this.#table("/points.arrow", queryOf(selection));
  }

  /** Returns the same points as a file: csv, json, parquet or an Arrow stream. */
  async pointsFile(
    selection: string | PointsSelection,
    format: "arrow" | "csv" | "json" | "parquet",
  ): Promise<Response> {
    return this.#api.request("GET", `/points.${format}`, { query: queryOf(selection) });
  }

  async #table(
    path: string,
    query: Record<string, string | number | string[] | undefined>,
  ): Promise<Table> {
    const response = await this.#api.request("GET", path, { query });
    return tableFromIPC(new Uint8Array(await response.arrayBuffer()));
  }

  /** Returns an experiment by id or name. */
  experiment(idOrName: string): Promise<Experiment> {
    return this.#api.json("GET", `/experiments/${encodeURIComponent(idOrName)}`);
  }

  /** Creates an experiment; where one of that name is there already, returns it as it is. */
  async createExperiment(experiment: NewExperiment): Promise<Experiment> {
    try {
      return await this.#api.json("POST", "/experiments", { body: { id: newId(), ...experiment } });
    } catch (error) {
      if (error instanceof Refusal && error.code === "RESOURCE_ALREADY_EXISTS" && !experiment.id)
        return this.experiment(experiment.name);
      throw error;
    }
  }

  patchExperiment(idOrName: string, patch: ExperimentPatch): Promise<Experiment> {
    return this.#api.json("PATCH", `/experiments/${encodeURIComponent(idOrName)}`, { body: patch });
  }

  /** Returns a run with its params, tags and the summary of each metric. */
  run(id: string): Promise<Run> {
    return this.#api.json("GET", `/runs/${id}`);
  }

  patchRun(id: string, patch: RunPatch): Promise<Run> {
    return this.#api.json("PATCH", `/runs/${id}`, { body: patch });
  }

  finishRun(id: string, finish: Finish): Promise<Run> {
    return this.#api.json("POST", `/runs/${id}/finish`, { body: finish });
  }

  deleteRun(id: string): Promise<Run> {
    return this.#api.json("DELETE", `/runs/${id}`);
  }

  restoreRun(id: string): Promise<Run> {
    return this.#api.json("POST", `/runs/${id}/restore`);
  }

  /**
   * Changes up to 10,000 runs alike, named by ids or by experiments and a filter: their tags, group, note, experiment,
   * or whether they are archived or deleted. For an hour `undoChange(undo)` takes it back.
   */
  changeRuns(runs: RunsRef, change: RunsChange): Promise<BulkOutcome> {
    return this.#insist("/runs/bulk", { id: newId(), runs, change });
  }

  /** Takes a change of many runs back; what was changed again since stays as it is. */
  undoChange(undo: string): Promise<UndoOutcome> {
    return this.#insist(`/undo/${encodeURIComponent(undo)}`);
  }

  /** Sends a request that goes on where it was when it is sent again: where the server is busy or through with a part, or its answer was lost. */
  async #insist<T>(path: string, body?: unknown): Promise<T> {
    for (let [busy, lost] = [0, 0]; ;) {
      try {
        return await this.#api.json("POST", path, { body });
      } catch (error) {
        if (error instanceof Refusal && error.code === "TEMPORARILY_UNAVAILABLE" && busy < 30)
          busy++;
        else if (error instanceof TypeError && lost < 2) lost++;
        else throw error;
        await new Promise((resolve) => setTimeout(resolve, lost ? 1000 : 200));
      }
    }
  }

  /** Returns console lines after a line number, or the last `tail`. */
  console(
    run: string,
    options: { after?: number; limit?: number; tail?: number } = {},
  ): Promise<{ lines: ConsoleLine[]; total: number; next: number }> {
    return this.#api.json("GET", `/runs/${run}/console`, { query: options });
  }

  /** Returns a run's files, as a list and as a tree. */
  files(run: string): Promise<{ files: RunFile[]; tree: FileTree }> {
    return this.#api.json("GET", `/runs/${run}/files`);
  }

  /** Returns the response that holds a file's content. */
  file(run: string, path: string): Promise<Response> {
    return this.#api.request(
      "GET",
      `/runs/${run}/files/${path.split("/").map(encodeURIComponent).join("/")}`,
    );
  }

  /**
   * Starts a run. It does not wait for the server, and does not fail for lack of one: the run and what it logs go to a
   * journal first. Throws only where the options themselves are wrong.
   */
  async startRun({
    experiment,
    params = {},
    source = platform.source(),
    ...rest
  }: RunOptions): Promise<LoggedRun> {
    const id = newId();
    const started = Date.now();
    const body = parse(NewRun, { id, experiment, params, source, started, ...rest }, "run");
    const journal = await journalOf(id);
    const head = {
      op: "head" as const,
      url: this.url,
      run: id,
      writer: newId().slice(16),
      ...platform.owner(),
    };
    journal.append(operationRecord(head));
    journal.append(operationRecord({ op: "start", body }));
    const delivery = await Delivery.of(journal, this.#api);
    const run = new LoggedRun({
      id,
      url: `${this.url}/runs/${id}`,
      journal,
      delivery,
      params: body.params,
      closed: platform.unwatch,
    });
    platform.watch(run);
    void delivery.drain();
    return run;
  }

  /** Sends what earlier runs logged to this server and could not send, because their process or page died. */
  async sync({ timeout = 60_000 }: { timeout?: number } = {}): Promise<SyncOutcome[]> {
    const outcomes: SyncOutcome[] = [];
    for (const open of await platform.journals()) {
      const journal = await open();
      const head = await readHead(journal).catch(() => undefined);
      if (head && head.url !== this.url) journal.close();
      else
        outcomes.push(
          await syncJournal(journal, {
            url: this.url,
            token: this.#token,
            timeout,
            isAlive: platform.isAlive,
          }),
        );
    }
    return outcomes;
  }
}

function queryOf(selection: string | PointsSelection) {
  if (typeof selection === "string") return { experiment: selection };
  const { timeFrom, timeTo, ...others } = selection;
  const time = (at: number | string | Date | undefined) => (at instanceof Date ? at.getTime() : at);
  return { ...others, timeFrom: time(timeFrom), timeTo: time(timeTo) };
}

/** Returns a table's cursor: given as `since`, the next table holds only what changed. */
export const cursorOf = (table: Table): string | undefined => table.schema.metadata.get("cursor");

/**
 * Returns the lab at a server's address; defaults to ASSAY_URL, or the page's own origin in a browser, or
 * http://127.0.0.1:8787. The token defaults to ASSAY_TOKEN. It does not wait for the server.
 */
export async function connect(
  url: string = platform.url(),
  { token = platform.token(), ...options }: ApiOptions = {},
): Promise<Lab> {
  return new Lab(url, { token, ...options });
}
