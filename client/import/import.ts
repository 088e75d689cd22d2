import { shown } from "../../wire/error.ts";
import { Refusal, type Api } from "../api.ts";
import { isFinal } from "../retry.ts";
import type {
  Found,
  FoundExperiment,
  FoundLoggedModel,
  FoundModel,
  FoundRun,
  FoundTrace,
  Skip,
} from "./found.ts";
import { PatientApi, type Patience } from "./patient.ts";
import { emptyReport, type ImportReport } from "./report.ts";
import { writeExperiment } from "./write-experiment.ts";
import { writeLoggedModel } from "./write-logged-model.ts";
import { writeModel } from "./write-model.ts";
import { RunWriter } from "./write-run.ts";
import { writeTrace } from "./write-trace.ts";

/** How to import. */
export interface ImportOptions extends Patience {
  /** told of each step, with how far it is */
  onProgress?: (report: ImportReport) => void;
  /** the report that is added to: give it to what reads the source, too */
  report?: ImportReport;
}

/**
 * Writes what a reader found to a server. Importing again adds what is new at the source and changes nothing else; one
 * that broke off goes on where it was. Of each run the counts and last values of its metrics are compared at its end.
 * Throws where the server is away or refuses us; what it refuses of the source is among the report's problems.
 */
export async function importFound(
  api: Api,
  found: AsyncIterable<Found>,
  { onProgress = () => undefined, report = emptyReport(), ...patience }: ImportOptions = {},
): Promise<ImportReport> {
  await api.request("GET", "/health"); // a server that is not there is said at once
  const importer = new Importer(new PatientApi(api, patience), report, onProgress);
  try {
    for await (const one of found) {
      await importer.add(one);
      if (importer.hasFailed) break;
    }
  } finally {
    await importer.settle();
  }
  return report;
}

/** How many runs are filled at a time. */
const atOnce = 4;

class Importer {
  readonly #server: PatientApi;
  readonly #report: ImportReport;
  readonly #onProgress: (report: ImportReport) => void;
  readonly #experiments = new Map<string, string>();
  readonly #names = new Set<string>();
  readonly #filling = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(
    server: PatientApi,
    report: ImportReport,
    onProgress: (report: ImportReport) => void,
  ) {
    this.#server = server;
    this.#report = report;
    this.#onProgress = onProgress;
  }

  /** Whether the server gave up on us while a run was being filled; `settle` throws why. */
  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  async add(one: Found): Promise<void> {
    if (one.kind === "experiment") await this.#experiment(one);
    else if (one.kind === "run") await this.#run(one);
    else if (one.kind === "loggedModel")
      await this.#within(one, "logged model", "loggedModels", writeLoggedModel);
    else if (one.kind === "trace") await this.#within(one, "trace", "traces", writeTrace);
    else if (one.kind === "model") await this.#model(one);
    else
      this.#report.skipped.push({
        what: "evaluation dataset",
        name: shown(one.name),
        why: `there is no such thing here: its ${one.records} records stay there`,
      });
  }

  /** Writes what belongs to an experiment. */
  async #within<T extends FoundLoggedModel | FoundTrace>(
    one: T,
    what: string,
    noun: "loggedModels" | "traces",
    write: (server: PatientApi, one: T, experiment: string, report: ImportReport) => Promise<void>,
  ): Promise<void> {
    this.#report[noun].found++;
    const experiment = this.#experiments.get(one.experiment);
    if (experiment === undefined)
      this.#report.problems.push({ what, name: one.id, why: "its experiment is not here" });
    else
      await this.#attempt(what, one.id, () => write(this.#server, one, experiment, this.#report));
  }

  async #model(one: FoundModel): Promise<void> {
    this.#report.models.found++;
    const what = one.isPrompt ? "prompt" : "registered model";
    await this.#attempt(what, shown(one.name), () => writeModel(this.#server, one, this.#report));
  }

  async #experiment(one: FoundExperiment): Promise<void> {
    this.#report.experiments.found++;
    await this.#attempt("experiment", shown(one.name), async () => {
      const skip = (skip: Skip): void => void this.#report.skipped.push(skip);
      const { id, isNew } = await writeExperiment(this.#server, one, this.#names, skip);
      this.#experiments.set(one.id, id);
      if (isNew) this.#report.experiments.added++;
    });
  }

  /** Runs are opened one after the other, as their numbers follow that order; they are filled several at a time. */
  async #run(one: FoundRun): Promise<void> {
    this.#report.runs.found++;
    const experiment = this.#experiments.get(one.experiment);
    if (experiment === undefined) {
      this.#report.problems.push({ what: "run", name: one.id, why: "its experiment is not here" });
      return;
    }
    const writer = new RunWriter(this.#server, one, this.#report);
    if (!(await this.#attempt("run", one.id, () => writer.open(experiment)))) return;
    const filling = this.#attempt("run", one.id, () => writer.fill())
      .then(
        () => undefined,
        (error: unknown) => void (this.#failure ??= { error }),
      )
      .finally(() => this.#filling.delete(filling));
    this.#filling.add(filling);
    if (this.#filling.size >= atOnce) await Promise.race(this.#filling);
  }

  /** Waits for what is under way; throws where the server is away or refuses us. */
  async settle(): Promise<void> {
    await Promise.all(this.#filling);
    if (this.#failure) throw this.#failure.error;
  }

  /** Whether an act succeeds. What is wrong with the source or refused of it is noted; what is wrong with the server is thrown. */
  async #attempt(what: string, name: string, act: () => Promise<void>): Promise<boolean> {
    try {
      await act();
      return true;
    } catch (error) {
      const isOfServer = error instanceof Refusal || error instanceof TypeError;
      if (isOfServer && !isFinal(error)) throw error;
      this.#report.problems.push({ what, name, why: (error as Error).message });
      return false;
    } finally {
      this.#onProgress(this.#report);
    }
  }
}
