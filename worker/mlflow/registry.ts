import { Hono, type Context } from "hono";
import type { Tags } from "../../wire/config.ts";
import { ApiError, shown } from "../../wire/error.ts";
import { stages, type ModelVersion } from "../../wire/model.ts";
import { findOwner } from "../db/files.ts";
import { findLoggedModel, tagLoggedModel } from "../db/logged-models.ts";
import {
  aliasModel,
  createModel,
  createVersion,
  deleteModel,
  deleteVersion,
  describeModel,
  describeVersion,
  findModel,
  findVersion,
  renameModel,
  selectLatest,
  selectModels,
  selectVersions,
  stageVersion,
  tagModel,
  tagVersion,
  type FoundModel,
  type FoundVersion,
} from "../db/models.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { sendStored } from "./artifacts.ts";
import { formatPageToken, parsePageToken } from "./page-token.ts";
import {
  checkAlias,
  checkModelName,
  checkNotReserved,
  checkNote,
  checkRegistryTag,
  checkTagKey,
  parseStage,
  parseVersion,
} from "./registry-names.ts";
import { modelsQuestion, promptTag, versionsQuestion } from "./registry-search.ts";
import {
  boolean,
  int64,
  invalidValue,
  list,
  message,
  orElse,
  readRequest,
  required,
  string,
} from "./request.ts";
import { artifactsOf } from "./run-json.ts";
import { resolveSource, type NamedVersion, type ResolvedSource } from "./source.ts";

const models = "/2.0/mlflow/registered-models";
const versions = "/2.0/mlflow/model-versions";

const name = required(string);
const ofVersion = { name, version: required(string) };
const tags = list(message({ key: required(string), value: orElse(string, "") }));
const search = {
  filter: string,
  max_results: int64,
  order_by: list(string),
  page_token: string,
};

