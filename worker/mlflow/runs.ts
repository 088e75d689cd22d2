import { reads, writes } from "./rights.ts";
import { Hono, type Context } from "hono";
import { ApiError, shown } from "../../wire/error.ts";
import { fullTail } from "../db/compact.ts";
import { selectLinks } from "../db/datasets.ts";
import { logToRun, type Log, type LogOutcome } from "../db/log.ts";
import { appendToTag, createRun, deleteRun, selectRun, setRun, type FoundRun } from "../db/runs.ts";
import type { App } from "../env.ts";
import { compactLater } from "../routes/compact-later.ts";
import { activeExperiment } from "./experiments.ts";
import { checkCounts, checkParam, checkUnique, conflictsOf } from "./batch.ts";
import { answer } from "./json.ts";
import { checkMetric, Metric, pointsOf } from "./metric.ts";
import { logModelPoints, OfModel, pointsOfModels } from "./model-points.ts";
import {
  double,
  int64,
  list,
  missing,
  orElse,
  readRequest,
  required,
  string,
  word,
} from "./request.ts";
import { infoJSON, paramList, paramsText, runJSON, stateOf, statuses } from "./run-json.ts";
import {
  checkTag,
  historyTag,
  logOfTags,
  LoneTag,
  noteTag,
  Tag,
  tagsOfRun,
  userTag,
} from "./tags.ts";

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** A run by its id, which old clients call run_uuid. */
export const RunRef = { run_id: string, run_uuid: string };

/** Returns the id that a request names a run by. */
export function runIdOf({
  run_id,
  run_uuid,
}: {
  run_id: string | undefined;
  run_uuid: string | undefined;
}): string {
  const id = run_id || run_uuid;
  if (!id) throw missing("run_id");
  return id;
}

/** Does what may throw that a run is not there or deleted, and says so in MLflow's words. */
export async function ofRun<T>(id: string, done: Promise<T>): Promise<T> {
  try {
    return await done;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.code === "RESOURCE_DOES_NOT_EXIST")
      throw new ApiError(error.code, `Run with id=${id} not found`);
    if (error.code === "INVALID_STATE")
      throw invalid(`The run ${id} must be in the 'active' state. Current state is deleted.`);
    throw error;
  }
}

/** Returns a run that takes what is logged: one that is not deleted. */
async function activeRun(c: Context<App>, id: string): Promise<FoundRun> {
  const run = await ofRun(id, selectRun(c.env.DB, id));
  if (run.deleted !== null)
    throw invalid(`The run ${id} must be in the 'active' state. Current state is deleted.`);
  return run;
}

/** Stores what is logged to a run. */
async function log(c: Context<App>, id: string, it: Log): Promise<LogOutcome> {
  const outcome = await ofRun(id, logToRun(c.env.DB, id, it, c.get("visitor").who));
  if (outcome.tail >= fullTail) compactLater(c, outcome.no);
  return outcome;
}

