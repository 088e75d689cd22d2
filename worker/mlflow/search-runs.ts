import { Hono, type Context } from "hono";
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
import { selectLinks, withoutDatasets } from "../db/datasets.ts";
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
import { nameTag, noteTag, parentTag } from "./tags.ts";

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
    const filter = filterOf(query.filter);
    const order = orderOf(query.order_by);
    const after = query.page_token ? fromPageToken(query.page_token, isPlace) : undefined;
    const experiments = await Promise.all(query.experiment_ids.map((id) => experimentId(c, id)));
    const { runs, next } = await searchRuns(c.env.DB, {
      experiments,
      filter: await withoutDatasets(c.env.DB, experiments, filter),
      order,
      view: viewOf[query.run_view_type],
      limit,
      after,
      artifactRoot,
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

/** Returns a filter of MLflow's as ours. */
function filterOf(text: string): Filter {
  const clauses = text.trim() ? clausesOf(parseMlflowWhere("run", text)) : [];
  return {
    type: "and",
    filters: clauses.map((clause) => ({ ...clause, field: ourField(clause.field) })),
  };
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
