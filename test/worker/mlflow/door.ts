import { exports } from "cloudflare:workers";

/** Asks the door as an MLflow client would, under /api; the body of an answer is JSON where it can be. */
export async function mlflow(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) {
  const isRaw = body instanceof Uint8Array || typeof body === "string";
  const response = await exports.default.fetch(`http://127.0.0.1/api${path}`, {
    method,
    headers: { ...(isRaw ? {} : { "content-type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: isRaw ? (body as BodyInit) : JSON.stringify(body) }),
  });
  const bytes = new Uint8Array(await response.arrayBuffer());
  const text = new TextDecoder().decode(bytes);
  let json: any;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, headers: response.headers, bytes, text, json };
}

/** Starts a run by the door and returns its id. */
export async function startRun(body: Record<string, unknown> = {}): Promise<string> {
  const { json } = await mlflow("POST", "/2.0/mlflow/runs/create", {
    experiment_id: "0",
    start_time: 1_760_000_000_000,
    ...body,
  });
  return json.run.info.run_id as string;
}

/** Logs to a run by the door. */
export const log = (run: string, body: Record<string, unknown>) =>
  mlflow("POST", "/2.0/mlflow/runs/log-batch", { run_id: run, ...body });

/** Returns a run as the door shows it. */
export const getRun = async (run: string) =>
  (await mlflow("GET", `/2.0/mlflow/runs/get?run_id=${run}`)).json.run;

/** Returns a list of keys and values as an object. */
export const fromList = (list: { key: string; value: unknown }[] = []): Record<string, any> =>
  Object.fromEntries(list.map(({ key, value }) => [key, value]));
