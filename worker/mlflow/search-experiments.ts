import { Hono } from "hono";
import { testOf } from "../../wire/comparison.ts";
import type { Filter, Value } from "../../wire/filter.ts";
import { parseMlflowOrder, parseMlflowWhere, type MlflowField } from "../../wire/mlflow-query.ts";
import { compareText } from "../../wire/text.ts";
import { findExperiment, listExperiments, type StoredExperiment } from "../db/experiments.ts";
import { defaultExperiment } from "../../wire/id.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { answer } from "./json.ts";
import { fromPageToken, pageToken } from "./page.ts";
import {
  int64,
  invalidValue,
  list,
  orElse,
  readRequest,
  required,
  string,
  word,
} from "./request.ts";
import { experimentJSON } from "./run-json.ts";
import { views } from "./search-runs.ts";
import { noteTag } from "./tags.ts";

const mostExperiments = 50_000;

export const experimentsSearch = new Hono<App>().on(
  ["GET", "POST"],
  "/2.0/mlflow/experiments/search",
  route({ right: "reader", summary: "MLflow: search experiments" }),
  async (c) => {
    const query = await readRequest(c, {
      max_results: orElse(int64, 0),
      page_token: string,
      filter: orElse(string, ""),
      order_by: list(required(string)),
      view_type: orElse(word(views), "ACTIVE_ONLY"),
    });
    const limit = query.max_results;
    if (limit < 1) throw invalidValue(limit, "max_results", "It must be a positive integer");
    if (limit > mostExperiments)
      throw invalidValue(limit, "max_results", `It must be at most ${mostExperiments}`);
    const test = query.filter.trim()
      ? testFrom(parseMlflowWhere("experiment", query.filter))
      : () => true;
    const order = orderFrom(query.order_by);
    const [begin] = query.page_token ? fromPageToken(query.page_token, isPlace) : [0];
    await findExperiment(c.env.DB, defaultExperiment.id, c.get("visitor").who);
    const found = (await listExperiments(c.env.DB))
      .filter(
        ({ archived }) =>
          query.view_type === "ALL" || (query.view_type === "ACTIVE_ONLY") === (archived === null),
      )
      .filter(test)
      .toSorted(order);
    return answer(c, {
      experiments: found.slice(begin, begin + limit).map(experimentJSON),
      next_page_token: begin + limit < found.length ? pageToken([begin + limit]) : undefined,
    });
  },
);

const isPlace = (next: unknown[]): next is [place: number] =>
  next.length === 1 && Number.isSafeInteger(next[0]) && (next[0] as number) >= 0;

/** Returns whether a filter holds of an experiment; of what it lacks, only IS NULL does. */
function testFrom(filter: Filter<MlflowField>): (experiment: StoredExperiment) => boolean {
  if (filter.type === "and") {
    const tests = filter.filters.map(testFrom);
    return (experiment) => tests.every((test) => test(experiment));
  }
  if (filter.type !== "compare") throw new Error(`MLflow's filters have no ${filter.type}`);
  const test = testOf(filter);
  return (experiment) => {
    const value = valueOf(experiment, filter.field);
    return value === undefined ? filter.operator === "IS NULL" : test(value);
  };
}

function valueOf(experiment: StoredExperiment, { kind, key }: MlflowField): Value | undefined {
  const { id, name, created, updated, tags, note } = experiment;
  if (kind === "tag")
    return key === noteTag ? note || undefined : Object.hasOwn(tags, key) ? tags[key] : undefined;
  return { name, experiment_id: id, creation_time: created, last_update_time: updated }[key];
}

/** Returns the order that texts describe, then the latest first. */
function orderFrom(texts: string[]): (a: StoredExperiment, b: StoredExperiment) => number {
  const terms = [
    ...texts.map((text) => parseMlflowOrder("experiment", text)),
    { field: { kind: "attribute", key: "creation_time" } as const, descending: true },
    { field: { kind: "attribute", key: "experiment_id" } as const, descending: false },
  ];
  return (a, b) => {
    for (const { field, descending } of terms) {
      const [x, y] = [valueOf(a, field), valueOf(b, field)];
      const order =
        typeof x === "number" ? x - Number(y) : compareText(String(x ?? ""), String(y ?? ""));
      if (order) return descending ? -order : order;
    }
    return 0;
  };
}
