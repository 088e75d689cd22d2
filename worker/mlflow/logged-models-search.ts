import { ApiError } from "../../wire/error.ts";
import type { Value } from "../../wire/filter.ts";
import type { LoggedModel, ModelPoint } from "../../wire/logged-model.ts";
import { byMetric, loggedModelOrder } from "../db/logged-models.ts";
import type { Order } from "../db/page.ts";
import { clausesOf, maybe, ownValue, testAll, withTies, type Clause } from "./where.ts";

/** What a search of logged models asks for, as it is sent. */
interface Asked {
  experiment_ids: string[];
  filter: string | undefined;
  datasets: ({ dataset_name: string; dataset_digest: string } | undefined)[];
  order_by: (
    | {
        field_name: string;
        ascending: boolean;
        dataset_name: string | undefined;
        dataset_digest: string | undefined;
      }
    | undefined
  )[];
}

/** Reads a search of logged models. A metric's clause holds where it holds of one of its points, on the datasets asked for. */
export function loggedModelsQuestion({ experiment_ids, filter, datasets, order_by }: Asked) {
  const clauses = clausesOf("logged model", filter);
  const isOnDatasets = ({ dataset }: ModelPoint) =>
    datasets.length === 0 ||
    // MLflow finds nothing on a dataset whose digest is not given.
    datasets.some(
      (wanted) =>
        dataset?.name === wanted?.dataset_name &&
        wanted?.dataset_digest !== "" &&
        dataset?.digest === wanted?.dataset_digest,
    );
  const test = testAll(clauses, (model: LoggedModel, clause) =>
    valuesOf(model, clause, isOnDatasets),
  );
  const isOfMetrics = clauses.some(({ field }) => field.kind === "metric");
  const needsPoint = datasets.length > 0 && !isOfMetrics;
  const named = clauses.find(
    ({ field, operator }) => field.kind === "attribute" && field.key === "name" && operator === "=",
  );
  return {
    name: named && String(named.values[0]),
    test: (model: LoggedModel) => test(model) && (!needsPoint || model.points.some(isOnDatasets)),
    order: withTies(order_by.map(orderOf), [
      { by: loggedModelOrder.created, descending: true },
      { by: loggedModelOrder.id },
    ]),
    question: ["logged models", experiment_ids, filter ?? "", order_by],
  };
}

function valuesOf(
  model: LoggedModel,
  { field: { kind, key } }: Clause,
  isWanted: (point: ModelPoint) => boolean,
): Value[] {
  if (kind === "metric")
    return model.points
      .filter((point) => point.key === key && !Number.isNaN(point.value) && isWanted(point))
      .map(({ value }) => value);
  if (kind === "parameter") return ownValue(model.params, key);
  if (kind === "tag") return ownValue(model.tags, key);
  const attributes: Record<string, Value> = {
    name: model.name,
    model_id: model.id,
    model_type: model.type,
    status: { pending: "PENDING", ready: "READY", failed: "UPLOAD_FAILED" }[model.state],
    source_run_id: model.run ?? "",
    creation_time: model.created,
    creation_timestamp: model.created,
    last_updated_time: model.updated,
    last_updated_timestamp: model.updated,
  };
  return maybe(attributes[key]);
}

/** The columns that MLflow orders logged models by. */
const columns: Record<string, Order> = {
  model_id: { by: loggedModelOrder.id },
  experiment_id: { by: loggedModelOrder.experiment },
  name: { by: loggedModelOrder.name },
  artifact_location: { by: loggedModelOrder.location },
  model_type: { by: loggedModelOrder.type },
  status: { by: loggedModelOrder.state },
  source_run_id: { by: loggedModelOrder.run, nullable: true },
  creation_time: { by: loggedModelOrder.created },
  creation_timestamp: { by: loggedModelOrder.created },
  creation_timestamp_ms: { by: loggedModelOrder.created },
  last_updated_timestamp: { by: loggedModelOrder.updated },
  last_updated_timestamp_ms: { by: loggedModelOrder.updated },
};

function orderOf(asked: Asked["order_by"][number]): Order {
  const { field_name = "", ascending = true, dataset_name, dataset_digest } = asked ?? {};
  const descending = !ascending;
  const dot = field_name.indexOf(".");
  if (dot >= 0) {
    if (field_name.slice(0, dot) !== "metrics")
      throw invalid(`Invalid order by field name: ${field_name}. Only metrics are supported.`);
    const dataset = { name: dataset_name || undefined, digest: dataset_digest || undefined };
    return byMetric(field_name.slice(dot + 1), dataset, descending);
  }
  const column = Object.hasOwn(columns, field_name) ? columns[field_name] : undefined;
  if (!column) throw invalid(`Invalid order by field name: ${field_name}`);
  return { ...column, descending };
}

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);