/** MLflow's registry of models. Prompts are registered models, too, which a tag says of them. */
export const registry = new Hono<App>()
  .post(
    `${models}/create`,
    route({ right: "writer", summary: "MLflow: create a registered model" }),
    async (c) => {
      const asked = await readRequest(c, { name, tags, description: orElse(string, "") });
      checkModelName(asked.name);
      const given = tagsOf(asked.tags);
      for (const [key, value] of Object.entries(given)) checkRegistryTag(key, value);
      const note = checkNote(asked.description);
      if (!(await createModel(c.env.DB, { name: asked.name, note, tags: given }, who(c))))
        throw await nameTaken(c, asked.name, given);
      return answerModel(c, await theModel(c, asked.name));
    },
  )
  .get(
    `${models}/get`,
    route({ right: "reader", summary: "MLflow: a registered model" }),
    async (c) => {
      const asked = await readRequest(c, { name });
      return answerModel(c, await theModel(c, asked.name));
    },
  )
  .patch(
    `${models}/update`,
    route({ right: "writer", summary: "MLflow: describe a registered model" }),
    async (c) => {
      const asked = await readRequest(c, { name, description: orElse(string, "") });
      const model = await theModel(c, asked.name);
      await describeModel(c.env.DB, model, checkNote(asked.description), who(c));
      return answerModel(c, await theModel(c, asked.name));
    },
  )
  .post(
    `${models}/rename`,
    route({ right: "writer", summary: "MLflow: rename a registered model" }),
    async (c) => {
      const asked = await readRequest(c, { name, new_name: required(string) });
      const next = checkModelName(asked.new_name, "new_name");
      const model = await theModel(c, asked.name);
      if (!(await renameModel(c.env.DB, model, next, who(c))))
        throw new ApiError(
          "RESOURCE_ALREADY_EXISTS",
          `Registered Model (name=${next}) already exists.`,
        );
      return answerModel(c, await theModel(c, next));
    },
  )
  .delete(
    `${models}/delete`,
    route({ right: "writer", summary: "MLflow: delete a registered model and its versions" }),
    async (c) => {
      const asked = await readRequest(c, { name });
      await deleteModel(c.env.DB, await theModel(c, asked.name), who(c));
      return c.json({});
    },
  )
  .get(
    `${models}/search`,
    route({ right: "reader", summary: "MLflow: search registered models" }),
    async (c) => {
      const asked = await readRequest(c, search);
      const limit = limitOf(asked.max_results, 100, 1_000);
      const { test, order, key } = modelsQuestion(asked.filter, texts(asked.order_by));
      const { items, next } = await selectModels(c.env.DB, {
        order,
        limit,
        test,
        after: parsePageToken(asked.page_token, key, order.length),
      });
      const latest = await selectLatest(c.env.DB, items);
      return c.json({
        registered_models: some(
          items.map((model) => shownModel(model, byStage(latest.get(model.name) ?? []))),
        ),
        next_page_token: next && formatPageToken(next, key),
      });
    },
  )
  .on(
    ["POST", "GET"],
    `${models}/get-latest-versions`,
    route({ right: "reader", summary: "MLflow: the latest version of a model at each stage" }),
    async (c) => {
      const asked = await readRequest(c, { name, stages: list(string) });
      const model = await theModel(c, asked.name);
      const wanted = new Set(asked.stages.length ? texts(asked.stages).map(parseStage) : stages);
      const latest = (await selectLatest(c.env.DB, [model])).get(model.name) ?? [];
      return c.json({
        model_versions: some(
          latest.filter(({ stage }) => wanted.has(stage)).map((version) => shownVersion(version)),
        ),
      });
    },
  )
  .post(
    `${models}/set-tag`,
    route({ right: "writer", summary: "MLflow: tag a registered model" }),
    async (c) => {
      const asked = await readRequest(c, {
        name,
        key: required(string),
        value: orElse(string, ""),
      });
      checkRegistryTag(asked.key, asked.value);
      const model = await theModel(c, asked.name);
      await tagModel(c.env.DB, model, { [asked.key]: asked.value }, who(c));
      return c.json({});
    },
  )
  .delete(
    `${models}/delete-tag`,
    route({ right: "writer", summary: "MLflow: take a tag from a registered model" }),
    async (c) => {
      const asked = await readRequest(c, { name, key: required(string) });
      checkTagKey(asked.key);
      const model = await theModel(c, asked.name);
      await tagModel(c.env.DB, model, { [asked.key]: null }, who(c));
      return c.json({});
    },
  )
  .post(
    `${models}/alias`,
    route({ right: "writer", summary: "MLflow: point an alias to a version" }),
    async (c) => {
      const asked = await readRequest(c, { ...ofVersion, alias: required(string) });
      checkModelName(asked.name);
      checkAlias(asked.alias);
      checkNotReserved(asked.alias);
      const number = parseVersion(asked.version);
      const model = await findModel(c.env.DB, asked.name);
      if (!model || !(await aliasModel(c.env.DB, model, asked.alias, number, who(c))))
        throw noSuchVersion(asked.name, asked.version);
      return c.json({});
    },
  )
  .delete(
    `${models}/alias`,
    route({ right: "writer", summary: "MLflow: take an alias away" }),
    async (c) => {
      const asked = await readRequest(c, { name, alias: required(string) });
      checkAlias(asked.alias);
      const model = await theModel(c, asked.name);
      await aliasModel(c.env.DB, model, asked.alias, null, who(c));
      return c.json({});
    },
  )
  .get(
    `${models}/alias`,
    route({ right: "reader", summary: "MLflow: the version that an alias points to" }),
    async (c) => {
      const asked = await readRequest(c, { name, alias: required(string) });
      checkAlias(asked.alias);
      return c.json({
        model_version: shownVersion(await versionByAlias(c, asked.name, asked.alias)),
      });
    },
  )
  .post(
    `${versions}/create`,
    route({ right: "writer", summary: "MLflow: register a version of a model" }),
    async (c) => {
      const asked = await readRequest(c, {
        name,
        source: required(string),
        run_id: string,
        run_link: orElse(string, ""),
        description: orElse(string, ""),
        tags,
        model_id: string,
      });
      const given = tagsOf(asked.tags);
      const isPrompt = given[promptTag]?.toLowerCase() === "true";
      const origin = isPrompt
        ? promptOrigin(asked.source, asked.run_id)
        : await resolveSource(
            { source: asked.source, run: asked.run_id, built: asked.model_id },
            {
              runLocation: (run) => runLocation(c, run),
              loggedModel: (id) => activeModel(c, id),
              version: (named) => namedVersion(c, named),
            },
          );
      checkModelName(asked.name);
      for (const [key, value] of Object.entries(given)) checkRegistryTag(key, value);
      if (asked.source.length > 10_000)
        throw invalidValue(asked.source, "source", "It is too long");
      const version = await createVersion(
        c.env.DB,
        await theModel(c, asked.name),
        { ...origin, link: asked.run_link, note: checkNote(asked.description), tags: given },
        who(c),
      );
      if (!version) throw noSuchModel(asked.name);
      if (origin.built) await noteVersion(c, origin.built, version);
      return c.json({ model_version: shownVersion(version) });
    },
  )
  .get(
    `${versions}/get`,
    route({ right: "reader", summary: "MLflow: a version of a registered model" }),
    async (c) => answerVersion(c, await theVersion(c, await readRequest(c, ofVersion))),
  )
  .patch(
    `${versions}/update`,
    route({ right: "writer", summary: "MLflow: describe a version" }),
    async (c) => {
      const asked = await readRequest(c, { ...ofVersion, description: orElse(string, "") });
      const version = await theVersion(c, asked);
      await describeVersion(c.env.DB, version, checkNote(asked.description), who(c));
      return answerVersion(c, await theVersion(c, asked));
    },
  )
  .post(
    `${versions}/transition-stage`,
    route({ right: "writer", summary: "MLflow: move a version to a stage" }),
    async (c) => {
      const asked = await readRequest(c, {
        ...ofVersion,
        stage: required(string),
        archive_existing_versions: orElse(boolean, false),
      });
      const stage = parseStage(asked.stage);
      const archive = asked.archive_existing_versions;
      if (archive && stage !== "Staging" && stage !== "Production")
        throw new ApiError(
          "INVALID_PARAMETER_VALUE",
          `Model version transition cannot archive existing model versions because '${asked.stage}' is not an Active stage. Valid stages are ['Staging', 'Production']`,
        );
      await stageVersion(c.env.DB, await theVersion(c, asked), { stage, archive }, who(c));
      return answerVersion(c, await theVersion(c, asked));
    },
  )
  .delete(
    `${versions}/delete`,
    route({ right: "writer", summary: "MLflow: delete a version" }),
    async (c) => {
      const version = await theVersion(c, await readRequest(c, ofVersion));
      await deleteVersion(c.env.DB, version, who(c));
      return c.json({});
    },
  )
  .get(
    `${versions}/search`,
    route({ right: "reader", summary: "MLflow: search versions of registered models" }),
    async (c) => {
      const asked = await readRequest(c, search);
      const limit = limitOf(asked.max_results, 10_000, 200_000);
      const { test, order, key, names } = versionsQuestion(asked.filter, texts(asked.order_by));
      const { items, next } = await selectVersions(c.env.DB, {
        names,
        order,
        limit,
        test,
        after: parsePageToken(asked.page_token, key, order.length),
      });
      return c.json({
        model_versions: some(items.map((version) => shownVersion(version, false))),
        next_page_token: next && formatPageToken(next, key),
      });
    },
  )
  .get(
    `${versions}/get-download-uri`,
    route({ right: "reader", summary: "MLflow: where a version's files are" }),
    async (c) => {
      const { location } = await theVersion(c, await readRequest(c, ofVersion));
      return c.json({ artifact_uri: location });
    },
  )
  .post(
    `${versions}/set-tag`,
    route({ right: "writer", summary: "MLflow: tag a version" }),
    async (c) => {
      const asked = await readRequest(c, {
        ...ofVersion,
        key: required(string),
        value: orElse(string, ""),
      });
      checkRegistryTag(asked.key, asked.value);
      const version = await theVersion(c, asked);
      await tagVersion(c.env.DB, version, { [asked.key]: asked.value }, who(c));
      return c.json({});
    },
  )
  .delete(
    `${versions}/delete-tag`,
    route({ right: "writer", summary: "MLflow: take a tag from a version" }),
    async (c) => {
      const asked = await readRequest(c, { ...ofVersion, key: required(string) });
      checkTagKey(asked.key);
      const version = await theVersion(c, asked);
      await tagVersion(c.env.DB, version, { [asked.key]: null }, who(c));
      return c.json({});
    },
  );

