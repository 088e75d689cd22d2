import { Hono } from "hono";
import { ApiError } from "../../wire/error.ts";
import { contextTag, linkRun, selectDatasetUses, type RunDataset } from "../db/datasets.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { answer } from "./json.ts";
import { checkLength, limits } from "./limits.ts";
import {
  int64,
  list,
  message,
  missing,
  orElse,
  readRequest,
  required,
  string,
  type Of,
} from "./request.ts";
import { ofRun, runIdOf, RunRef } from "./runs.ts";
import { Tag } from "./tags.ts";

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

const Input = message({
  tags: list(Tag),
  dataset: message({
    name: required(string),
    digest: required(string),
    source_type: required(string),
    source: required(string),
    schema: orElse(string, ""),
    profile: orElse(string, ""),
  }),
});

/** How many datasets one request may name. */
const mostDatasets = 1000;
const mostExperiments = 20;

export const runLinks = new Hono<App>()
  .post(
    "/2.0/mlflow/runs/log-inputs",
    route({ right: "writer", summary: "MLflow: note the datasets and models that a run read" }),
    async (c) => {
      const { datasets, models, ...ref } = await readRequest(c, {
        ...RunRef,
        datasets: list(Input),
        models: list(message({ model_id: required(string) })),
      });
      const id = runIdOf(ref);
      if (datasets.length > mostDatasets)
        throw invalid(
          `A request can contain at most ${mostDatasets} datasets. Got ${datasets.length}.`,
        );
      const links = {
        datasets: datasets.map((input, i) => checkInput(input, `datasets[${i}]`)),
        models: models.map((it, i) => {
          if (!it) throw missing(`models[${i}].model_id`);
          return { role: "input" as const, model: it.model_id, step: 0 };
        }),
      };
      await ofRun(id, linkRun(c.env.DB, id, links, c.get("visitor").who));
      return answer(c, {});
    },
  )
  .post(
    "/2.0/mlflow/runs/outputs",
    route({ right: "writer", summary: "MLflow: note the models that a run made" }),
    async (c) => {
      const { models, ...ref } = await readRequest(c, {
        ...RunRef,
        models: required(list(message({ model_id: required(string), step: orElse(int64, 0) }))),
      });
      const id = runIdOf(ref);
      const made = models.map((it, i) => {
        if (!it) throw missing(`models[${i}].model_id`);
        return { role: "output" as const, model: it.model_id, step: it.step };
      });
      await ofRun(id, linkRun(c.env.DB, id, { datasets: [], models: made }, c.get("visitor").who));
      return answer(c, {});
    },
  )
  .post(
    "/2.0/mlflow/experiments/search-datasets",
    route({ right: "reader", summary: "MLflow: the datasets that the runs of experiments read" }),
    async (c) => {
      const { experiment_ids } = await readRequest(c, { experiment_ids: list(required(string)) });
      if (!experiment_ids.length)
        throw invalid("SearchDatasets request must specify at least one experiment_id.");
      if (experiment_ids.length > mostExperiments)
        throw invalid(
          `SearchDatasets request cannot specify more than ${mostExperiments} experiment_ids. Received ${experiment_ids.length} experiment_ids.`,
        );
      const uses = await selectDatasetUses(c.env.DB, experiment_ids, contextTag);
      return answer(c, {
        dataset_summaries: uses.map(({ experiment, name, digest, context }) => ({
          experiment_id: experiment,
          name,
          digest,
          context,
        })),
      });
    },
  );

/** Returns a dataset as a run read it, checked. */
function checkInput(input: Of<typeof Input>, path: string): RunDataset {
  if (!input?.dataset) throw missing(`${path}.dataset`);
  const { name, digest, source_type, source, schema, profile } = input.dataset;
  checkLength(name, "name", limits.datasetName);
  checkLength(digest, "digest", limits.datasetDigest);
  checkLength(source, "source", limits.datasetSource);
  checkLength(schema, "schema", limits.datasetSchema);
  checkLength(profile, "profile", limits.datasetProfile);
  const tags = input.tags.map((tag) => ({
    key: checkLength(tag?.key ?? "", "key", limits.inputTagKey),
    value: checkLength(tag?.value ?? "", "value", limits.inputTagValue),
  }));
  return { name, digest, type: source_type, source, schema, profile, tags };
}
