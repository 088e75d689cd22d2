import type { Tags } from "../../wire/config.ts";
import type { Points } from "../../wire/point.ts";
import type {
  Found,
  FoundAssessment,
  FoundEvaluationDataset,
  FoundExperiment,
  FoundInput,
  FoundLoggedModel,
  FoundModel,
  FoundModelMetric,
  FoundRun,
  FoundTrace,
  FoundVersion,
  OnSkip,
} from "./found.ts";
import { Lots } from "./lots.ts";
import { artifactsOf, type ArtifactPlaces } from "./mlflow-artifacts.ts";
import { maybeJSON } from "./maybe-json.ts";
import { errorOf } from "./mlflow-json.ts";
import { spanFromJSON } from "./mlflow-spans.ts";
import { deletedStage, modelStateFromMlflow, promptTag, stateFromMlflow } from "./mlflow-state.ts";
import { fieldsFromTags, noteTag } from "./mlflow-tags.ts";
import { numberIn, textIn, type Row, type Sqlite } from "./sqlite.ts";

/** How to read a database. */
export interface DatabaseOptions extends ArtifactPlaces {
  onSkip?: OnSkip;
}

/**
 * Reads MLflow's SQLite database, of any schema it ever had: columns are found by their names, and what a schema does
 * not have yet, or no longer, is left out. The database must stay open until the points of the runs are read, too.
 */
export async function* readMlflowDatabase(
  sqlite: Sqlite,
  { onSkip = () => undefined, ...places }: DatabaseOptions = {},
): AsyncGenerator<Found> {
  if (!sqlite.has("experiments") || !sqlite.has("runs"))
    throw new Error("not a database of MLflow: it has no tables experiments and runs");
  // MLflow's own indexes begin with the key: each run would read the whole table.
  for (const table of ["metrics", "params", "tags"]) sqlite.index(table, "run_uuid, key");
  const store = new DatabaseStore(sqlite, onSkip, places);
  yield* store.experiments();
  yield* store.models();
  yield* store.evaluationDatasets();
  store.sayWhatElse();
}

/** What MLflow's database holds besides that no noun stands for; secrets are best not moved. */
const others: Record<string, string> = {
  scorers: "scorer",
  webhooks: "webhook",
  secrets: "secret",
  endpoints: "gateway endpoint",
  issues: "issue",
  label_schemas: "label schema",
  review_queues: "review queue",
  mcp_servers: "MCP server",
};

class DatabaseStore {
  readonly #db: Sqlite;
  readonly #skip: OnSkip;
  readonly #places: ArtifactPlaces;

  constructor(db: Sqlite, skip: OnSkip, places: ArtifactPlaces) {
    this.#db = db;
    this.#skip = skip;
    this.#places = places;
  }