/** What MLflow's pages of models link to. */
export const registryPages = new Hono<App>().get(
  "/model-versions/get-artifact",
  route({ right: "reader", summary: "MLflow: a file of a version" }),
  async (c) => {
    const { path, ...version } = await readRequest(c, { ...ofVersion, path: required(string) });
    return sendStored(c, (await theVersion(c, version)).location, path);
  },
);

const who = (c: Context<App>): string => c.get("visitor").who;

const isPromptModel = ({ tags }: { tags: Tags }) => tags[promptTag]?.toLowerCase() === "true";

const tagsOf = (given: ({ key: string; value: string } | undefined)[]): Tags =>
  Object.fromEntries(given.flatMap((tag) => (tag ? [[tag.key, tag.value]] : [])));

const texts = (given: (string | undefined)[]): string[] =>
  given.filter((text) => text !== undefined);

/** Absent where it is empty, as MLflow answers lists. */
const some = <T>(items: T[]): T[] | undefined => (items.length ? items : undefined);

function limitOf(asked: number | undefined, most: number, limit: number): number {
  if (asked === undefined) return most;
  if (asked < 1)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `Invalid value for max_results. It must be a positive integer, but got ${asked}`,
    );
  if (asked > limit)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `Invalid value for request parameter max_results. It must be at most ${limit}, but got value ${asked}`,
    );
  return asked;
}

