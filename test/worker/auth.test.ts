import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import worker, { app } from "../../worker/index.ts";
import { declarationOf, guard, route } from "../../worker/route.ts";
import type { App } from "../../worker/env.ts";
import type { ApiError } from "../../wire/error.ts";
import { Hono } from "hono";
import { freshStores } from "./worker.ts";

freshStores();

/** Asks the Worker as it is deployed: not on loopback, with or without an owner. */
function deployed(
  path: string,
  headers: Record<string, string> = {},
  OWNER_TOKEN?: string,
  method = "GET",
) {
  const request = new Request(`https://assay.example${path}`, { method, headers });
  const { LOOPBACK: _, ...bindings } = env;
  return worker.fetch(
    request,
    { ...bindings, ...(OWNER_TOKEN ? { OWNER_TOKEN } : {}) },
    createExecutionContext(),
  );
}

const routes = app.routes.filter(({ method }) => method !== "ALL");
const paths = [...new Set(routes.map(({ method, path }) => `${method} ${path}`))];

test("every route declares the right it needs", () => {
  expect(paths.length).toBeGreaterThan(30);
  for (const named of paths) {
    const declared = routes
      .filter(({ method, path }) => `${method} ${path}` === named)
      .map(({ handler }) => declarationOf(handler))
      .filter(Boolean);
    expect([named, declared.length]).toEqual([named, 1]);
    expect(["reader", "writer", "admin"]).toContain(declared[0]!.right);
    // MLflow's searches are POSTs, and some reads of many.
    if (
      !named.startsWith("GET") &&
      !/\/mlflow\/.*\/(search(-datasets)?|get-latest-versions|batchGetInfos)$/.test(named)
    )
      expect([named, declared[0]!.right]).not.toEqual([named, "reader"]);
  }
});

test("a route that declares nothing is closed, and one that needs more than the visitor has", async () => {
  const small = new Hono<App>()
    .use(async (c, next) => {
      c.set("visitor", { who: "ada", right: "reader" });
      await next();
    })
    .use(guard)
    .get("/undeclared", (c) => c.text("open"))
    .get("/read", route({ right: "reader", summary: "" }), (c) => c.text("open"))
    .get("/write", route({ right: "writer", summary: "" }), (c) => c.text("open"));
  small.onError((error, c) => c.text(error.message, (error as ApiError).status as 404));
  const answers = await Promise.all(
    ["/undeclared", "/read", "/write"].map(async (path) => (await small.request(path)).text()),
  );
  expect(answers).toEqual([
    "no such route: GET /undeclared",
    "open",
    "ada is a reader, this needs a writer",
  ]);
});

test("without an owner every route answers only how to set one", async () => {
  for (const named of paths) {
    const [method, path] = named.split(" ") as [string, string];
    const response = await deployed(path.replace("*", "page"), {}, undefined, method);
    expect([named, response.status]).toEqual([named, 401]);
    expect(await response.json()).toMatchObject({
      error_code: "UNAUTHENTICATED",
      message: expect.stringContaining("wrangler secret put OWNER_TOKEN"),
    });
  }
});

test("with an owner every route asks for the token, as Bearer or as the password of Basic", async () => {
  const basic = (password: string) => ({ authorization: `Basic ${btoa(`anyone:${password}`)}` });
  for (const named of paths) {
    const [method, path] = named.split(" ") as [string, string];
    const response = await deployed(path.replace("*", "page"), {}, "secret", method);
    expect([named, response.status, response.headers.get("www-authenticate")]).toEqual([
      named,
      401,
      'Basic realm="Assay", charset="UTF-8"',
    ]);
  }
  const health = "/api/v1/health";
  expect((await deployed(health, { authorization: "Bearer secret" }, "secret")).status).toBe(200);
  expect((await deployed(health, basic("secret"), "secret")).status).toBe(200);
  for (const headers of [
    { authorization: "Bearer wrong" },
    basic("wrong"),
    basic(""),
    { authorization: "Basic !!" },
    { authorization: "secret" },
  ])
    expect((await deployed(health, headers, "secret")).status).toBe(401);
});

test("a page elsewhere cannot use the password a browser remembers, a program with the token may ask from anywhere", async () => {
  const origin = "https://evil.example";
  expect(
    (
      await deployed(
        "/api/v1/health",
        { authorization: `Basic ${btoa("a:secret")}`, origin },
        "secret",
      )
    ).status,
  ).toBe(403);
  expect(
    (
      await deployed(
        "/api/v1/health",
        { authorization: `Basic ${btoa("a:secret")}`, origin: "https://assay.example" },
        "secret",
      )
    ).status,
  ).toBe(200);
  expect(
    (await deployed("/api/v1/health", { authorization: "Bearer secret", origin }, "secret")).status,
  ).toBe(200);
});
