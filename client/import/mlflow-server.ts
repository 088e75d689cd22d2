import type { Points } from "../../wire/point.ts";
import type {
  Found,
  FoundExperiment,
  FoundFile,
  FoundInput,
  FoundLoggedModel,
  FoundModel,
  FoundRun,
  FoundTrace,
  FoundVersion,
  OnSkip,
} from "./found.ts";
import { Lots } from "./lots.ts";
import {
  assessmentOf,
  experimentOf,
  numberOf,
  textsOf,
  valueOf,
  versionOf,
  type ExperimentJSON,
  type Int,
  type LoggedModelJSON,
  type MetricJSON,
  type ModelJSON,
  type RunJSON,
  type TraceJSON,
  type VersionJSON,
} from "./mlflow-json.ts";
import { parseJSON, spanOf, type Span } from "./mlflow-spans.ts";
import { modelStateFromMlflow, promptTag, stateFromMlflow } from "./mlflow-state.ts";
import { fieldsFromTags } from "./mlflow-tags.ts";
import { mapParallel } from "./parallel.ts";

/** How to reach a server of MLflow's. */
export interface MlflowServerOptions {
  onSkip?: OnSkip;
  /** the value of the header Authorization */
  authorization?: string | undefined;
  fetch?: typeof globalThis.fetch;
  /** how long to wait before asking again, by attempt, in ms */
  pause?: (attempt: number) => number;
}

/** Reads a running MLflow server, of version 1 to 3, through its REST API. */
export async function* readMlflowServer(
  url: string,
  { onSkip = () => undefined, ...options }: MlflowServerOptions = {},
): AsyncGenerator<Found> {
  const server = new MlflowServer(url, onSkip, options);
  for await (const experiment of server.experiments()) {
    yield experiment;
    yield* server.runs(experiment.id);
    yield* server.loggedModels(experiment.id);
    yield* server.traces(experiment.id);
  }
  yield* server.models();
}

type Method = "GET" | "POST";

/** What a request asks for: the query of a GET, the body of a POST. */
type Fields = Record<string, unknown>;

interface Page {
  next_page_token?: string;
}

class MlflowServer {
  readonly #url: string;
  readonly #skip: OnSkip;
  readonly #headers: Record<string, string>;
  readonly #fetch: typeof globalThis.fetch;
  readonly #pause: (attempt: number) => number;

  constructor(
    url: string,
    skip: OnSkip,
    {
      authorization,
      fetch = globalThis.fetch.bind(globalThis),
      pause = (attempt) => 500 * 2 ** attempt,
    }: MlflowServerOptions,
  ) {
    const { username, password } = new URL(url);
    const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    const basic = username
      ? `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(user)))}`
      : undefined;
    const plain = new URL(url);
    plain.username = plain.password = plain.search = plain.hash = "";
    this.#url = plain.href.replace(/\/+$/, "");
    this.#skip = skip;
    const given = authorization ?? basic;
    this.#headers = given ? { authorization: given } : {};
    this.#fetch = fetch;
    this.#pause = pause;
  }

  /** Asks until there is an answer; 404 is one. Throws an error that names the request where it is refused. */
  async #request(method: Method, path: string, fields: Fields): Promise<Response> {
    const search =
      method === "GET" ? `?${new URLSearchParams(fields as Record<string, string>)}` : "";
    const body = method === "POST" ? { body: JSON.stringify(fields) } : {};
    for (let attempt = 0; ; attempt++) {
      const response = await this.#fetch(`${this.#url}${path}${search}`, {
        method,
        headers: { ...this.#headers, "content-type": "application/json" },
        ...body,
        signal: AbortSignal.timeout(600_000),
      }).catch((error: Error) => error);
      if (!(response instanceof Error) && (response.ok || response.status === 404)) return response;
      const status = response instanceof Error ? 503 : response.status;
      // MLflow says 500 to much that will never be otherwise.
      const attempts = status === 500 ? 2 : [408, 429, 502, 503, 504].includes(status) ? 5 : 1;
      if (attempt + 1 >= attempts) throw await failure(`${method} ${this.#url}${path}`, response);
      await new Promise((resolve) => setTimeout(resolve, this.#pause(attempt)));
    }
  }

