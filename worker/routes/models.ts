import { Hono } from "hono";
import * as v from "valibot";
import { ApiError, shown } from "../../wire/error.ts";
import type { Model, ModelVersion } from "../../wire/model.ts";
import { parse } from "../../wire/parse.ts";
import {
  findModel,
  modelOrder,
  selectModels,
  selectVersions,
  versionOrder,
  type FoundModel,
  type FoundVersion,
} from "../db/models.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { json } from "./answer.ts";
import { count, text } from "./query.ts";

const ModelsQuery = v.strictObject({ after: v.optional(text), limit: v.optional(count(1_000)) });
const VersionsQuery = v.strictObject({
  before: v.optional(count(Number.MAX_SAFE_INTEGER)),
  limit: v.optional(count(1_000)),
});

export const models = new Hono<App>()
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
