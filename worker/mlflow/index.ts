import { Hono } from "hono";
import type { App } from "../env.ts";
import { declarationOf, route } from "../route.ts";
import { artifactPages, artifacts } from "./artifacts.ts";
import { experiments } from "./experiments.ts";
import { loggedModels } from "./logged-models.ts";
import { metrics } from "./metrics.ts";
import { notImplementedAPI, notImplementedPages } from "./not-implemented.ts";
import { registry, registryPages } from "./registry.ts";
import { runs } from "./runs.ts";
import { runLinks } from "./run-links.ts";
import { experimentsSearch } from "./search-experiments.ts";
import { runsSearch } from "./search-runs.ts";
import { spans, traces } from "./traces.ts";
import { uploads } from "./uploads.ts";

/** The release of MLflow whose clients' calls are answered; from 3.4 on, clients try to send spans to /v1/traces. */
const version = "3.17.2";

/** What clients ask before they send and fetch files: large ones come in parts, all are fetched through this server. */
const serverInfo = new Hono<App>().get(
  "/3.0/mlflow/server-info",
  route({ right: "reader", summary: "MLflow: what this server can do" }),
  (c) =>
    c.json({
      store_type: "SqlStore",
      workspaces_enabled: false,
      trace_archival_enabled: false,
      multipart_uploads_enabled: true,
      multipart_downloads_enabled: false,
      presigned_upload_run_id_supported: false,
      presigned_upload_model_id_supported: false,
      features_enabled: { gateway: false },
    }),
);

/** MLflow's API, a noun a router; paths begin with the API's version, as in /2.0/mlflow/runs/get. */
const nouns: Hono<App>[] = [
  experiments,
  experimentsSearch,
  runs,
  runsSearch,
  metrics,
  runLinks,
  artifacts,
  registry,
  loggedModels,
  traces,
  uploads,
  serverInfo,
  notImplementedAPI,
];

/** What MLflow serves beside its API. */
const pages: Hono<App>[] = [artifactPages, registryPages, spans, notImplementedPages];

/** Mounts the door for MLflow's clients: its API under /api, and once more under /ajax-api, as its own pages call it. */
export function mountMlflow(app: Hono<App>): void {
  for (const base of ["/api", "/ajax-api"]) for (const noun of nouns) app.route(base, noun);
  for (const page of pages) app.route("/", page);
  app
    .get("/health", route({ right: "reader", summary: "Whether the server answers" }), (c) =>
      c.text("OK"),
    )
    .get("/version", route({ right: "reader", summary: "The MLflow that is spoken" }), (c) =>
      c.text(version),
    );
}

/** Returns the methods that a path of the door takes; none where it is no path of it. */
export function methodsOf(app: Hono<App>, path: string): string[] {
  return ["GET", "POST", "PUT", "PATCH", "DELETE"].filter((method) =>
    app.router
      .match(method, path)[0]
      .some(([[handler, { path }]]) => path !== "*" && path !== "/*" && declarationOf(handler)),
  );
}