  /** The texts of a table of names and values that belong to one owner. */
  #texts(table: string, owner: Row, { key = "key", value = "value" } = {}): Tags {
    const columns = Object.keys(owner);
    const rows = this.#db.rows(
      `SELECT * FROM ${table} WHERE ${columns.map((column) => `${column} = ?`).join(" AND ")}`,
      columns.map((column) => owner[column] ?? null),
    );
    return Object.fromEntries(rows.map((row) => [textIn(row, key)!, textIn(row, value) ?? ""]));
  }

  async *experiments(): AsyncGenerator<Found> {
    const rows = [...this.#db.rows("SELECT * FROM experiments ORDER BY experiment_id")];
    const workspaces = new Set(rows.map((row) => textIn(row, "workspace") ?? "default"));
    for (const row of rows) {
      const experiment = this.#experiment(row, workspaces.size > 1);
      yield experiment;
      const id = row["experiment_id"] ?? null;
      const of = `WHERE experiment_id = ? ORDER BY`;
      for (const run of this.#db.rows(`SELECT * FROM runs ${of} start_time, rowid`, [id]))
        yield this.#run(run, experiment);
      for (const model of this.#db.rows(`SELECT * FROM logged_models ${of} creation_timestamp_ms`, [
        id,
      ]))
        yield this.#loggedModel(model, experiment);
      for (const trace of this.#db.rows(`SELECT * FROM trace_info ${of} timestamp_ms`, [id]))
        yield this.#trace(trace, experiment);
    }
  }

  /** Of several workspaces, each with names of its own, all but the default one go before the name. */
  #experiment(row: Row, isNamed: boolean): FoundExperiment {
    const experiment_id = row["experiment_id"];
    const { [noteTag]: note = "", ...tags } = this.#texts("experiment_tags", { experiment_id });
    const workspace = textIn(row, "workspace") ?? "default";
    const id = textIn(row, "experiment_id")!;
    const name = textIn(row, "name") ?? id;
    return {
      kind: "experiment",
      id,
      name: isNamed && workspace !== "default" ? `${workspace}/${name}` : name,
      note,
      tags,
      created: numberIn(row, "creation_time"),
      deleted: textIn(row, "lifecycle_stage") === "deleted",
    };
  }

  #run(row: Row, experiment: FoundExperiment): FoundRun {
    const run_uuid = row["run_uuid"];
    const id = textIn(row, "run_uuid")!;
    const { name, ...fields } = fieldsFromTags({
      ...tagsOfOldRow(row),
      ...this.#texts("tags", { run_uuid }),
    });
    return {
      kind: "run",
      id,
      experiment: experiment.id,
      name: textIn(row, "name") || name,
      state: stateFromMlflow(textIn(row, "status")),
      params: this.#texts("params", { run_uuid }),
      paramsAreText: true,
      ...fields,
      started: numberIn(row, "start_time"),
      ended: numberIn(row, "end_time") || null,
      deleted: textIn(row, "lifecycle_stage") === "deleted",
      inputs: [...this.#inputs(id)],
      modelInputs: [...this.#links("RUN_INPUT", id)].map((link) => textIn(link, "destination_id")!),
      modelOutputs: [...this.#links("RUN_OUTPUT", id)].map((link) => ({
        model: textIn(link, "destination_id")!,
        step: numberIn(link, "step") ?? 0,
      })),
      points: () => this.#points(id),
      files: () =>
        artifactsOf({ uri: textIn(row, "artifact_uri") ?? "", id }, this.#places, this.#skip),
    };
  }

  #links(type: "RUN_INPUT" | "RUN_OUTPUT", run: string): Generator<Row> {
    return this.#db.rows("SELECT * FROM inputs WHERE source_type = ? AND source_id = ?", [
      type,
      run,
    ]);
  }

  *#inputs(run: string): Generator<FoundInput> {
    const links = this.#db.rows(
      `SELECT d.*, i.input_uuid FROM inputs AS i JOIN datasets AS d ON d.dataset_uuid = i.source_id
       WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = ? ORDER BY i.rowid`,
      [run],
    );
    for (const row of links)
      yield {
        name: textIn(row, "name") ?? "",
        digest: textIn(row, "digest") ?? "",
        sourceType: textIn(row, "dataset_source_type") ?? "",
        source: textIn(row, "dataset_source") ?? "",
        schema: textIn(row, "dataset_schema"),
        profile: textIn(row, "dataset_profile"),
        tags: this.#texts("input_tags", { input_uuid: row["input_uuid"] }, { key: "name" }),
      };
  }

  /** Rows come in the order in which they were logged; NaN stands as 0 with a mark. */
  async *#points(run: string): AsyncGenerator<Points> {
    const lots = new Lots();
    let edges = 0;
    for (const row of this.#db.rows(
      "SELECT * FROM metrics WHERE run_uuid = ? ORDER BY key, rowid",
      [run],
    )) {
      const value = row["is_nan"] ? NaN : (numberIn(row, "value") ?? NaN);
      if (Math.abs(value) === Number.MAX_VALUE) edges++;
      const lot = lots.add(
        textIn(row, "key")!,
        numberIn(row, "step") ?? 0,
        numberIn(row, "timestamp") ?? 0,
        value,
      );
      if (lot) yield lot;
    }
    if (edges)
      this.#skip({
        what: "infinity",
        name: `run ${run}`,
        why: `MLflow's databases keep ±Infinity as ±${Number.MAX_VALUE}: ${edges} values stay so`,
      });
    const rest = lots.take();
    if (rest) yield rest;
  }

  #loggedModel(row: Row, experiment: FoundExperiment): FoundLoggedModel {
    const model_id = row["model_id"];
    const id = textIn(row, "model_id")!;
    return {
      kind: "loggedModel",
      id,
      experiment: experiment.id,
      name: textIn(row, "name") ?? "",
      status: modelStateFromMlflow(textIn(row, "status")),
      type: textIn(row, "model_type"),
      run: textIn(row, "source_run_id"),
      created: numberIn(row, "creation_timestamp_ms"),
      updated: numberIn(row, "last_updated_timestamp_ms"),
      params: this.#texts(
        "logged_model_params",
        { model_id },
        { key: "param_key", value: "param_value" },
      ),
      tags: this.#texts("logged_model_tags", { model_id }, { key: "tag_key", value: "tag_value" }),
      metrics: [...this.#modelMetrics(id)],
      deleted: textIn(row, "lifecycle_stage") === "deleted",
      files: () =>
        artifactsOf({ uri: textIn(row, "artifact_location") ?? "", id }, this.#places, this.#skip),
    };
  }

  *#modelMetrics(model: string): Generator<FoundModelMetric> {
    for (const row of this.#db.rows(
      "SELECT * FROM logged_model_metrics WHERE model_id = ? ORDER BY rowid",
      [model],
    )) {
      const digest = textIn(row, "dataset_digest");
      yield {
        key: textIn(row, "metric_name")!,
        step: numberIn(row, "metric_step") ?? 0,
        time: numberIn(row, "metric_timestamp_ms") ?? 0,
        value: numberIn(row, "metric_value") ?? NaN,
        run: textIn(row, "run_id"),
        dataset: digest === null ? null : { name: textIn(row, "dataset_name") ?? "", digest },
      };
    }
  }

  #trace(row: Row, experiment: FoundExperiment): FoundTrace {
    const request_id = row["request_id"];
    const id = textIn(row, "request_id")!;
    const spans = this.#db.rows(
      "SELECT * FROM spans WHERE trace_id = ? ORDER BY start_time_unix_nano, rowid",
      [id],
    );
    const assessments = this.#db.rows("SELECT * FROM assessments WHERE trace_id = ?", [id]);
    return {
      kind: "trace",
      id,
      experiment: experiment.id,
      state: textIn(row, "status") ?? "",
      started: numberIn(row, "timestamp_ms") ?? 0,
      duration: numberIn(row, "execution_time_ms"),
      client: textIn(row, "client_request_id"),
      requestPreview: textIn(row, "request_preview"),
      responsePreview: textIn(row, "response_preview"),
      // Newer schemas keep these two in columns alone.
      tags: {
        ...named("mlflow.traceName", row["trace_name"]),
        ...this.#texts("trace_tags", { request_id }),
      },
      metadata: {
        ...named("mlflow.trace.session", row["session_id"]),
        ...this.#texts("trace_request_metadata", { request_id }),
      },
      spans: [...spans].map((span) => spanFromJSON(textIn(span, "content")!)),
      assessments: [...assessments].map(assessmentOf),
    };
  }

  *models(): Generator<FoundModel> {
    for (const row of this.#db.rows("SELECT * FROM registered_models ORDER BY name")) {
      const { name } = row;
      const owner =
        row["workspace"] === undefined ? { name } : { name, workspace: row["workspace"] };
      const tags = this.#texts("registered_model_tags", owner);
      yield {
        kind: "model",
        name: textIn(row, "name")!,
        description: textIn(row, "description") ?? "",
        tags,
        aliases: this.#texts("registered_model_aliases", owner, { key: "alias", value: "version" }),
        versions: [...this.#versions(owner)],
        isPrompt: tags[promptTag] === "true",
        created: numberIn(row, "creation_time"),
        updated: numberIn(row, "last_updated_time"),
      };
    }
  }

  *#versions(owner: Row): Generator<FoundVersion> {
    const columns = Object.keys(owner);
    const rows = this.#db.rows(
      `SELECT * FROM model_versions WHERE ${columns.map((column) => `${column} = ?`).join(" AND ")} ORDER BY version`,
      columns.map((column) => owner[column] ?? null),
    );
    for (const row of rows) {
      const stage = textIn(row, "current_stage") ?? "None";
      if (stage === deletedStage) continue;
      yield {
        version: textIn(row, "version")!,
        description: textIn(row, "description") ?? "",
        tags: this.#texts("model_version_tags", { ...owner, version: row["version"] }),
        stage,
        status: textIn(row, "status") ?? "READY",
        source: textIn(row, "source") ?? "",
        run: textIn(row, "run_id") || null,
        loggedModel: null,
        created: numberIn(row, "creation_time"),
        updated: numberIn(row, "last_updated_time"),
      };
    }
  }

  *evaluationDatasets(): Generator<FoundEvaluationDataset> {
    for (const row of this.#db.rows("SELECT * FROM evaluation_datasets ORDER BY created_time")) {
      const id = textIn(row, "dataset_id")!;
      const [records] = this.#db.rows(
        "SELECT count(*) AS n FROM evaluation_dataset_records WHERE dataset_id = ?",
        [id],
      );
      const links = this.#db.rows(
        "SELECT * FROM entity_associations WHERE source_id = ? AND destination_type = 'experiment'",
        [id],
      );
      yield {
        kind: "evaluationDataset",
        id,
        name: textIn(row, "name") ?? "",
        records: numberIn(records ?? {}, "n") ?? 0,
        experiments: [...links].map((link) => textIn(link, "destination_id")!),
      };
    }
  }

  sayWhatElse(): void {
    for (const [table, what] of Object.entries(others)) {
      const [row] = this.#db.rows(`SELECT count(*) AS n FROM ${table}`);
      const count = row?.["n"];
      if (count) this.#skip({ what, name: `${count} in all`, why: "there is no such thing here" });
    }
  }
}

