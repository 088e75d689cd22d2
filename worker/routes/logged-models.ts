import { Hono, type Context } from "hono";
import * as v from "valibot";
import { ApiError, shown } from "../../wire/error.ts";
import { WholeLoggedModel, type LoggedModel } from "../../wire/logged-model.ts";
import { parse } from "../../wire/parse.ts";
import { readJSON } from "../body.ts";
import { selectExperiment } from "../db/experiments.ts";
import { findOwnedFile, nobody, putOwnedFile, selectOwnedFiles } from "../db/files.ts";
import { addLoggedModel, findLoggedModel, selectAllLoggedModels } from "../db/logged-models.ts";
import type { App } from "../env.ts";
import { experimentLocation } from "../mlflow/run-json.ts";
import { route } from "../route.ts";
import { json } from "./answer.ts";
import { fileOf, sendFile, uploadOf } from "./files.ts";
import { count, list, text } from "./query.ts";
import { namedExperiments } from "./runs.ts";

const LoggedModelsQuery = v.strictObject({
  experiment: v.optional(list),
  after: v.optional(text),
  limit: v.optional(count(1_000)),
});

export const loggedModels = new Hono<App>()
  .get(
    "/logged-models",
    route({
      right: "reader",
      summary:
        "The models that runs built, deleted ones too, by id. experiment: id or name, may repeat; limit: 100 unless given, 1000 or fewer; after: what the page before called next",
      query: LoggedModelsQuery,
    }),
    async (c) => {
      const { after, limit = 100, ...query } = parse(LoggedModelsQuery, c.req.queries(), "query");
      const experiments =
        query.experiment &&
        (await namedExperiments(c.env.DB, query.experiment)).map(({ id }) => id);
      const { items, next } = await selectAllLoggedModels(c.env.DB, { experiments, after, limit });
      return json(c, { models: items, next: next?.[0] ?? null });
    },
  )
  .post(
    "/logged-models",
    route({
      right: "writer",
      summary:
        "Add a model that was built elsewhere, under its id, or what is not here of it; what is here stays as it is",
      body: WholeLoggedModel,
      answers: { 201: "it is here", 409: "the id is another experiment's model" },
    }),
    async (c) => {
      const given = parse(WholeLoggedModel, await readJSON(c));
      const experiment = await selectExperiment(c.env.DB, given.experiment);
      const location = `${experimentLocation(experiment)}/models/${given.id}/artifacts`;
      const model = { ...given, experiment: experiment.id, location };
      const there = await addLoggedModel(c.env.DB, model, c.get("visitor").who);
      if (there.experiment !== experiment.id)
        throw new ApiError(
          "RESOURCE_ALREADY_EXISTS",
          `logged model is already in another experiment: ${given.id}`,
        );
      return json(c, there, 201);
    },
  )
  .get(
    "/logged-models/:model",
    route({ right: "reader", summary: "A model that a run built, deleted or not" }),
    async (c) => json(c, await theModel(c)),
  )
  .get(
    "/logged-models/:model/files",
    route({ right: "reader", summary: "The files of a model that a run built" }),
    async (c) => {
      const folder = folderOf(await theModel(c));
      const found = await selectOwnedFiles(c.env.DB, nobody, folder);
      return json(c, {
        files: found.map((file) => ({ ...file, path: file.path.slice(folder.length + 1) })),
      });
    },
  )
  .put(
    "/logged-models/:model/files/:path{.*}",
    route({
      right: "writer",
      summary: "Store a file of a model that a run built; the rest as for a file of a run",
      body: { "application/octet-stream": "the content" },
      answers: { 201: "stored", 411: "the body has no length", 413: "the file is too large" },
    }),
    async (c) => {
      const folder = folderOf(await theModel(c));
      const { path, ...upload } = uploadOf(c);
      const place = `${folder}/${path}`;
      await putOwnedFile(c.env, nobody, { ...upload, path: place }, c.get("visitor").who);
      const { file } = (await findOwnedFile(c.env, nobody, place))!;
      return json(c, { ...file, path }, 201);
    },
  )
  .get(
    "/logged-models/:model/files/:path{.*}",
    route({ right: "reader", summary: "A file of a model that a run built, whole or by Range" }),
    async (c) => {
      const path = fileOf(c);
      const found = await findOwnedFile(c.env, nobody, `${folderOf(await theModel(c))}/${path}`);
      if (!found) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `file not found: ${shown(path)}`);
      return sendFile(c, found);
    },
  );

async function theModel(c: Context<App>): Promise<LoggedModel> {
  const id = c.req.param("model")!;
  const model = await findLoggedModel(c.env.DB, id);
  if (!model) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `logged model not found: ${shown(id)}`);
  return model;
}

/** Returns the folder, among the files of nobody, in which those of a logged model lie; throws where they lie elsewhere. */
function folderOf({ location }: LoggedModel): string {
  const [, folder] = /^mlflow-artifacts:\/*(.+)$/.exec(location) ?? [];
  if (folder === undefined)
    throw new ApiError("INVALID_STATE", `files lie elsewhere: ${shown(location)}`);
  return folder;
}
