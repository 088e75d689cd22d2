import { expect } from "vitest";
import type { Found } from "../../../client/import/found.ts";
import {
  expectedOf,
  filesOf,
  gather,
  hashOfPoints,
  plainExpectedRun,
  plainLoggedModel,
  plainRun,
  plainTrace,
  pointsOf,
  storedPoints,
  type Point,
} from "./expected.ts";

interface Asked {
  found: Awaited<ReturnType<typeof gather>>;
  expected: any;
  /** whether it was imported and is read back from a server of ours */
  isServer: boolean;
}

const runsOf = ({ runs }: Asked["found"]) => new Map(runs.map((run) => [run.id, run]));

/** What is looked at of what was found in a store: all that its expected.json tells. */
export const aspects: Record<string, (asked: Asked) => void | Promise<void>> = {
  experiments: ({ found, expected }) => {
    const plain = found.experiments.map(({ id, name, note, tags, created, deleted }) => ({
      experiment_id: id,
      name,
      lifecycle_stage: deleted ? "deleted" : "active",
      tags: { ...tags, ...(note ? { "mlflow.note.content": note } : {}) },
      creation_time: created,
    }));
    const wanted = expected.experiments.map(({ artifact_location: _, ...rest }: any) => rest);
    expect(plain.sort((a, b) => (a.experiment_id < b.experiment_id ? -1 : 1))).toEqual(wanted);
  },

  "runs, with params, tags, times, states, inputs and outputs": ({ found, expected }) => {
    expect(found.runs.length).toBe(expected.totals.runs);
    for (const run of expected.runs)
      expect(plainRun(runsOf(found).get(run.run_id)!)).toEqual(plainExpectedRun(run));
  },

  "every point, in the order logged": async ({ found, expected, isServer }) => {
    const kind = isServer ? "sql" : expected.kind;
    for (const run of expected.runs) {
      const points = await pointsOf(runsOf(found).get(run.run_id)!);
      expect(Object.keys(points).sort()).toEqual(Object.keys(run.metrics).sort());
      for (const [key, metric] of Object.entries<any>(run.metrics)) {
        const of = points[key]!;
        expect([run.name, key, of.length]).toEqual([run.name, key, metric.stored_count]);
        if (metric.points) {
          const logged = metric.points as Point[];
          expect(sortedIf(of, kind)).toEqual(sortedIf(storedPoints(logged, expected.kind), kind));
        } else
          expect([run.name, key, hashOfPoints(of)]).toEqual([run.name, key, metric.points_sha256]);
      }
    }
  },

  "every file, by content": async ({ found, expected }) => {
    for (const run of expected.runs) {
      const files = await filesOf(runsOf(found).get(run.run_id)!.files());
      const isKnown = Array.isArray(run.artifacts);
      const wanted = isKnown
        ? run.artifacts.map(({ path, size, sha256 }: any) => ({ path, size, sha256 }))
        : [];
      expect([run.name, files]).toEqual([run.name, wanted]);
    }
  },

  "registered models, and prompts as such": ({ found, expected }) => {
    const models = found.models.map(({ kind: _, created: __, updated: ___, ...model }) => ({
      ...model,
      description: model.description || null,
      versions: model.versions.map(
        ({ created: ____, updated: _____, stage, loggedModel, ...version }) => ({
          ...version,
          description: version.description || null,
          current_stage: stage,
          model_id: loggedModel,
        }),
      ),
    }));
    const plain = models
      .filter(({ isPrompt }) => !isPrompt)
      .map(({ isPrompt: _, versions, ...model }) => ({
        ...model,
        versions: versions.map(({ run, ...version }) => ({ ...version, run_id: run })),
      }));
    // A store itself notes the run of a version that is made from a logged model, unlike what logged it.
    const known = (version: any) =>
      version.source.startsWith("models:/") ? { ...version, run_id: null } : version;
    const wanted = expected.registered_models.toSorted(byName);
    expect(
      plain.sort(byName).map((model) => ({ ...model, versions: model.versions.map(known) })),
    ).toEqual(wanted);
    const prompts = models
      .filter(({ isPrompt }) => isPrompt)
      .map(({ name, aliases, versions }) => ({
        name,
        aliases,
        versions: versions.map(({ version, description, tags }) => ({
          version,
          commit_message: description,
          text: tags["mlflow.prompt.text"],
        })),
      }));
    expect(prompts).toEqual(
      (expected.prompts ?? []).map(({ name, aliases, versions }: any) => ({
        name,
        aliases,
        versions: versions.map(({ version, commit_message, template }: any) => ({
          version,
          commit_message,
          text: typeof template === "string" ? template : expect.stringContaining("{{question}}"),
        })),
      })),
    );
  },

  "logged models, with their last metrics and files": async ({ found, expected }) => {
    const models = new Map(found.loggedModels.map((model) => [model.id, model]));
    for (const {
      metrics = [],
      artifacts = [],
      artifact_location: _,
      ...wanted
    } of expected.logged_models) {
      const model = models.get(wanted.model_id)!;
      expect(plainLoggedModel(model)).toMatchObject(wanted);
      expect(await filesOf(model.files())).toEqual(
        artifacts.map(({ path, size, sha256 }: any) => ({ path, size, sha256 })),
      );
      const held = model.metrics.map(({ key, value, step, time, run, dataset }) => ({
        key,
        value,
        step,
        timestamp: time,
        dataset_name: dataset?.name ?? null,
        dataset_digest: dataset?.digest ?? null,
        run_id: run,
      }));
      for (const metric of metrics) expect(held).toContainEqual(metric);
    }
  },

  "traces, with spans and assessments": ({ found, expected, isServer }) => {
    const traces = found.traces.map(plainTrace).sort(byId);
    // Where its spans are each store says for itself.
    if (isServer) for (const { tags } of traces) delete tags["mlflow.trace.spansLocation"];
    const wanted = (expected.traces ?? []).map((trace: any) => ({
      ...trace,
      tags: isServer ? { ...trace.tags, "mlflow.trace.spansLocation": undefined } : trace.tags,
      spans: trace.spans,
      assessments: trace.assessments.toSorted(byName),
    }));
    expect(traces).toEqual(wanted.toSorted(byId));
  },

  "evaluation datasets are counted": ({ found, expected, isServer }) => {
    const plain = found.evaluationDatasets.map(({ id, name, records, experiments }) => ({
      dataset_id: id,
      name,
      records,
      experiment_ids: experiments,
    }));
    expect(plain).toEqual(isServer ? [] : (expected.evaluation_datasets ?? []));
  },
};

/** Expects of what is read back from a server all that a store's expected.json tells. */
export async function expectAsExpected(store: string, read: AsyncIterable<Found>): Promise<void> {
  const found = await gather(read);
  for (const look of Object.values(aspects))
    await look({ found, expected: expectedOf(store), isServer: true });
}

const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
const byId = (a: { trace_id: string }, b: { trace_id: string }) =>
  a.trace_id < b.trace_id ? -1 : 1;
const sortedIf = (points: Point[], kind: string): Point[] =>
  kind === "sql"
    ? points.toSorted(
        (a, b) => a[1] - b[1] || a[0] - b[0] || (String(a[2]) < String(b[2]) ? -1 : 1),
      )
    : points;
