import { reads, writes } from "./rights.ts";
import { Hono, type Context } from "hono";
import { ApiError } from "../../wire/error.ts";
import { isExperimentId } from "../../wire/id.ts";
import {
  archiveExperiment,
  createExperiment,
  findExperiment,
  findNamedExperiment,
  patchExperiment,
  type StoredExperiment,
} from "../db/experiments.ts";
import type { App } from "../env.ts";
import { answer } from "./json.ts";
import { checkKey, checkLength, limits } from "./limits.ts";
import { list, readRequest, required, string } from "./request.ts";
import { experimentJSON } from "./run-json.ts";
import { noteTag, Tag } from "./tags.ts";

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

const noSuchExperiment = (id: string) =>
  new ApiError("RESOURCE_DOES_NOT_EXIST", `No Experiment with id=${id} exists`);

/** Throws unless a text can be the id of an experiment, ours or MLflow's. */
export function checkExperimentId(id: string): void {
  if (!isExperimentId(id) && !/^\d+$/.test(id))
    throw invalid(`Invalid experiment ID '${id}'. Experiment ID must be a valid integer.`);
}

/** Returns the experiment of an id, archived or not; throws where there is none. */
export async function experimentOf(c: Context<App>, id: string): Promise<StoredExperiment> {
  checkExperimentId(id);
  const found = await findExperiment(c.env.DB, id, c.get("visitor").who);
  if (!found) throw noSuchExperiment(id);
  return found;
}

/** Returns the experiment of an id; throws where it is deleted, as MLflow does. */
export async function activeExperiment(c: Context<App>, id: string): Promise<StoredExperiment> {
  const experiment = await experimentOf(c, id);
  if (experiment.archived !== null)
    throw invalid(`The experiment ${id} must be in the 'active' state. Current state is deleted.`);
  return experiment;
}