export const runs = new Hono<App>()
  .post("/2.0/mlflow/runs/create", writes("start a run"), async (c) => {
    const { experiment_id, user_id, run_name, start_time, tags } = await readRequest(c, {
      experiment_id: string,
      user_id: string,
      run_name: string,
      start_time: orElse(int64, 0),
      tags: list(Tag),
    });
    if (!experiment_id) throw new ApiError("BAD_REQUEST", missing("experiment_id").message);
    if (start_time < 0)
      throw invalid(`Invalid value ${start_time} for parameter 'start_time' supplied`);
    const { id: experiment } = await activeExperiment(c, experiment_id);
    const checked = tags.map((tag) => checkTag(tag));
    const { name, note = "", parent, tags: own } = logOfTags(checked);
    if (run_name && name && run_name !== name)
      throw invalid(
        `Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='${run_name}', mlflow.runName='${name}').`,
      );
    const user = user_id && user_id !== "unknown" ? { [userTag]: user_id } : {};
    const run = await createRun(
      c.env.DB,
      {
        experiment,
        name: run_name || name,
        state: "running",
        params: {},
        tags: { ...user, ...withoutNull(own) },
        note,
        parent: parent || null,
        source: "",
        started: start_time,
      },
      c.get("visitor").who,
    );
    const { outputs: _, ...json } = runJSON(run);
    return answer(c, { run: json });
  })
  .get("/2.0/mlflow/runs/get", reads("a run"), async (c) => {
    const id = runIdOf(await readRequest(c, RunRef));
    const run = await ofRun(id, selectRun(c.env.DB, id));
    const links = await selectLinks(c.env.DB, [run.no]);
    return answer(c, { run: runJSON(run, links.get(run.no)) });
  })
  .post("/2.0/mlflow/runs/update", writes("change a run's status, end and name"), async (c) => {
    const { status, end_time, run_name, ...ref } = await readRequest(c, {
      ...RunRef,
      status: word(statuses),
      end_time: int64,
      run_name: string,
    });
    const id = runIdOf(ref);
    const change = {
      state: status && stateOf(status),
      ended: end_time || undefined,
      name: run_name || undefined,
    };
    const run = await ofRun(id, setRun(c.env.DB, id, change, c.get("visitor").who));
    if (run.points && run.ended !== null) compactLater(c, run.no);
    return answer(c, { run_info: infoJSON(run) });
  })
  .post("/2.0/mlflow/runs/delete", writes("delete a run"), async (c) => {
    const id = runIdOf(await readRequest(c, RunRef));
    await ofRun(id, deleteRun(c.env.DB, id, true, c.get("visitor").who));
    return answer(c, {});
  })
  .post("/2.0/mlflow/runs/restore", writes("take a deleted run back"), async (c) => {
    const id = runIdOf(await readRequest(c, RunRef));
    await ofRun(id, deleteRun(c.env.DB, id, false, c.get("visitor").who));
    return answer(c, {});
  })
  .post("/2.0/mlflow/runs/log-parameter", writes("set a param"), async (c) => {
    const { key, value, ...ref } = await readRequest(c, { ...RunRef, ...LoneTag });
    const id = runIdOf(ref);
    const param = checkParam({ key, value });
    const { conflicting } = await log(c, id, { params: paramsText([param]) });
    if (conflicting === null) return answer(c, {});
    const before = paramList(conflicting).find((it) => it.key === key)?.value;
    throw invalid(
      `Changing param values is not allowed. Param with key='${key}' was already logged with value='${before}' for run ID='${id}'. Attempted logging new value '${param.value}'.`,
    );
  })
  .post("/2.0/mlflow/runs/set-tag", writes("tag a run"), async (c) => {
    const { key, value, ...ref } = await readRequest(c, { ...RunRef, ...LoneTag });
    const id = runIdOf(ref);
    await log(c, id, logOfTags([checkTag({ key, value })]));
    return answer(c, {});
  })
  .post("/2.0/mlflow/runs/delete-tag", writes("take a tag from a run"), async (c) => {
    const { key, ...ref } = await readRequest(c, { ...RunRef, key: required(string) });
    const id = runIdOf(ref);
    const run = await activeRun(c, id);
    if (!tagsOfRun(run).some((tag) => tag.key === key))
      throw new ApiError(
        "RESOURCE_DOES_NOT_EXIST",
        `No tag with name: ${key} in run with id ${id}`,
      );
    const { note, parent } = logOfTags([{ key, value: "" }]);
    await log(c, id, { note: key === noteTag ? note : undefined, parent, tags: { [key]: null } });
    return answer(c, {});
  })
  .post("/2.0/mlflow/runs/log-model", writes("note a model among a run's files"), async (c) => {
    const { model_json, ...ref } = await readRequest(c, {
      ...RunRef,
      model_json: required(string),
    });
    const id = runIdOf(ref);
    const model = historyOf(model_json);
    await ofRun(id, appendToTag(c.env.DB, id, historyTag, model, c.get("visitor").who));
    return answer(c, {});
  })
  .post("/2.0/mlflow/runs/log-metric", writes("log a point"), async (c) => {
    const { run_id, run_uuid, ...metric } = await readRequest(c, {
      ...RunRef,
      key: required(string),
      value: required(double),
      timestamp: required(int64),
      step: int64,
      ...OfModel,
    });
    const id = runIdOf({ run_id, run_uuid });
    const points = pointsOf([checkMetric(metric)]);
    const ofModels = await pointsOfModels(c, id, [metric]);
    await log(c, id, { points });
    await logModelPoints(c, ofModels);
    return answer(c, {});
  })
  .post("/2.0/mlflow/runs/log-batch", writes("log points, params and tags at once"), async (c) => {
    const { metrics, params, tags, ...ref } = await readRequest(c, {
      ...RunRef,
      metrics: list(Metric),
      params: list(Tag),
      tags: list(Tag),
    });
    const id = runIdOf(ref);
    checkCounts({ metrics: metrics.length, params: params.length, tags: tags.length });
    const points = pointsOf(
      metrics.map((metric, i) => checkMetric(metric ?? {}, `metrics[${i}].`)),
    );
    const checkedParams = params.map((param, i) => checkParam(param, `params[${i}].`));
    checkUnique(checkedParams);
    const checkedTags = tags.map((tag, i) => checkTag(tag, `tags[${i}].`));
    const ofModels = await pointsOfModels(c, id, metrics);
    const { conflicting } = await log(c, id, {
      ...logOfTags(checkedTags),
      ...(points.step.length ? { points } : {}),
      ...(params.length ? { params: paramsText(checkedParams) } : {}),
    });
    if (conflicting === null) {
      await logModelPoints(c, ofModels);
      return answer(c, {});
    }
    throw invalid(
      `Changing param values is not allowed. Params were already logged='${conflictsOf(conflicting, checkedParams)}' for run ID='${id}'.`,
    );
  });

/** What MLflow keeps of a model among a run's files; throws where it is not described as one. */
function historyOf(text: string): object {
  let model: unknown;
  try {
    model = JSON.parse(text);
  } catch {
    throw invalid(`Malformed model info. \n ${shown(text)} \n is not a valid JSON.`);
  }
  const fields = Object(model) as Record<string, unknown>;
  const absent = ["artifact_path", "flavors", "utc_time_created", "run_id"].filter(
    (name) => !Object.hasOwn(fields, name),
  );
  if (absent.length)
    throw invalid(
      `Model json is missing mandatory fields: {${absent.map((name) => `'${name}'`).join(", ")}}`,
    );
  const { run_id, artifact_path, utc_time_created, model_uuid } = fields;
  const flavors = Object.entries(Object(fields["flavors"]) as Record<string, unknown>).map(
    ([name, flavor]) => {
      if (typeof flavor !== "object" || flavor === null) return [name, flavor];
      const { config: _, ...rest } = flavor as Record<string, unknown>;
      return [name, rest];
    },
  );
  return {
    run_id,
    artifact_path,
    utc_time_created,
    model_uuid,
    flavors: Object.fromEntries(flavors) as object,
  };
}

const withoutNull = (tags: Record<string, string | null> = {}): Record<string, string> =>
  Object.fromEntries(
    Object.entries(tags).filter((entry): entry is [string, string] => entry[1] !== null),
  );
