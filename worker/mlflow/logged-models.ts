import { reads, writes } from "./rights.ts";
import { Hono, type Context } from "hono";
import { ApiError, shown } from "../../wire/error.ts";
import { newId } from "../../wire/id.ts";
import { modelStates, type LoggedModel } from "../../wire/logged-model.ts";
import { wordsFromId } from "../../wire/run-name.ts";
import {
  addModelParams,
  createLoggedModel,
  deleteLoggedModel,
  findLoggedModel,
  finishLoggedModel,
  selectLoggedModels,
  tagLoggedModel,
} from "../db/logged-models.ts";
import type { App } from "../env.ts";
import { listStored } from "./artifacts.ts";
import { activeExperiment, checkExperimentId } from "./experiments.ts";
import { answer } from "./json.ts";
import { checkLength, cut, limits } from "./limits.ts";
import { loggedModelsQuestion } from "./logged-models-search.ts";
import { formatPageToken, parsePageToken } from "./page-token.ts";
import {
  boolean,
  int64,
  list,
  message,
  orElse,
  readRequest,
  required,
  string,
  word,
} from "./request.ts";
import { experimentLocation } from "./run-json.ts";
import { tagList } from "./tags.ts";

const base = "/2.0/mlflow/logged-models";
const pairs = list(message({ key: required(string), value: orElse(string, "") }));

/** The states of logged models in MLflow's numbering, from 1 on. */
const statuses = [
  "LOGGED_MODEL_PENDING",
  "LOGGED_MODEL_READY",
  "LOGGED_MODEL_UPLOAD_FAILED",
] as const;

/** Models as runs build them, in MLflow's words logged models. */
export const loggedModels = new Hono<App>()
  .post(base, writes("note that a model is being built"), async (c) => {
    const asked = await readRequest(c, {
      experiment_id: required(string),
      name: string,
      model_type: orElse(string, ""),
      source_run_id: orElse(string, ""),
      params: pairs,
      tags: pairs,
    });
    const name = asked.name || wordsFromId(newId());
    checkName(name);
    checkLength(asked.model_type, "model_type", 500);
    checkLength(asked.source_run_id, "source_run_id", 256);
    const experiment = await activeExperiment(c, asked.experiment_id);
    const id = `m-${crypto.randomUUID().replaceAll("-", "")}`;
    const model = {
      id,
      experiment: experiment.id,
      name,
      type: asked.model_type,
      location: `${experimentLocation(experiment)}/models/${id}/artifacts`,
      run: asked.source_run_id || null,
      params: paramsOf(asked.params),
      tags: tagsOf(asked.tags),
    };
    return answerModel(c, await createLoggedModel(c.env.DB, model, who(c)));
  })
  .post(`${base}/search`, reads("search logged models"), async (c) => {
    const asked = await readRequest(c, {
      experiment_ids: required(list(required(string))),
      filter: string,
      datasets: list(
        message({ dataset_name: orElse(string, ""), dataset_digest: orElse(string, "") }),
      ),
      max_results: int64,
      order_by: list(
        message({
          field_name: orElse(string, ""),
          ascending: orElse(boolean, true),
          dataset_name: string,
          dataset_digest: string,
        }),
      ),
      page_token: string,
    });
    if (asked.datasets.some((dataset) => !dataset?.dataset_name))
      throw invalid("`dataset_name` in the `datasets` clause must be specified.");
    for (const id of asked.experiment_ids) checkExperimentId(id);
    if ((asked.max_results ?? 0) < 0)
      throw invalid(`Invalid value for max_results: ${asked.max_results}`);
    const { question, ...selection } = loggedModelsQuestion(asked);
    const { items, next } = await selectLoggedModels(c.env.DB, {
      experiments: asked.experiment_ids,
      ...selection,
      limit: asked.max_results || 100,
      after: parsePageToken(asked.page_token, question, selection.order.length),
    });
    return answer(c, {
      models: items.map(modelJSON),
      next_page_token: next && formatPageToken(next, question),
    });
  })
  .get(`${base}/:model`, reads("a logged model"), async (c) => {
    const allowDeleted = c.req.query("allow_deleted")?.toLowerCase() === "true";
    const model = await theModel(c);
    if (model.deleted !== null && !allowDeleted) throw noSuchModel(model.id);
    return answerModel(c, model);
  })
  .patch(`${base}/:model`, writes("say how the upload of a logged model ended"), async (c) => {
    const { status } = await readRequest(c, { status: required(word(statuses)) });
    if (status === undefined) throw invalid("Invalid value for parameter 'status' supplied.");
    const state = modelStates[statuses.indexOf(status)]!;
    const id = c.req.param("model");
    const model = await finishLoggedModel(c.env.DB, id, state, who(c));
    if (!model) throw noSuchModel(id);
    return answerModel(c, model);
  })
  .delete(`${base}/:model`, writes("delete a logged model"), async (c) => {
    const { id } = await theModel(c);
    await deleteLoggedModel(c.env.DB, id, who(c));
    return c.json({});
  })
  .patch(`${base}/:model/tags`, writes("tag a logged model"), async (c) => {
    const { tags } = await readRequest(c, { tags: pairs });
    const { id } = await theModel(c);
    await tagLoggedModel(c.env.DB, id, tagsOf(tags), who(c));
    return c.json({});
  })
  .delete(`${base}/:model/tags/:key{.+}`, writes("take a tag from a logged model"), async (c) => {
    const key = c.req.param("key");
    const { id, tags } = await theModel(c);
    if (!Object.hasOwn(tags, key))
      throw new ApiError(
        "RESOURCE_DOES_NOT_EXIST",
        `No tag with key '${shown(key)}' found for model with ID '${id}'.`,
      );
    await tagLoggedModel(c.env.DB, id, { [key]: null }, who(c));
    return c.json({});
  })
  .post(`${base}/:model/params`, writes("add params to a logged model"), async (c) => {
    const params = paramsOf((await readRequest(c, { params: pairs })).params);
    const { id } = await theModel(c);
    const stands = await addModelParams(c.env.DB, id, params, who(c));
    for (const [key, value] of Object.entries(params))
      if (stands[key] !== value)
        throw new ApiError(
          "BAD_REQUEST",
          `Changing param values is not allowed. Param with key='${key}' was already logged with value='${shown(stands[key])}' for model ID='${id}'.`,
        );
    return c.json({});
  })
  .get(`${base}/:model/artifacts/directories`, reads("list files of a logged model"), async (c) => {
    const { artifact_directory_path: folder } = await readRequest(c, {
      artifact_directory_path: orElse(string, ""),
    });
    const { location } = await theModel(c);
    return answer(c, { root_uri: location, files: await listStored(c, location, folder) });
  });

