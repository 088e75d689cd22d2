import fc from "fast-check";
import { expect, test } from "vitest";
import { app } from "../../../worker/index.ts";
import { freshStores } from "../worker.ts";
import { mlflow, newRun } from "./client.ts";

freshStores();

const routes = [
  ...new Set(
    app.routes
      .filter(({ method, path }) => method !== "ALL" && /^\/api\/[23]\.0\/mlflow\//.test(path))
      .map(({ method, path }) => `${method} ${path.slice("/api".length)}`),
  ),
].filter((route) => !/server-info/.test(route));

/** Names of fields that requests have, so that what is made up is looked into. */
const names = [
  ..."name new_name version source run_id run_uuid model_id experiment_id experiment_ids key value alias stage".split(
    " ",
  ),
  ..."tags params metrics description filter max_results order_by page_token trace_id trace_ids trace status".split(
    " ",
  ),
  ..."assessment update_mask locations datasets models request_ids max_timestamp_millis prompt_versions".split(
    " ",
  ),
  ..."trace_info trace_location mlflow_experiment request_time execution_duration state feedback expectation".split(
    " ",
  ),
  ..."timestamp step timestamp_ms field_name dataset_name serialized_value metadata archive_existing_versions".split(
    " ",
  ),
];

const leaf = fc.oneof(
  fc.constantFrom(
    "0",
    "1",
    "seeded",
    "m-seeded",
    "tr-seeded",
    "LOGGED_MODEL_READY",
    "name = 'x'",
    "name DESC",
    "None",
  ),
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.double(),
  fc.maxSafeInteger(),
  fc.boolean(),
  fc.constant(null),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...names), tie("value"), { maxKeys: 6, noNullPrototype: true }),
  ),
}));
const body = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 8, noNullPrototype: true });
const id = fc.constantFrom("seeded", "tr-seeded", "a-seeded", "%2e%2e", "x%00y", "é", "a b");

test(
  "whatever is asked for, no request is the server's own error",
  { timeout: 300_000 },
  async () => {
    const run = await newRun("0");
    const seeded = { name: "seeded", source: "s3://b/m", run_id: run.id };
    await mlflow("POST", "/2.0/mlflow/registered-models/create", seeded);
    await mlflow("POST", "/2.0/mlflow/model-versions/create", seeded);
    await mlflow("POST", "/2.0/mlflow/logged-models", { experiment_id: "0", name: "seeded" });
    await mlflow("POST", "/3.0/mlflow/traces", {
      trace: {
        trace_info: {
          trace_id: "tr-seeded",
          trace_location: { mlflow_experiment: { experiment_id: "0" } },
        },
      },
    });
    expect(routes.length).toBeGreaterThan(80);
    const seen = new Set<number>();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...routes),
        body,
        id,
        id,
        async (route, fields, first, second) => {
          const [method, pattern] = route.split(" ") as [string, string];
          const ids = [first, second];
          const path = pattern.replace(/:\w+(\{[^}]*\})?/g, () => ids.shift()!);
          const { status, text } = await mlflow(method, path, { ...fields });
          expect([route, status < 500 || status === 501, text]).toEqual([route, true, text]);
          seen.add(status);
        },
      ),
      { numRuns: 2_500 },
    );
    expect([...seen]).toEqual(expect.arrayContaining([200, 400, 404]));
  },
);
