import { Hono, type Context } from "hono";
import { testOf } from "../../wire/comparison.ts";
import { ApiError } from "../../wire/error.ts";
import type { Field } from "../../wire/field.ts";
import type { Comparison, Filter } from "../../wire/filter.ts";
import { defaultExperiment } from "../../wire/id.ts";
import {
  fieldFromMlflow,
  parseMlflowOrder,
  parseMlflowWhere,
  type MlflowField,
} from "../../wire/mlflow-query.ts";
import type { OrderTerm } from "../../wire/order.ts";
import { selectDatasetRuns, selectLinks } from "../db/datasets.ts";
import { searchRuns, type RunPlace } from "../db/search-runs.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { experimentOf } from "./experiments.ts";
import { answer } from "./json.ts";
import { fromPageToken, pageToken } from "./page.ts";
import {
  int64,
  invalidType,
  invalidValue,
  list,
  orElse,
  readRequest,
  required,
  string,
  word,
} from "./request.ts";
import { artifactRoot, runJSON } from "./run-json.ts";
import { contextTag, nameTag, noteTag, parentTag } from "./tags.ts";

/** Which of a list to show, in MLflow's numbering, from 1 on. */
export const views = ["ACTIVE_ONLY", "DELETED_ONLY", "ALL"] as const;
const viewOf = { ACTIVE_ONLY: "active", DELETED_ONLY: "deleted", ALL: "all" } as const;

const mostRuns = 50_000;

export const runsSearch = new Hono<App>().post(
  "/2.0/mlflow/runs/search",
  route({ right: "reader", summary: "MLflow: search runs" }),
  async (c) => {
    const query = await readRequest(c, {
      experiment_ids: list(required(string)),
      filter: orElse(string, ""),
      run_view_type: orElse(word(views), "ACTIVE_ONLY"),
      max_results: orElse(int64, 1000),
      order_by: list(required(string)),
      page_token: string,
    });
    const limit = query.max_results;
    if (limit < 1) throw invalidValue(limit, "max_results", "It must be a positive integer");
    if (limit > mostRuns) throw invalidType(limit, "max_results");
    const { filter, datasets } = filterOf(query.filter);
    const order = orderOf(query.order_by);
    const after = query.page_token ? fromPageToken(query.page_token, isPlace) : undefined;
    const experiments = await Promise.all(query.experiment_ids.map((id) => experimentId(c, id)));
    const lists = await Promise.all(
      datasets.map((clause) => selectDatasetRuns(c.env.DB, experiments, datasetTest(clause))),
    );
    const { runs, next } = await searchRuns(c.env.DB, {
      experiments,
      filter,
      order,
      view: viewOf[query.run_view_type],
      limit,
      after,
      artifactRoot,
      only: lists.length
        ? lists.reduce((a, b) => [...new Set(a).intersection(new Set(b))])
        : undefined,
    });
    const links = await selectLinks(
      c.env.DB,
      runs.map(({ no }) => no),
    );
    return answer(c, {
      runs: runs.map((run) => runJSON(run, links.get(run.no))),
      next_page_token: next && pageToken(next),
    });
  },
);

const isPlace = (next: unknown[]): next is RunPlace =>
  next.length === 2 && next.every((value) => Number.isSafeInteger(value));

/** The default experiment may have another id here. */
const experimentId = async (c: Context<App>, id: string): Promise<string> =>
  id === defaultExperiment.id ? (await experimentOf(c, id)).id : id;

/** Returns a filter of MLflow's as ours, and what it says of datasets, which is asked for by itself. */
function filterOf(text: string): { filter: Filter; datasets: Comparison<MlflowField>[] } {
  const filters: Filter[] = [];
  const datasets: Comparison<MlflowField>[] = [];
  for (const clause of text.trim() ? clausesOf(parseMlflowWhere("run", text)) : [])
    if (clause.field.kind === "dataset") datasets.push(clause);
    else filters.push({ ...clause, field: ourField(clause.field) });
  return { filter: { type: "and", filters }, datasets };
}

/** Returns the AND-ed comparisons that MLflow's filters are. */
function clausesOf(filter: Filter<MlflowField>): Comparison<MlflowField>[] {
  if (filter.type === "and") return filter.filters.flatMap(clausesOf);
  if (filter.type === "compare") return [filter];
  throw new Error(`MLflow's filters have no ${filter.type}`);
}

/** Returns our field for MLflow's; some of its tags are fields of their own here. */
const ourField = (field: MlflowField): Field =>
  (field.kind === "tag" ? tagFields.get(field.key) : undefined) ?? fieldFromMlflow(field);

const tagFields = new Map<string, Field>([
  [nameTag, { kind: "plain", key: "name" }],
  [noteTag, { kind: "plain", key: "note" }],
  [parentTag, { kind: "plain", key: "parent" }],
]);

function orderOf(texts: string[]): OrderTerm[] {
  const order = texts.map((text) => {
    const { field, descending } = parseMlflowOrder("run", text);
    if (field.kind === "dataset")
      throw new ApiError("INVALID_PARAMETER_VALUE", `Invalid order_by clause '${text}'`);
    return { field: ourField(field), descending };
  });
  const names = new Set(order.map(({ field }) => `${field.kind}.${field.key}`));
  if (names.size < order.length)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `\`order_by\` contains duplicate fields: [${texts.map((text) => `'${text}'`).join(", ")}]`,
    );
  return order;
}

/** Returns whether a run's dataset is what a clause asks for. */
function datasetTest(clause: Comparison<MlflowField>): Parameters<typeof selectDatasetRuns>[2] {
  const test = testOf(clause);
  return ({ name, digest, tags }) => {
    const context = tags.find(({ key }) => key === contextTag)?.value;
    const value = { name, digest, context }[clause.field.key];
    return value !== undefined && test(value);
  };
}
