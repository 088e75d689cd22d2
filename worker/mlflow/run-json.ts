import type { RunState } from "../../wire/run.ts";
import type { RunLinks } from "../db/datasets.ts";
import type { StoredExperiment } from "../db/experiments.ts";
import type { FoundRun } from "../db/runs.ts";
import { noteTag, tagList, tagsOfRun, userTag, type KeyValue } from "./tags.ts";

/** Our experiment as MLflow writes it. */
export const experimentJSON = ({
  id,
  name,
  artifacts,
  archived,
  created,
  updated,
  tags,
  note,
}: StoredExperiment) => ({
  experiment_id: id,
  name,
  artifact_location: locationOf({ experiment: id, artifacts }),
  lifecycle_stage: archived === null ? "active" : "deleted",
  last_update_time: updated,
  creation_time: created,
  tags: [...tagList(tags), ...(note ? [{ key: noteTag, value: note }] : [])],
});

/** What stands before an experiment's id where its files lie with us. */
export const artifactRoot = "mlflow-artifacts:/";

/** Where files of an experiment's runs lie: with us, unless it was created with a place of its own. */
const locationOf = ({
  experiment,
  artifacts,
}: {
  experiment: string;
  artifacts: string | null;
}): string => artifacts ?? artifactRoot + experiment;

/** Where the files of a run lie: a URI. */
export const artifactsOf = (run: Pick<FoundRun, "id" | "experiment" | "artifacts">): string =>
  `${locationOf(run).replace(/\/+$/, "")}/${run.id}/artifacts`;

/** Where the files of an experiment lie: a URI that paths are appended to. */
export const experimentLocation = ({ id, artifacts }: StoredExperiment): string =>
  locationOf({ experiment: id, artifacts }).replace(/\/+$/, "");

/** The states of runs in MLflow's numbering, from 1 on. */
export const statuses = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"] as const;

/** Returns our word for a status of MLflow's. */
export const stateOf = (status: (typeof statuses)[number]): RunState =>
  status.toLowerCase() as RunState;

/** What is said of our run in MLflow's words. */
export const infoJSON = (run: FoundRun) => ({
  run_uuid: run.id,
  experiment_id: run.experiment,
  run_name: run.name,
  user_id: run.tags[userTag] ?? "unknown",
  status: run.state.toUpperCase(),
  start_time: run.started,
  end_time: run.ended,
  artifact_uri: artifactsOf(run),
  lifecycle_stage: run.deleted === null ? "active" : "deleted",
  run_id: run.id,
});

/** Our run as MLflow writes it. */
export function runJSON(run: FoundRun, links: RunLinks = { datasets: [], models: [] }) {
  const models = Map.groupBy(links.models, ({ role }) => role);
  return {
    info: infoJSON(run),
    data: {
      metrics: Object.entries(run.metrics).map(([key, { last, time, step }]) => ({
        key,
        value: last,
        timestamp: time,
        step,
      })),
      params: paramList(run.paramsText),
      tags: tagsOfRun(run),
    },
    inputs: {
      dataset_inputs: links.datasets.map(({ tags, ...dataset }) => ({
        tags,
        dataset: {
          name: dataset.name,
          digest: dataset.digest,
          source_type: dataset.type,
          source: dataset.source,
          schema: dataset.schema || undefined,
          profile: dataset.profile || undefined,
        },
      })),
      model_inputs: (models.get("input") ?? []).map(({ model }) => ({ model_id: model })),
    },
    outputs: {
      model_outputs: (models.get("output") ?? []).map(({ model, step }) => ({
        model_id: model,
        step,
      })),
    },
  };
}

/** Returns params as the texts that MLflow's are; numbers in the digits they were sent in. */
export function paramList(params: string): KeyValue[] {
  const texts: Record<string, unknown> = JSON.parse(params, ((
    _: string,
    value: unknown,
    { source }: { source?: string },
  ) => (typeof value === "number" ? source : value)) as (key: string, value: unknown) => unknown);
  return Object.entries(texts).map(([key, value]) => ({ key, value: String(value) }));
}

/** Returns params as they are stored: JSON in which a text that is a number is one, in the same digits. */
export function paramsText(params: KeyValue[]): string {
  return `{${params
    .map(
      ({ key, value }) =>
        `${JSON.stringify(key)}:${isNumber(value) ? value : JSON.stringify(value)}`,
    )
    .join(",")}}`;
}

const isNumber = (text: string): boolean =>
  /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text) && Number.isFinite(Number(text));