/** Throws unless a text can be where files lie: a URI that leads nowhere else when it is resolved. */
function checkLocation(location: string): string {
  checkLength(location, "artifact_location", limits.location);
  if (/[#;]/.test(location))
    throw invalid("'artifact_location' URL can't include fragments or params.");
  let decoded = location;
  for (let i = 0; i < 10 && /%/.test(decoded); i++) {
    try {
      decoded = decodeURIComponent(decoded);
    } catch {
      throw invalid(`Invalid artifact_location: ${location}`);
    }
  }
  const [, scheme] = /^([a-z][a-z0-9+.-]*):/i.exec(decoded) ?? [];
  if (!scheme || /^(file|runs|models|dbfs|[a-z])$/i.test(scheme))
    throw invalid(
      `Invalid artifact_location: ${location}. It must be a URI that this server and its clients can both reach, such as mlflow-artifacts:/… or s3://…`,
    );
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\\#;\u0000-\u001f\u007f]/.test(decoded) || /(^|[/?&=:])\.\.([/?&]|$)/.test(decoded))
    throw invalid(`Invalid artifact_location: ${location}. It must not lead elsewhere by '..'.`);
  return location;
}

/** The tags of an experiment, one after the other as they are set; a note is one of them. */
function patchOfTags(tags: { key: string; value: string | null }[]) {
  const note = tags.findLast(({ key }) => key === noteTag);
  const others = tags.filter(({ key }) => key !== noteTag);
  return {
    ...(note ? { note: note.value ?? "" } : {}),
    tags: Object.fromEntries(others.map(({ key, value }) => [key, value])),
  };
}

function checkExperimentTag({ key, value }: { key: string; value: string | undefined }) {
  checkKey(key, "key");
  checkLength(key, "key", limits.key);
  return { key, value: checkLength(value ?? "", "value", limits.experimentTag) };
}

export const experiments = new Hono<App>()
  .post("/2.0/mlflow/experiments/create", writes("create an experiment"), async (c) => {
    const { name, artifact_location, tags } = await readRequest(c, {
      name: required(string),
      artifact_location: string,
      tags: list(Tag),
    });
    checkLength(name, "name", limits.experimentName);
    const checked = tags.map((tag) =>
      checkExperimentTag({ key: tag?.key ?? "", value: tag?.value }),
    );
    const patch = patchOfTags(checked);
    const location = artifact_location ? checkLocation(artifact_location) : null;
    const { DB } = c.env;
    const { who } = c.get("visitor");
    if (await findNamedExperiment(DB, name, who))
      throw new ApiError("RESOURCE_ALREADY_EXISTS", `Experiment(name=${name}) already exists.`);
    const experiment = {
      name,
      hypothesis: "",
      metric: null,
      direction: "min" as const,
      conclusion: "",
      note: patch.note ?? "",
      tags: patch.tags as Record<string, string>,
    };
    const { id } = await createExperiment(DB, experiment, who, location).catch((error: unknown) => {
      if (!(error instanceof ApiError) || error.code !== "RESOURCE_ALREADY_EXISTS") throw error;
      throw new ApiError(error.code, `Experiment(name=${name}) already exists.`);
    });
    return answer(c, { experiment_id: id });
  })
  .get("/2.0/mlflow/experiments/get", reads("an experiment"), async (c) => {
    const { experiment_id } = await readRequest(c, { experiment_id: required(string) });
    return answer(c, { experiment: experimentJSON(await experimentOf(c, experiment_id)) });
  })
  .get("/2.0/mlflow/experiments/get-by-name", reads("an experiment by its name"), async (c) => {
    const { experiment_name } = await readRequest(c, { experiment_name: required(string) });
    const found = await findNamedExperiment(c.env.DB, experiment_name, c.get("visitor").who);
    if (!found)
      throw new ApiError(
        "RESOURCE_DOES_NOT_EXIST",
        `Could not find experiment with name '${experiment_name}'`,
      );
    return answer(c, { experiment: experimentJSON(found) });
  })
  .post(
    "/2.0/mlflow/experiments/delete",
    writes("delete an experiment with its runs"),
    async (c) => {
      const { experiment_id } = await readRequest(c, { experiment_id: required(string) });
      const { id, archived } = await experimentOf(c, experiment_id);
      if (archived !== null) throw noSuchExperiment(experiment_id);
      await archiveExperiment(c.env.DB, id, true, c.get("visitor").who, { withRuns: true });
      return answer(c, {});
    },
  )
  .post("/2.0/mlflow/experiments/restore", writes("take an experiment back"), async (c) => {
    const { experiment_id } = await readRequest(c, { experiment_id: required(string) });
    const { id, archived } = await experimentOf(c, experiment_id);
    if (archived === null) throw noSuchExperiment(experiment_id);
    await archiveExperiment(c.env.DB, id, false, c.get("visitor").who, { withRuns: true });
    return answer(c, {});
  })
  .post("/2.0/mlflow/experiments/update", writes("rename an experiment"), async (c) => {
    const { experiment_id, new_name } = await readRequest(c, {
      experiment_id: required(string),
      new_name: required(string),
    });
    checkLength(new_name, "name", limits.experimentName);
    const { id, archived } = await experimentOf(c, experiment_id);
    if (archived !== null) throw invalid("Cannot rename a non-active experiment.");
    const { who } = c.get("visitor");
    await findNamedExperiment(c.env.DB, new_name, who); // the default one comes into being when its name is asked for
    await patchExperiment(c.env.DB, id, { name: new_name }, who).catch((error: unknown) => {
      if (!(error instanceof ApiError) || error.code !== "RESOURCE_ALREADY_EXISTS") throw error;
      throw new ApiError("BAD_REQUEST", `Experiment(name=${new_name}) already exists.`);
    });
    return answer(c, {});
  })
  .post("/2.0/mlflow/experiments/set-experiment-tag", writes("tag an experiment"), async (c) => {
    const { experiment_id, key, value } = await readRequest(c, {
      experiment_id: required(string),
      key: required(string),
      value: string,
    });
    const tag = checkExperimentTag({ key, value });
    const { id } = await activeExperiment(c, experiment_id);
    await patchExperiment(c.env.DB, id, patchOfTags([tag]), c.get("visitor").who);
    return answer(c, {});
  })
  .post(
    "/2.0/mlflow/experiments/delete-experiment-tag",
    writes("take a tag from an experiment"),
    async (c) => {
      const { experiment_id, key } = await readRequest(c, {
        experiment_id: required(string),
        key: required(string),
      });
      const { id, tags, note } = await activeExperiment(c, experiment_id);
      if (key === noteTag ? !note : !Object.hasOwn(tags, key))
        throw new ApiError(
          "RESOURCE_DOES_NOT_EXIST",
          `No tag with name: ${key} in experiment with id ${experiment_id}`,
        );
      await patchExperiment(
        c.env.DB,
        id,
        patchOfTags([{ key, value: null }]),
        c.get("visitor").who,
      );
      return answer(c, {});
    },
  );
