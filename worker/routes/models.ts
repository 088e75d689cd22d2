import { Hono } from "hono";
import * as v from "valibot";
import { ApiError, shown } from "../../wire/error.ts";
import { WholeModel, type Model, type ModelVersion } from "../../wire/model.ts";
import { parse } from "../../wire/parse.ts";
import { readJSON } from "../body.ts";
import { findOwner } from "../db/files.ts";
import { findLoggedModel } from "../db/logged-models.ts";
import {
  addModel,
  findModel,
  modelOrder,
  selectModels,
  selectVersions,
  versionOrder,
  type FoundModel,
  type FoundVersion,
} from "../db/models.ts";
import type { App } from "../env.ts";
import { artifactsOf } from "../mlflow/run-json.ts";
import { route } from "../route.ts";
import { json } from "./answer.ts";
import { count, text } from "./query.ts";

const ModelsQuery = v.strictObject({ after: v.optional(text), limit: v.optional(count(1_000)) });
const VersionsQuery = v.strictObject({
  before: v.optional(count(Number.MAX_SAFE_INTEGER)),
  limit: v.optional(count(1_000)),
});

export const models = new Hono<App>()
  .post(
    "/models",
    route({
      right: "writer",
      summary:
        "Add a registered model from elsewhere with its versions and aliases, or what is not here of it: versions under greater numbers than it has; what is here stays as it is",
      body: WholeModel,
      answers: { 201: "it is here" },
    }),
    async (c) => {
      const { versions, aliases, ...model } = parse(WholeModel, await readJSON(c));
      const given = {
        ...model,
        aliases: Object.fromEntries(aliases.map(({ alias, number }) => [alias, number])),
        versions: await Promise.all(
          versions.map(async (version) => ({
            ...version,
            location: await locationOf(c.env.DB, version.source),
          })),
        ),
      };
      await addModel(c.env.DB, given, c.get("visitor").who);
      const { no: _, last: __, ...there } = (await findModel(c.env.DB, model.name))!;
      return json(c, there, 201);
    },
  )
  .get(
    "/models",
    route({
      right: "reader",
      summary:
        "The registered models by name. limit: 1000 or fewer; after: what the page before called next",
      query: ModelsQuery,
    }),
    async (c) => {
      const { after, limit = 1_000 } = parse(ModelsQuery, c.req.queries(), "query");
      const { items, next } = await selectModels(c.env.DB, {
        order: [{ by: modelOrder.name }],
        after: after === undefined ? undefined : [after],
        limit,
      });
      return json(c, { models: items.map(modelOf), next: next?.[0] ?? null });
    },
  )
  .get(
    "/models/:model",
    route({
      right: "reader",
      summary:
        "A registered model with its versions, the latest first. limit: 1000 or fewer; before: what the page before called next",
      query: VersionsQuery,
    }),
    async (c) => {
      const { before, limit = 1_000 } = parse(VersionsQuery, c.req.queries(), "query");
      const name = c.req.param("model");
      const model = await findModel(c.env.DB, name);
      if (!model) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `model not found: ${shown(name)}`);
      const { items, next } = await selectVersions(c.env.DB, {
        names: [name],
        order: [{ by: versionOrder.number, descending: true }],
        after: before === undefined ? undefined : [before],
        limit,
      });
      return json(c, {
        ...modelOf(model),
        versions: items.map(versionOf),
        next: next?.[0] ?? null,
      });
    },
  );

const modelOf = ({ no: _, last: __, ...model }: FoundModel): Model => model;
const versionOf = ({ no: _, ...version }: FoundVersion): ModelVersion => version;

/** Returns where the files of a version are: those of a run or a logged model that is here are here, wherever they were. */
async function locationOf(db: D1Database, source: string): Promise<string> {
  const within = (location: string, path = "") => (path ? `${location}/${path}` : location);
  const [, model, inModel] =
    /(?:^models:\/+|\/models\/)(m-[0-9a-f]{32})(?:\/artifacts)?(?:\/(.*))?$/.exec(source) ?? [];
  const logged = model === undefined ? null : await findLoggedModel(db, model);
  if (logged) return within(logged.location, inModel);
  const [, run, inRun] =
    /(?:^runs:\/+|\/)([0-9a-f]{32})(?:\/artifacts)?(?:\/(.*))?$/.exec(source) ?? [];
  const owner = run === undefined ? undefined : await findOwner(db, run);
  return owner ? within(artifactsOf(owner), inRun) : source;
}