  /** Returns the JSON of an answer; undefined where the server knows no such route or thing. */
  async #json<T>(method: Method, path: string, fields: Fields): Promise<T | undefined> {
    const response = await this.#request(method, path, fields);
    if (response.status === 404) {
      await response.body?.cancel();
      return undefined;
    }
    const type = response.headers.get("content-type") ?? "nothing";
    if (!type.includes("json"))
      throw new Error(`${this.#url}${path} answers ${type}, not JSON: is it MLflow's address?`);
    return parseJSON(await response.text()) as T;
  }

  /** Pages through a list until a page names no next one. */
  async *#pages<T extends object>(
    method: Method,
    path: string,
    fields: Fields,
  ): AsyncGenerator<T & Page> {
    for (let token: string | undefined; ;) {
      const page: (T & Page) | undefined = await this.#json(method, path, {
        ...fields,
        ...(token ? { page_token: token } : {}),
      });
      if (page) yield page;
      token = page?.next_page_token;
      if (!token) return;
    }
  }

  async *experiments(): AsyncGenerator<FoundExperiment> {
    let isThere = false;
    for await (const { experiments = [] } of this.#pages<{ experiments?: ExperimentJSON[] }>(
      "POST",
      "/api/2.0/mlflow/experiments/search",
      { max_results: 1000, view_type: "ALL" },
    )) {
      isThere = true;
      for (const experiment of experiments) yield experimentOf(experiment);
    }
    if (isThere) return;
    // Before 1.27 there was only a list.
    const old = await this.#json<{ experiments?: ExperimentJSON[] }>(
      "GET",
      "/api/2.0/mlflow/experiments/list",
      { view_type: "ALL" },
    );
    if (!old) throw new Error(`no MLflow server: ${this.#url} (it knows no experiments)`);
    for (const experiment of old.experiments ?? []) yield experimentOf(experiment);
  }

  async *runs(experiment: string): AsyncGenerator<FoundRun> {
    for await (const { runs = [] } of this.#pages<{ runs?: RunJSON[] }>(
      "POST",
      "/api/2.0/mlflow/runs/search",
      {
        experiment_ids: [experiment],
        run_view_type: "ALL",
        max_results: 1000,
        order_by: ["attributes.start_time ASC"],
      },
    ))
      for (const run of runs) {
        // Only by itself is a run told with the models that it read.
        const query = { run_id: run.info.run_id ?? run.info.run_uuid, run_uuid: run.info.run_uuid };
        const one = await this.#json<{ run?: RunJSON }>("GET", "/api/2.0/mlflow/runs/get", query);
        yield this.#run(one?.run ?? run, experiment);
      }
  }

  #run({ info, data = {}, inputs = {}, outputs = {} }: RunJSON, experiment: string): FoundRun {
    const id = info.run_id ?? info.run_uuid;
    const { name, ...fields } = fieldsFromTags(textsOf(data.tags));
    return {
      kind: "run",
      id,
      experiment,
      name: info.run_name || name,
      state: stateFromMlflow(info.status),
      params: textsOf(data.params),
      paramsAreText: true,
      ...fields,
      started: numberOf(info.start_time),
      ended: numberOf(info.end_time) || null,
      deleted: info.lifecycle_stage === "deleted",
      inputs: (inputs.dataset_inputs ?? []).map(({ tags, dataset }): FoundInput => ({
        name: dataset.name,
        digest: dataset.digest,
        sourceType: dataset.source_type ?? "",
        source: dataset.source ?? "",
        schema: dataset.schema ?? null,
        profile: dataset.profile ?? null,
        tags: textsOf(tags),
      })),
      modelInputs: (inputs.model_inputs ?? []).map(({ model_id }) => model_id),
      modelOutputs: (outputs.model_outputs ?? []).map(({ model_id, step }) => ({
        model: model_id,
        step: numberOf(step) ?? 0,
      })),
      points: () =>
        this.#points(
          id,
          (data.metrics ?? []).map(({ key }) => key),
        ),
      files: () => this.#files(id, info.artifact_uri ?? ""),
    };
  }

  async *#points(run: string, keys: string[]): AsyncGenerator<Points> {
    const lots = new Lots();
    const sorted = [...new Set(keys)].sort();
    // Of most metrics there is one page: some are asked for at a time.
    for (let at = 0; at < sorted.length; at += 8) {
      const histories = sorted
        .slice(at, at + 8)
        .map((key) => ({ key, pages: this.#history(run, key) }));
      const first = await mapParallel(histories, ({ pages }) => pages.next());
      for (const [i, { key, pages }] of histories.entries())
        for (let page = first[i]!; !page.done; page = await pages.next())
          for (const { step, timestamp, value } of page.value.metrics ?? []) {
            const [s, t] = [numberOf(step) ?? 0, numberOf(timestamp) ?? 0];
            const lot = lots.add(key, s, t, valueOf(value));
            if (lot) yield lot;
          }
    }
    const rest = lots.take();
    if (rest) yield rest;
  }

  #history(run: string, key: string): AsyncGenerator<{ metrics?: MetricJSON[] }> {
    return this.#pages("GET", "/api/2.0/mlflow/metrics/get-history", {
      run_id: run,
      run_uuid: run,
      metric_key: key,
      max_results: "25000",
    });
  }

  /** Files come through the server, wherever it keeps them. */
  async *#files(run: string, uri: string, folder = ""): AsyncGenerator<FoundFile> {
    const query = { run_id: run, run_uuid: run, ...(folder ? { path: folder } : {}) };
    try {
      for await (const { files = [] } of this.#pages<{
        files?: { path: string; is_dir?: boolean; file_size?: Int }[];
      }>("GET", "/api/2.0/mlflow/artifacts/list", query))
        for (const { path, is_dir, file_size } of files)
          if (is_dir && path !== folder) yield* this.#files(run, uri, path);
          else if (!is_dir)
            yield {
              path,
              size: numberOf(file_size) ?? undefined,
              open: () => this.#open("/get-artifact", { path, run_uuid: run, run_id: run }),
            };
    } catch (error) {
      const why = `the server does not list them (${uri}): ${(error as Error).message}`;
      this.#skip({ what: "files", name: `${run}/${folder}`, why });
    }
  }

  async #open(path: string, fields: Fields): Promise<Blob> {
    const response = await this.#request("GET", path, fields);
    if (!response.ok) throw new Error(`GET ${this.#url}${path}: ${response.status}`);
    return response.blob();
  }

  async *loggedModels(experiment: string): AsyncGenerator<FoundLoggedModel> {
    for await (const { models = [] } of this.#pages<{ models?: LoggedModelJSON[] }>(
      "POST",
      "/api/2.0/mlflow/logged-models/search",
      { experiment_ids: [experiment], max_results: 50 },
    ))
      for (const model of models) yield this.#loggedModel(model, experiment);
  }

  #loggedModel({ info, data = {} }: LoggedModelJSON, experiment: string): FoundLoggedModel {
    return {
      kind: "loggedModel",
      id: info.model_id,
      experiment,
      name: info.name ?? "",
      status: modelStateFromMlflow(info.status),
      type: info.model_type || null,
      run: info.source_run_id || null,
      created: numberOf(info.creation_timestamp_ms),
      updated: numberOf(info.last_updated_timestamp_ms),
      params: textsOf(data.params),
      tags: textsOf(info.tags),
      metrics: (data.metrics ?? []).map((metric) => ({
        key: metric.key,
        step: numberOf(metric.step) ?? 0,
        time: numberOf(metric.timestamp) ?? 0,
        value: valueOf(metric.value),
        run: metric.run_id || null,
        dataset: metric.dataset_digest
          ? { name: metric.dataset_name ?? "", digest: metric.dataset_digest }
          : null,
      })),
      deleted: false, // the server does not list deleted ones
      files: () => this.#modelFiles(info.model_id),
    };
  }

  async *#modelFiles(model: string, folder = ""): AsyncGenerator<FoundFile> {
    const path = `/api/2.0/mlflow/logged-models/${model}/artifacts/directories`;
    const query: Record<string, string> = folder ? { artifact_directory_path: folder } : {};
    for await (const { files = [] } of this.#pages<{
      files?: { path: string; is_dir?: boolean; file_size?: Int }[];
    }>("GET", path, query))
      for (const file of files)
        if (file.is_dir) yield* this.#modelFiles(model, file.path);
        else
          yield {
            path: file.path,
            size: numberOf(file.file_size) ?? undefined,
            open: () =>
              this.#open(`/ajax-api/2.0/mlflow/logged-models/${model}/artifacts/files`, {
                artifact_file_path: file.path,
              }),
          };
  }

  async *traces(experiment: string): AsyncGenerator<FoundTrace> {
    const location = {
      type: "MLFLOW_EXPERIMENT",
      mlflow_experiment: { experiment_id: experiment },
    };
    for await (const { traces = [] } of this.#pages<{ traces?: TraceJSON[] }>(
      "POST",
      "/api/3.0/mlflow/traces/search",
      { locations: [location], max_results: 500 },
    ))
      for (const trace of traces) yield await this.#trace(trace, experiment);
  }

  async #trace(trace: TraceJSON, experiment: string): Promise<FoundTrace> {
    const query = { trace_id: trace.trace_id, allow_partial: "true" };
    const whole = await this.#json<{ trace?: { spans?: Span[] } }>(
      "GET",
      "/api/3.0/mlflow/traces/get",
      query,
    ).catch(() => undefined);
    if (!whole?.trace?.spans)
      this.#skip({ what: "spans", name: `trace ${trace.trace_id}`, why: "the server gives none" });
    return {
      kind: "trace",
      id: trace.trace_id,
      experiment,
      state: trace.state ?? "",
      started: Date.parse(trace.request_time ?? "") || 0,
      duration: trace.execution_duration
        ? Math.round(parseFloat(trace.execution_duration) * 1000)
        : null,
      client: trace.client_request_id ?? null,
      requestPreview: trace.request_preview ?? null,
      responsePreview: trace.response_preview ?? null,
      tags: trace.tags ?? {},
      metadata: trace.trace_metadata ?? {},
      spans: (whole?.trace?.spans ?? []).map(spanOf),
      assessments: (trace.assessments ?? []).map(assessmentOf),
    };
  }

  async *models(): AsyncGenerator<FoundModel> {
    const path = "/api/2.0/mlflow/registered-models/search";
    const seen = new Set<string>();
    // From 3.0 on, prompts are told only when asked for.
    for (const filter of [undefined, promptFilter])
      for await (const { registered_models = [] } of this.#pages<{
        registered_models?: ModelJSON[];
      }>("GET", path, { max_results: "100", ...(filter ? { filter } : {}) }))
        for (const model of registered_models)
          if (!seen.has(model.name)) {
            seen.add(model.name);
            yield await this.#model(model);
          }
  }

  async #model(listed: ModelJSON): Promise<FoundModel> {
    const one = await this.#json<{ registered_model?: ModelJSON }>(
      "GET",
      "/api/2.0/mlflow/registered-models/get",
      { name: listed.name },
    );
    const model = one?.registered_model ?? listed; // a list leaves the aliases out
    const tags = textsOf(model.tags);
    const isPrompt = tags[promptTag] === "true";
    const quote = model.name.includes("'") ? '"' : "'";
    const versions: FoundVersion[] = [];
    for await (const { model_versions = [] } of this.#pages<{ model_versions?: VersionJSON[] }>(
      "GET",
      "/api/2.0/mlflow/model-versions/search",
      {
        filter: `name = ${quote}${model.name}${quote}${isPrompt ? ` AND ${promptFilter}` : ""}`,
        max_results: "1000",
      },
    ))
      versions.push(...model_versions.map(versionOf));
    return {
      kind: "model",
      name: model.name,
      description: model.description ?? "",
      tags,
      aliases: Object.fromEntries(
        (model.aliases ?? []).map(({ alias, version }) => [alias, version]),
      ),
      versions: versions.sort((a, b) => Number(a.version) - Number(b.version)),
      isPrompt,
      created: numberOf(model.creation_timestamp),
      updated: numberOf(model.last_updated_timestamp),
    };
  }
}

const promptFilter = `tags.\`${promptTag}\` = 'true'`;

async function failure(request: string, answer: Response | Error): Promise<Error> {
  if (answer instanceof Error) return new Error(`${request}: ${answer.message}`, { cause: answer });
  const text = await answer.text().catch(() => "");
  const { message = answer.statusText } = maybeObject(text) as { message?: string };
  const hint = [401, 403].includes(answer.status)
    ? " (a name and password go into the URL; see MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_TOKEN)"
    : "";
  return new Error(`${request}: ${answer.status} ${message}${hint}`);
}

function maybeObject(text: string): object {
  try {
    return Object(JSON.parse(text)) as object;
  } catch {
    return {};
  }
}
