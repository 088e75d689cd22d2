import { Hono, type Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { ApiError } from "../wire/error.ts";
import { identify } from "./auth/visitor.ts";
import { collectAnswers } from "./db/answers.ts";
import { collectUndo } from "./db/bulk.ts";
import { compactDue, forgetReceipts } from "./db/compact.ts";
import { collectFiles } from "./db/files.ts";
import { collectObjects } from "./db/objects.ts";
import { settleDue } from "./db/run-blocks.ts";
import { collectUploads } from "./db/uploads.ts";
import type { App, Env } from "./env.ts";
import { isMlflow, mlflowError } from "./mlflow/error.ts";
import { methodsOf, mountMlflow } from "./mlflow/index.ts";
import { openapi } from "./openapi.ts";
import { guard, noSuchRoute, route } from "./route.ts";
import { bulk } from "./routes/bulk.ts";
import { consoleLines } from "./routes/console.ts";
import { datasets } from "./routes/datasets.ts";
import { experiments } from "./routes/experiments.ts";
import { files } from "./routes/files.ts";
import { loggedModels } from "./routes/logged-models.ts";
import { models } from "./routes/models.ts";
import { points } from "./routes/points.ts";
import { runLinks } from "./routes/run-links.ts";
import { runs } from "./routes/runs.ts";
import { traces } from "./routes/traces.ts";

export const app = new Hono<App>();

app.use(async (c, next) => {
  c.set("visitor", await identify(c.req.raw, c.env));
  await next();
});

app.use(guard);
const api = new Hono<App>()
  .get("/health", route({ right: "reader", summary: "Whether the server answers" }), (c) =>
    c.json({ ok: true }),
  )
  .get("/openapi.json", route({ right: "reader", summary: "This document" }), (c) =>
    c.json(openapi(app)),
  );
for (const noun of [
  experiments,
  runs,
  runLinks,
  bulk,
  points,
  consoleLines,
  files,
  datasets,
  loggedModels,
  models,
  traces,
])
  api.route("/", noun);
app.route("/api/v1", api);
mountMlflow(app);

app.get("*", route({ right: "reader", summary: "The pages" }), async (c) => {
  if (c.req.path.startsWith("/api/")) throw noSuchRoute(c);
  const asset = await c.env.ASSETS.fetch(c.req.raw);
  const page = new Response(asset.body, asset);
  page.headers.set("content-security-policy", pagePolicy);
  page.headers.set("x-content-type-options", "nosniff");
  page.headers.set("referrer-policy", "no-referrer");
  return page;
});

/** Our pages run our own scripts and nothing else, and talk to nobody else. */
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

app.notFound((c) => answerError(c, noSuchRoute(c)));

app.onError((error, c) => answerError(c, refusalOf(error)));

/** Returns what a client is told of an error. */
function refusalOf(error: Error): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof HTTPException)
    return new ApiError("INVALID_PARAMETER_VALUE", error.message, error.status);
  if (
    /overloaded|queued for too long|object to be reset|Network connection lost/i.test(error.message)
  )
    return new ApiError("TEMPORARILY_UNAVAILABLE", `storage is busy: ${error.message}`);
  if (/SQLITE_TOOBIG|string or blob too big/i.test(error.message))
    return new ApiError("REQUEST_TOO_LARGE", `too much for one row: ${error.message}`);
  console.error(error);
  return new ApiError("INTERNAL_ERROR", "internal error");
}

function answerError(c: Context<App>, error: ApiError): Response {
  const headers = new Headers({
    ...error.headers,
    "content-type": "application/json",
    "cache-control": "no-store",
  });
  if (error.status === 401) headers.set("www-authenticate", 'Basic realm="Assay", charset="UTF-8"');
  if (error.status === 503) headers.set("retry-after", "2");
  if (!isMlflow(c.req.path))
    return new Response(JSON.stringify(error), { status: error.status, headers });
  const { status, body } = mlflowError(error);
  const methods = error.code === "ENDPOINT_NOT_FOUND" ? methodsOf(app, c.req.path) : [];
  if (methods.length) headers.set("allow", methods.join(", "));
  return new Response(JSON.stringify(body), { status: methods.length ? 405 : status, headers });
}

export default {
  fetch: app.fetch,
  async scheduled(_, env) {
    await compactDue(env);
    await settleDue(env);
    await forgetReceipts(env.DB);
    await collectUploads(env);
    await collectFiles(env);
    await collectObjects(env);
    await collectAnswers(env.FILES);
    await collectUndo(env);
  },
} satisfies ExportedHandler<Env>;