const noSuchModel = (name: string) =>
  new ApiError("RESOURCE_DOES_NOT_EXIST", `Registered Model with name=${shown(name)} not found`);

const noSuchVersion = (name: string, version: string | number) =>
  new ApiError(
    "RESOURCE_DOES_NOT_EXIST",
    `Model Version (name=${shown(name)}, version=${version}) not found`,
  );

async function theModel(c: Context<App>, name: string): Promise<FoundModel> {
  const model = await findModel(c.env.DB, checkModelName(name));
  if (!model) throw noSuchModel(name);
  return model;
}

async function theVersion(
  c: Context<App>,
  { name, version }: { name: string; version: string },
): Promise<FoundVersion> {
  checkModelName(name);
  const found = await findVersion(c.env.DB, name, parseVersion(version));
  if (!found) throw noSuchVersion(name, version);
  return found;
}

/** Returns the version with the greatest number, of those at a stage or of all. */
async function latestVersion(
  c: Context<App>,
  name: string,
  stage?: string,
): Promise<ModelVersion | undefined> {
  const model = await theModel(c, name);
  const latest = (await selectLatest(c.env.DB, [model])).get(name) ?? [];
  const wanted = stage === undefined ? undefined : parseStage(stage);
  return latest
    .filter((version) => wanted === undefined || version.stage === wanted)
    .sort((a, b) => b.number - a.number)[0];
}

/** Versions in the order of their stages' names, as MLflow's searches list them. */
const byStage = (versions: ModelVersion[]): ModelVersion[] =>
  versions.sort((a, b) => (a.stage < b.stage ? -1 : 1));

async function versionByAlias(c: Context<App>, name: string, alias: string): Promise<ModelVersion> {
  if (alias.toLowerCase() === "latest") {
    const latest = await latestVersion(c, name);
    if (latest) return latest;
    throw new ApiError(
      "RESOURCE_DOES_NOT_EXIST",
      `Latest version not found for model ${shown(name)}.`,
    );
  }
  const { aliases } = await theModel(c, name);
  const number = Object.hasOwn(aliases, alias) ? aliases[alias] : undefined;
  const version = number === undefined ? null : await findVersion(c.env.DB, name, number);
  if (!version)
    throw new ApiError("INVALID_PARAMETER_VALUE", `Registered model alias ${alias} not found.`);
  return version;
}

