import { Hono } from "hono";
import { ApiError } from "../../wire/error.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";

/** Parts of MLflow that are no part of tracking, as its paths begin. */
const others = [
  "gateway",
  "gateway-proxy",
  "scorers",
  "issues",
  "webhooks",
  "workspaces",
  "jobs",
  "prompt-optimization",
  "label-schemas",
  "review-queues",
  "saved-views",
  "mcp-servers",
  "users",
  "roles",
  "permissions",
  "datasets",
  "ui-telemetry",
];
const other = others.join("|");

const notImplemented = (path: string) =>
  new ApiError("NOT_IMPLEMENTED", `Not implemented by this server: ${path}`);

const declared = () =>
  route({ right: "reader", summary: "What this server does not have of MLflow" });

/** Answers in MLflow's own shape what is not here; comes after the routes that are. */
export const notImplementedAPI = new Hono<App>()
  .all(`/:version{[23]\\.0}/mlflow/:part{${other}}`, declared(), (c) => {
    throw notImplemented(c.req.path);
  })
  .all(`/:version{[23]\\.0}/mlflow/:part{${other}}/:rest{.+}`, declared(), (c) => {
    throw notImplemented(c.req.path);
  })
  .all("/3.0/mlflow/traces/:part{metrics|calculate-filter-correlation}", declared(), (c) => {
    throw notImplemented(c.req.path);
  })
  .all("/:version{[23]\\.0}/mlflow/runs/create-promptlab-run", declared(), (c) => {
    throw notImplemented(c.req.path);
  });

export const notImplementedPages = new Hono<App>().all("/graphql", declared(), (c) => {
  throw notImplemented(c.req.path);
});
