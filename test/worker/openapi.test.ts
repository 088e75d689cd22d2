import { expect, test } from "vitest";
import { app } from "../../worker/index.ts";
import { ask, freshStores } from "./worker.ts";

freshStores();

test("the API document names every route once, with its right, its parameters and its errors", async () => {
  const { json } = await ask("GET", "/openapi.json");
  expect(json.openapi).toBe("3.1.0");
  const operations = Object.entries<Record<string, any>>(json.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const routes = new Set(
    app.routes
      .filter(({ method, path }) => method !== "ALL" && path.startsWith("/api/v1"))
      .map(({ method, path }) => `${method} ${path.replace(/:(\w+)(\{[^}]*\})?/g, "{$1}")}`),
  );
  expect(new Set(operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`))).toEqual(
    routes,
  );
  expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(
    operations.length,
  );
  for (const { path, operation } of operations) {
    expect(["reader", "writer", "admin"]).toContain(operation["x-right"]);
    expect(operation.summary.length).toBeGreaterThan(5);
    const named = operation.parameters
      .filter((parameter: any) => parameter.in === "path")
      .map((parameter: any) => parameter.name);
    expect(named).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
    expect(operation.responses.default.content["application/json"].schema.$ref).toBe(
      "#/components/schemas/Error",
    );
  }
});

test("bodies are described by schema", async () => {
  const { json } = await ask("GET", "/openapi.json");
  const schema =
    json.paths["/api/v1/experiments"].post.requestBody.content["application/json"].schema;
  expect(schema).toMatchObject({
    type: "object",
    required: ["name"],
    properties: { direction: { enum: ["min", "max"] } },
  });
});