/** Returns the version that a source such as models:/clf@champion names. */
async function namedVersion(c: Context<App>, named: NamedVersion): Promise<ModelVersion> {
  if (isPromptModel(await theModel(c, named.name)))
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `Invalid model version source: prompt versions cannot be used as model version sources: ${shown(named.name)}`,
    );
  if ("number" in named) return theVersion(c, { name: named.name, version: String(named.number) });
  if ("alias" in named) return versionByAlias(c, named.name, named.alias);
  const version = await latestVersion(c, named.name, "stage" in named ? named.stage : undefined);
  if (!version) throw noSuchVersion(named.name, "stage" in named ? named.stage : "latest");
  return version;
}

/** Returns where the files of a run lie, or null where there is no such run. */
async function runLocation(c: Context<App>, run: string): Promise<string | null> {
  const owner = await findOwner(c.env.DB, run);
  return owner ? artifactsOf(owner) : null;
}

async function activeModel(c: Context<App>, id: string) {
  const model = await findLoggedModel(c.env.DB, id);
  return model?.deleted === null ? model : null;
}

/** The versions of prompts have no files, and a word for their source. */
function promptOrigin(source: string, run: string | undefined): ResolvedSource {
  if (source !== "dummy-source" && source !== "prompt-template")
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `Invalid prompt source: '${shown(source)}'. Prompt sources must use an MLflow placeholder.`,
    );
  return { source, location: source, run: run || null, built: null };
}

/** Notes at a logged model that a version was made of it, in the tag where clients look for it. */
async function noteVersion(
  c: Context<App>,
  id: string,
  { model, number }: ModelVersion,
): Promise<void> {
  const key = "mlflow.modelVersions";
  const before = (await findLoggedModel(c.env.DB, id))?.tags[key];
  const versions = [...listFrom(before), { name: model, version: number }];
  await tagLoggedModel(c.env.DB, id, { [key]: JSON.stringify(versions) }, who(c));
}

function listFrom(text: string | undefined): unknown[] {
  try {
    const value: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? value : [];
  } catch {
    return []; // a client may have set it to anything
  }
}

async function nameTaken(c: Context<App>, name: string, tags: Tags): Promise<ApiError> {
  const taken = await findModel(c.env.DB, name);
  const word = (model: { tags: Tags }) => (isPromptModel(model) ? "Prompt" : "Registered Model");
  const [old, next] = [word(taken ?? { tags }), word({ tags })];
  return new ApiError(
    "RESOURCE_ALREADY_EXISTS",
    old === next
      ? `${next} (name=${name}) already exists.`
      : `Tried to create a ${next.toLowerCase()} with name '${name}', but the name is already taken by a ${old.toLowerCase()}. MLflow does not allow creating a model and a prompt with the same name.`,
  );
}

async function answerModel(c: Context<App>, model: FoundModel): Promise<Response> {
  const latest = await selectLatest(c.env.DB, [model]);
  return c.json({ registered_model: shownModel(model, latest.get(model.name) ?? []) });
}

const answerVersion = (c: Context<App>, version: ModelVersion): Response =>
  c.json({ model_version: shownVersion(version) });

const shownTags = (tags: Tags) =>
  some(Object.entries(tags).map(([key, value]) => ({ key, value })));

const shownModel = (model: FoundModel, latest: ModelVersion[]) => ({
  name: model.name,
  creation_timestamp: model.created,
  last_updated_timestamp: model.updated,
  description: model.note || undefined,
  latest_versions: some(latest.map((version) => shownVersion(version, false))),
  tags: shownTags(model.tags),
  aliases: some(
    Object.entries(model.aliases).map(([alias, number]) => ({ alias, version: String(number) })),
  ),
});

/** A version as MLflow answers it: within lists without its aliases. */
const shownVersion = (version: ModelVersion, withAliases = true) => ({
  name: version.model,
  version: String(version.number),
  creation_timestamp: version.created,
  last_updated_timestamp: version.updated,
  current_stage: version.stage,
  description: version.note,
  source: version.source,
  run_id: version.run ?? "",
  status: "READY",
  tags: shownTags(version.tags),
  run_link: version.link,
  aliases: withAliases ? some(version.aliases) : undefined,
});
