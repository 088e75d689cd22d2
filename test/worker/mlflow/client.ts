import { exports } from "cloudflare:workers";

/** Asks the Worker as MLflow's clients do: a GET has its fields in the query, all else has them in a body of JSON. */
export async function mlflow(
  method: string,
  path: string,
  fields: Record<string, unknown> | string = {},
  headers: Record<string, string> = {},
) {
  const url = new URL(`http://127.0.0.1${path.startsWith("/v1/") ? "" : "/api"}${path}`);
  const isQuery = method === "GET" && typeof fields === "object";
  if (isQuery)
    for (const [name, value] of Object.entries(fields))
      for (const item of [value].flat())
        url.searchParams.append(
          name,
          typeof item === "object" ? JSON.stringify(item) : String(item),
        );
  const response = await exports.default.fetch(url, {
    method,
    headers: { "content-type": "application/json", ...headers },
    ...(isQuery ? {} : { body: typeof fields === "string" ? fields : JSON.stringify(fields) }),
  });
  const text = await response.text();
  let json: any;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, text, json };
}

/** What a refused request answers. */
export const refusal = (error_code: string, message?: unknown, status = 400) => ({
  status,
  json: message === undefined ? { error_code } : { error_code, message },
});

/** Creates an experiment and returns its id. */
export async function newExperiment(name: string): Promise<string> {
  const { json } = await mlflow("POST", "/2.0/mlflow/experiments/create", { name });
  return json.experiment_id as string;
}

/** Starts a run and returns its id and where its files are. */
export async function newRun(experiment: string): Promise<{ id: string; files: string }> {
  const { json } = await mlflow("POST", "/2.0/mlflow/runs/create", {
    experiment_id: experiment,
    start_time: 1,
  });
  return { id: json.run.info.run_id, files: json.run.info.artifact_uri };
}
