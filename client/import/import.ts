import { shown } from "../../wire/error.ts";
import type { Api } from "../api.ts";
import { Refusal } from "../api.ts";
import { isFinal } from "../retry.ts";
import type { Found, FoundRun } from "./found.ts";
import { PatientApi, type Patience } from "./patient.ts";
import { emptyReport, type ImportReport } from "./report.ts";
import { writeExperiment, type WrittenExperiment } from "./write-experiment.ts";
import { RunWriter } from "./write-run.ts";

/** How to import. */
export interface ImportOptions extends Patience {
  /** told of each step, with how far it is */
  onProgress?: (report: ImportReport) => void;
  /** the report that is added to: give it to what reads the source, too */
  report?: ImportReport;
}

/** How many runs are written at a time. */
const atOnce = 4;

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
  const server = new PatientApi(api, patience);
  const experiments = new Map<string, WrittenExperiment>();
  const names = new Set<string>();
  const active = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;
  const fail = (error: unknown): void => void (failure ??= { error });
  const attempt = async (what: string, name: string, act: () => Promise<void>): Promise<void> => {
    try {
      await act();
    } catch (error) {
      const isOurs = isFinal(error) || !(error instanceof Refusal || error instanceof TypeError);
      if (!isOurs) throw error;
      report.problems.push({ what, name, why: (error as Error).message });
    }
    onProgress(report);
  };
  const begin = async (run: FoundRun, experiment: string): Promise<void> => {
    const writer = new RunWriter(server, run, report);
    // Runs are opened in their order, which their numbers follow; the rest may overlap.
    let isOpen = false;
    await attempt("run", run.id, async () => {
      await writer.open(experiment);
      isOpen = true;
    });
    if (!isOpen) return;
    const filling = attempt("run", run.id, () => writer.fill())
      .catch(fail)
      .finally(() => active.delete(filling));
    active.add(filling);
    if (active.size >= atOnce) await Promise.race(active);
  };
  try {
    for await (const one of found) {
      if (failure) break;
      if (one.kind === "experiment") {
        report.experiments.found++;
        await attempt("experiment", shown(one.name), async () => {
          const written = await writeExperiment(server, one, names, (skip) =>
            report.skipped.push(skip),
          );
          experiments.set(one.id, written);
          if (written.isNew) report.experiments.added++;
        });
      } else if (one.kind === "run") {
        report.runs.found++;
        const experiment = experiments.get(one.experiment);
        if (experiment) await begin(one, experiment.id);
        else report.problems.push({ what: "run", name: one.id, why: "its experiment is not here" });
        sayLinks(one, report);
      } else report.skipped.push({ ...unkept(one), why: "the server has no place for it yet" });
    }
  } finally {
    await Promise.all(active);
  }
  if (failure) throw failure.error;
  return report;
}

/** What of a run the server has no place for yet. */
function sayLinks({ id, inputs, modelInputs, modelOutputs }: FoundRun, report: ImportReport): void {
  const names = inputs.map(({ name }) => `dataset ${shown(name)}`);
  const models = [...modelInputs, ...modelOutputs.map(({ model }) => model)];
  for (const name of [...names, ...models.map((model) => `logged model ${model}`)])
    report.skipped.push({
      what: "link",
      name: `run ${id} to ${name}`,
      why: "the server has no place for it yet",
    });
}

/** What is read and the server has no place for yet, by kind: here it will be written once it has. */
function unkept(found: Exclude<Found, { kind: "experiment" | "run" }>): {
  what: string;
  name: string;
} {
  if (found.kind === "loggedModel")
    return { what: "logged model", name: `${shown(found.name)} (${found.id})` };
  if (found.kind === "trace") return { what: "trace", name: found.id };
  if (found.kind === "evaluationDataset")
    return {
      what: "evaluation dataset",
      name: `${shown(found.name)}, ${found.records} records`,
    };
  return {
    what: found.isPrompt ? "prompt" : "registered model",
    name: `${shown(found.name)}, ${found.versions.length} versions`,
  };
}