const who = (c: Context<App>): string => c.get("visitor").who;

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

const noSuchModel = (id: string) =>
  new ApiError("RESOURCE_DOES_NOT_EXIST", `Logged model with ID '${shown(id)}' not found.`);

/** Returns the logged model of an id, or of the one in the path, deleted or not. */
async function theModel(c: Context<App>, id = c.req.param("model")!): Promise<LoggedModel> {
  const model = await findLoggedModel(c.env.DB, id);
  if (!model) throw noSuchModel(id);
  return model;
}

function checkName(name: string): void {
  if (/[/:.%"']/.test(name))
    throw invalid(
      `Invalid model name ('${shown(name)}') provided. Model name must be a non-empty string and cannot contain the following characters: ('/', ':', '.', '%', '"', "'")`,
    );
  checkLength(name, "name", 500);
}

type Pairs = ({ key: string; value: string } | undefined)[];

function paramsOf(pairs: Pairs): Record<string, string> {
  const params = new Map<string, string>();
  for (const pair of pairs) {
    if (!pair) continue;
    if (params.has(pair.key))
      throw invalid(`Duplicate parameter keys have been submitted: ['${pair.key}']`);
    params.set(checkLength(pair.key, "param key", limits.key), cut(pair.value, limits.param));
  }
  return Object.fromEntries(params);
}

const tagsOf = (pairs: Pairs): Record<string, string> =>
  Object.fromEntries(
    pairs.flatMap((pair) =>
      pair
        ? [
            [
              checkLength(pair.key, "tag key", limits.key),
              checkLength(pair.value, "value", 100_000),
            ],
          ]
        : [],
    ),
  );

const answerModel = (c: Context<App>, model: LoggedModel): Response =>
  answer(c, { model: modelJSON(model) });

/** Our logged model as MLflow writes it. */
const modelJSON = (model: LoggedModel) => ({
  info: {
    model_id: model.id,
    experiment_id: model.experiment,
    name: model.name,
    creation_timestamp_ms: model.created,
    last_updated_timestamp_ms: model.updated,
    artifact_uri: model.location,
    status: statuses[modelStates.indexOf(model.state)],
    model_type: model.type,
    source_run_id: model.run ?? "",
    tags: tagList(model.tags),
  },
  data: {
    params: tagList(model.params),
    metrics: model.points.map(({ key, value, time, step, run, dataset }) => ({
      key,
      value,
      timestamp: time,
      step,
      model_id: model.id,
      dataset_name: dataset?.name,
      dataset_digest: dataset?.digest,
      run_id: run,
    })),
  },
});