/** Before 1.0, a run's row held what tags hold since; newer rows leave these columns empty. */
function tagsOfOldRow(row: Row): Tags {
  if (!row["source_name"]) return {};
  const columns = {
    "mlflow.source.name": "source_name",
    "mlflow.source.type": "source_type",
    "mlflow.source.git.commit": "source_version",
    "mlflow.project.entryPoint": "entry_point_name",
    "mlflow.user": "user_id",
  };
  return Object.fromEntries(
    Object.entries(columns).flatMap(([tag, column]) => {
      const text = textIn(row, column);
      return text ? [[tag, text] as const] : [];
    }),
  );
}

const named = (key: string, value: Row[string]): Tags =>
  value === null || value === undefined ? {} : { [key]: String(value) };

function assessmentOf(row: Row): FoundAssessment {
  const type = textIn(row, "assessment_type");
  return {
    id: textIn(row, "assessment_id") ?? "",
    name: textIn(row, "name") ?? "",
    kind: type === "expectation" || type === "issue" ? type : "feedback",
    value: maybeJSON(textIn(row, "value") ?? "null"),
    error: errorOf(maybeJSON(textIn(row, "error") ?? "null") as Parameters<typeof errorOf>[0]),
    rationale: textIn(row, "rationale"),
    metadata: maybeJSON(textIn(row, "assessment_metadata") ?? "{}") as Tags,
    span: textIn(row, "span_id"),
    overrides: textIn(row, "overrides"),
    valid: row["valid"] !== 0,
    created: numberIn(row, "created_timestamp"),
    updated: numberIn(row, "last_updated_timestamp"),
    sourceType: textIn(row, "source_type") ?? "",
    source: textIn(row, "source_id") ?? "",
  };
}
