import * as fc from "fast-check";
import { exports } from "cloudflare:workers";
import { beforeAll, expect, test } from "vitest";
import { app } from "../../../worker/index.ts";
import { isMlflow } from "../../../worker/mlflow/error.ts";
import { freshStores } from "../worker.ts";
import { mlflow, startRun } from "./door.ts";

freshStores();

const routes = [
  ...new Set(
    app.routes
      .filter(
        ({ method, path }) => method !== "ALL" && isMlflow(path) && !path.startsWith("/ajax-api"),
      )
      .map(({ method, path }) => `${method} ${path}`),
  ),
];
let run: string;
beforeAll(async () => {
  run = await startRun();
});

const names = [
  "run_id",
  "run_uuid",
  "experiment_id",
  "experiment_ids",
  "experiment_name",
  "name",
  "new_name",
  "key",
  "value",
  "step",
  "timestamp",
  "metrics",
  "params",
  "tags",
  "datasets",
  "dataset",
  "models",
  "model_id",
  "model_json",
  "path",
  "upload_id",
  "parts",
  "part_number",
  "etag",
  "num_parts",
  "filter",
  "order_by",
  "max_results",
  "page_token",
  "view_type",
  "status",
  "end_time",
  "run_name",
  "start_time",
  "user_id",
  "run_ids",
  "metric_key",
  "artifact_location",
  "digest",
  "source",
  "source_type",
];
const leaf = () =>
  fc.oneof(
    fc.constantFrom(
      null,
      "",
      "0",
      "NaN",
      "..",
      "1e999",
      "mlflow.runName",
      "metrics.a > 1",
      "a.b DESC",
      "FINISHED",
      "W10",
      0,
      -1,
      1.5,
      2 ** 60,
      1e308,
      true,
    ),
    fc.string({ unit: "binary" }),
    fc.double(),
    fc.constant("run"),
  );
const { body } = fc.letrec<{ body: Record<string, unknown>; value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    leaf(),
    fc.array(tie("value"), { maxLength: 3 }),
    tie("body"),
  ),
  body: fc.dictionary(fc.constantFrom(...names), tie("value"), { maxKeys: 6 }),
}));

/** Puts an id of a run that is there where a value says so, so that more than the first check is reached. */
const withRun = (value: object) => JSON.stringify(value).replaceAll('"run"', JSON.stringify(run));

test.each(routes)(
  "whatever %s is asked, it is no error of the server's",
  async (route) => {
    const [method, path] = route.split(" ") as [string, string];
    await fc.assert(
      fc.asyncProperty(body, fc.boolean(), async (fields, isRun) => {
        const text = withRun(isRun ? { ...fields, run_id: "run", experiment_id: "0" } : fields);
        const query = new URLSearchParams(
          Object.entries(JSON.parse(text) as object).flatMap(([name, value]) =>
            (Array.isArray(value) ? value : [value]).map((item): [string, string] => [
              name,
              typeof item === "string" ? item.toWellFormed() : JSON.stringify(item),
            ]),
          ),
        );
        const filled = path.replace(/:\w+(\{[^}]*\})?/g, "x");
        const isGet = method === "GET";
        const response = await exports.default.fetch(
          `http://127.0.0.1${filled}${isGet ? `?${query}` : ""}`,
          {
            method,
            ...(isGet ? {} : { body: text, headers: { "content-type": "application/json" } }),
          },
        );
        const answer = await response.text();
        expect([response.status, answer]).not.toEqual([500, expect.anything()]);
        if (response.status >= 400)
          expect(JSON.parse(answer)).toMatchObject({
            error_code: expect.any(String),
            message: expect.any(String),
          });
      }),
      { numRuns: 25 },
    );
  },
  60_000,
);

test("JSON that is nested 100,000 deep is refused", async () => {
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  for (const field of ["run_id", "tags", "value", "key"]) {
    const { status } = await mlflow(
      "POST",
      "/2.0/mlflow/runs/set-tag",
      `{"run_id":"${run}","key":"a","${field}":${deep}}`,
      { "content-type": "application/json" },
    );
    expect([field, status === 400 || field === "tags"]).toEqual([field, true]);
  }
});
