import { toJsonSchema } from "@valibot/to-json-schema";
import type { Hono } from "hono";
import type * as v from "valibot";
import type { App } from "./env.ts";
import { declarationOf, type Route } from "./route.ts";

const prefix = "/api/v1";

/** Returns the OpenAPI 3.1 document of an app's routes, from what each declares of itself. */
export function openapi(app: Hono<App>): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const { method, path, handler } of app.routes) {
    const route = declarationOf(handler);
    if (!route || !path.startsWith(prefix)) continue;
    const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name!);
    const documented = path.replace(/:(\w+)(\{[^}]*\})?/g, "{$1}");
    (paths[documented] ??= {})[method.toLowerCase()] = operation(route, method, documented, names);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Assay",
      version: "1",
      description:
        "Experiment tracking. Errors are {error_code, message}. Numbers in JSON may be the strings NaN, Infinity and -Infinity. Times are milliseconds since 1970.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    security: [{ token: [] }, { password: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: "http", scheme: "bearer" },
        password: { type: "http", scheme: "basic" },
      },
      schemas: {
        Error: {
          type: "object",
          required: ["error_code", "message"],
          properties: { error_code: { type: "string" }, message: { type: "string" } },
        },
      },
    },
  };
}

function operation(
  { right, summary, query, body, answers = {} }: Route,
  method: string,
  path: string,
  names: string[],
): object {
  const error = {
    description: "refused",
    content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
  };
  const success = Object.keys(answers).some((status) => status.startsWith("2"))
    ? {}
    : { 200: "done" };
  const described = Object.entries({ ...success, ...answers }).map(([status, description]) => [
    status,
    Number(status) < 400
      ? { description, content: { [answerType(path)]: {} } }
      : { ...error, description },
  ]);
  return {
    operationId: operationId(method, path),
    summary,
    "x-right": right,
    parameters: [
      ...names.map((name) => ({ name, in: "path", required: true, schema: { type: "string" } })),
      ...queryParameters(query),
    ],
    ...(body ? { requestBody: { content: bodyContent(body) } } : {}),
    responses: { ...Object.fromEntries(described), default: error },
  };
}

const operationId = (method: string, path: string) =>
  [method.toLowerCase(), ...path.slice(prefix.length).split(/\W+/).filter(Boolean)].join("_");

const answerType = (path: string): string =>
  path.endsWith(".arrow")
    ? "application/vnd.apache.arrow.stream"
    : path.endsWith(".csv")
      ? "text/csv"
      : path.endsWith("{path}")
        ? "*/*"
        : "application/json";

function bodyContent(body: NonNullable<Route["body"]>): object {
  if (isSchema(body)) return { "application/json": { schema: jsonSchema(body) } };
  return Object.fromEntries(
    Object.entries(body).map(([type, description]) => [type, { schema: { description } }]),
  );
}

function queryParameters(query: v.GenericSchema | undefined): object[] {
  if (!query) return [];
  const entries = (query as unknown as { entries: Record<string, v.GenericSchema> }).entries;
  return Object.keys(entries).map((name) => ({
    name,
    in: "query",
    schema: { type: "array", items: { type: "string" } },
    style: "form",
    explode: true,
  }));
}

const isSchema = (body: NonNullable<Route["body"]>): body is v.GenericSchema => "kind" in body;

// What a schema checks beyond its shape (names, limits) has no counterpart in JSON Schema and is left out.
const jsonSchema = (schema: v.GenericSchema) => {
  const { $schema: _, ...rest } = toJsonSchema(schema, { typeMode: "input", errorMode: "ignore" });
  return rest;
};
