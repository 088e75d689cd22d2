import { exports } from "cloudflare:workers";
import { expect, test } from "vitest";
import { freshStores } from "../worker.ts";

freshStores();

const get = (path: string, method = "GET") =>
  exports.default.fetch(`http://127.0.0.1${path}`, { method });

test("probes answer in text", async () => {
  expect(await (await get("/health")).text()).toBe("OK");
  expect(await (await get("/version")).text()).toBe("3.17.2");
});

test.each([
  ["GET", "/api/2.0/mlflow/nope/nope", 404, "ENDPOINT_NOT_FOUND"],
  ["GET", "/api/9.0/mlflow/runs/get", 404, "ENDPOINT_NOT_FOUND"],
  ["POST", "/ajax-api/2.0/preview/mlflow/runs/create", 404, "ENDPOINT_NOT_FOUND"],
  ["POST", "/version", 405, "ENDPOINT_NOT_FOUND"],
  ["POST", "/graphql", 501, "NOT_IMPLEMENTED"],
  ["GET", "/api/3.0/mlflow/scorers/list", 501, "NOT_IMPLEMENTED"],
  ["GET", "/ajax-api/3.0/mlflow/gateway/endpoints/list", 501, "NOT_IMPLEMENTED"],
  ["POST", "/api/2.0/mlflow/webhooks", 501, "NOT_IMPLEMENTED"],
  ["GET", "/api/v1/nope", 404, "RESOURCE_DOES_NOT_EXIST"],
])("%s %s answers %i %s", async (method, path, status, error_code) => {
  const response = await get(path, method);
  expect(response.headers.get("content-type")).toBe("application/json");
  expect([response.status, await response.json()]).toMatchObject([status, { error_code }]);
});
