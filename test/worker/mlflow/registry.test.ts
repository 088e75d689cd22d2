import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { selectEvents } from "../../../worker/db/events.ts";
import { ask, freshStores } from "../worker.ts";
import { mlflow, newExperiment, newRun, refusal } from "./client.ts";

freshStores();

const models = "/2.0/mlflow/registered-models";
const versions = "/2.0/mlflow/model-versions";

const create = (name: string, more: object = {}) =>
  mlflow("POST", `${models}/create`, { name, ...more });
const version = (name: string, source = "s3://bucket/model", more: object = {}) =>
  mlflow("POST", `${versions}/create`, { name, source, ...more });

test.for<[string, string, object, RegExp]>([
  ["POST", "create", {}, /^Missing value for required parameter 'name'/],
  ["POST", "create", { name: "" }, /^Missing value for required parameter 'name'/],
  ["POST", "create", { name: "  " }, /^Missing value for required parameter 'name'/],
  ["POST", "create", { name: 1 }, /^Invalid value 1 for parameter 'name' supplied/],
  ["POST", "create", { name: "a/b" }, /^Invalid model name 'a\/b'. Names cannot contain/],
  ["POST", "create", { name: "a:b" }, /^Invalid model name 'a:b'. Names cannot contain/],
  ["POST", "create", { name: ".." }, /^Invalid value "\.\." for parameter 'name'/],
  ["POST", "create", { name: "a\u0000" }, /control characters/],
  ["POST", "create", { name: "x".repeat(257) }, /exceeds the maximum length of 256/],
  ["POST", "create", { name: "t", tags: [{ key: "a//b" }] }, /for parameter 'key'/],
  ["POST", "create", { name: "t", tags: [{ key: "é;" }] }, /for parameter 'key'/],
  ["POST", "create", { name: "t", tags: { key: "a" } }, /for parameter 'tags'/],
  ["POST", "create", { name: "t", description: "d".repeat(100_001) }, /^'description' exceeds/],
  ["POST", "rename", { name: "t" }, /^Missing value for required parameter 'new_name'/],
  ["POST", "rename", { name: "t", new_name: "a/b" }, /^Invalid model name 'a\/b'/],
  ["POST", "alias", { name: "t", version: "1", alias: "latest" }, /'latest' alias name/],
  ["POST", "alias", { name: "t", version: "1", alias: "LATEST" }, /'latest' alias name/],
  ["POST", "alias", { name: "t", version: "1", alias: "v1" }, /^Version alias name 'v1'/],
  ["POST", "alias", { name: "t", version: "1", alias: "a b" }, /^Invalid alias name: 'a b'/],
  ["POST", "alias", { name: "t", version: "1", alias: "x".repeat(256) }, /length of 255/],
  ["POST", "alias", { name: "t", version: "x", alias: "a" }, /^Parameter 'version' must be an/],
  ["GET", "search", { filter: "name = 1" }, /quoted string value/],
  ["GET", "search", { filter: "nothing = 'x'" }, /^Invalid attribute key 'nothing'/],
  ["GET", "search", { filter: "x".repeat(100_001) }, /^Error on parsing filter/],
  ["GET", "search", { max_results: 1001 }, /at most 1000, but got value 1001/],
  ["GET", "search", { max_results: 0 }, /positive integer, but got 0/],
  ["GET", "search", { max_results: "x" }, /^Invalid value "x" for parameter 'max_results'/],
  ["GET", "search", { order_by: "size" }, /^Invalid order by key 'size'/],
  ["GET", "search", { order_by: ["name", "name DESC"] }, /contains duplicate fields/],
  ["GET", "search", { page_token: "made up" }, /^Invalid page token/],
  ["GET", "search", { page_token: btoa("[]") }, /^Invalid page token/],
  ["GET", "search", { page_token: btoa('[["a"],1]') }, /^Invalid page token/],
  ["GET", "search", { page_token: btoa("[[{}],1]") }, /^Invalid page token/],
])("%s %s of models is refused with %j", async ([method, path, fields, message]) => {
  expect(
    await mlflow(method, `${models}/${path}`, fields as Record<string, unknown>),
  ).toMatchObject(refusal("INVALID_PARAMETER_VALUE", expect.stringMatching(message)));
});

test.for<[object, RegExp]>([
  [
    { filter: "version_number > 1.5" },
    /^Invalid value for numeric attribute 'version_number': 1.5/,
  ],
  [{ filter: "version_number LIKE '1'" }, /^Invalid comparator/],
  [{ filter: "current_stage = 'None'" }, /^Invalid attribute key 'current_stage'/],
  [{ max_results: 200_001 }, /at most 200000/],
  [{ order_by: "run_id" }, /^Invalid attribute key 'run_id'/],
  [{ page_token: "made up" }, /^Invalid page token/],
])("a search of versions for %j is refused", async ([fields, message]) => {
  expect(
    await mlflow("GET", `${versions}/search`, fields as Record<string, unknown>),
  ).toMatchObject(refusal("INVALID_PARAMETER_VALUE", expect.stringMatching(message)));
});

test("what is not there is told so, on every route", async () => {
  const fields = { name: "nowhere", version: "1", key: "k", value: "v", stage: "None" };
  for (const [method, path] of [
    ["GET", `${models}/get`],
    ["PATCH", `${models}/update`],
    ["DELETE", `${models}/delete`],
    ["POST", `${models}/get-latest-versions`],
    ["POST", `${models}/set-tag`],
    ["DELETE", `${models}/delete-tag`],
  ] as const)
    expect([path, await mlflow(method, path, fields)]).toMatchObject([
      path,
      refusal("RESOURCE_DOES_NOT_EXIST", "Registered Model with name=nowhere not found", 404),
    ]);
  for (const [method, path] of [
    ["GET", `${versions}/get`],
    ["PATCH", `${versions}/update`],
    ["POST", `${versions}/transition-stage`],
    ["DELETE", `${versions}/delete`],
    ["GET", `${versions}/get-download-uri`],
    ["POST", `${versions}/set-tag`],
    ["DELETE", `${versions}/delete-tag`],
    ["POST", `${models}/alias`],
  ] as const)
    expect([path, await mlflow(method, path, { ...fields, alias: "a" })]).toMatchObject([
      path,
      refusal("RESOURCE_DOES_NOT_EXIST", "Model Version (name=nowhere, version=1) not found", 404),
    ]);
  for (const name of ["9".repeat(30), "-1", "0"])
    expect((await mlflow("GET", `${versions}/get`, { name: "x", version: name })).status).toBe(404);
});

/** Sources that could lead to where they must not, with the run or without, whatever the tags say. */
const badSources = [
  "/etc/passwd",
  "../../x",
  "etc",
  "C:/windows",
  "file:///etc/",
  "FILE:/etc",
  "file:///..\\..\\x",
  "http://example.com/h/../../x",
  "https://example.com/model",
  "ftp://example.com/model",
  "s3://bucket/../../x",
  "s3://bucket/a/./b",
  "s3://bucket/%2e%2e/x",
  "s3://bucket/%252e%252e%252fx",
  "s3://bucket/a%00",
  "s3://bucket/a%0ab",
  "s3://bucket/a\\b",
  "s3://bucket?/../x",
  "mlflow-artifacts:/../x",
  "mlflow-artifacts:/%2e%2e/x",
  "mlflow-artifacts://example.com/1/x",
  "mlflow-artifacts:/1/nobody/artifacts",
  "runs:/nobody/model",
  "models:/",
  "models:/m-nobody",
  "models:/m-%2e%2e",
  "models://host/m-x",
  "models:/a/b/c",
];

test.for(badSources)("the source %s is refused, as a prompt's too", async (source) => {
  await create("guarded");
  const run = await newRun("0");
  const prompt = [{ key: "mlflow.prompt.is_prompt", value: "true" }];
  for (const more of [
    {},
    { run_id: run.id },
    { run_id: "0".repeat(32) },
    { model_id: "m-x" },
    { tags: prompt },
    { run_id: run.id, tags: prompt },
    { tags: [...prompt, { key: "mlflow.prompt.is_prompt", value: "false" }] },
  ])
    expect(await version("guarded", source, more)).toMatchObject(
      refusal(
        "INVALID_PARAMETER_VALUE",
        expect.stringMatching(/^Invalid (model version|prompt) source/),
      ),
    );
  expect((await mlflow("GET", `${versions}/search`, { filter: "name='guarded'" })).json).toEqual(
    {},
  );
});

test("what lies here must lie in the run that is named, or in its logged model", async () => {
  await create("owned");
  const experiment = await newExperiment("owned");
  const [run, other] = [await newRun(experiment), await newRun(experiment)];
  for (const source of [
    run.files,
    `${run.files}/model`,
    `${run.files}/a b/ü`,
    `runs:/${run.id}/m`,
  ]) {
    expect((await version("owned", source, { run_id: run.id })).status).toBe(200);
    expect((await version("owned", source, { run_id: other.id })).status).toBe(400);
    expect((await version("owned", source)).status).toBe(400);
  }
  expect((await version("owned", `${run.files}x`, { run_id: run.id })).status).toBe(400);
  const runURI = await mlflow("GET", `${versions}/get-download-uri`, {
    name: "owned",
    version: "4",
  });
  expect(runURI.json).toEqual({ artifact_uri: `${run.files}/m` });

  const { json } = await mlflow("POST", "/2.0/mlflow/logged-models", {
    experiment_id: experiment,
    name: "built",
    source_run_id: run.id,
  });
  const { model_id, artifact_uri } = json.model.info;
  const built = await version("owned", `models:/${model_id}`, { model_id });
  expect(built.json.model_version).toMatchObject({ run_id: run.id, source: `models:/${model_id}` });
  expect(
    (await version("owned", `${artifact_uri}/part`, { model_id })).json.model_version,
  ).toMatchObject({ run_id: run.id });
  expect((await version("owned", `models:/${model_id}`)).status).toBe(400);
  expect((await version("owned", run.files, { model_id })).status).toBe(400);
  expect((await version("owned", `runs:/${run.id}`, { model_id, run_id: run.id })).status).toBe(
    400,
  );
  await mlflow("DELETE", `/2.0/mlflow/logged-models/${model_id}`);
  expect((await version("owned", `models:/${model_id}`, { model_id })).status).toBe(400);
});

test("a version may be made of another, by number, stage, alias or as the latest", async () => {
  await create("origin");
  await version("origin", "s3://bucket/1", { run_id: "r1" });
  await version("origin", "s3://bucket/2");
  await mlflow("POST", `${models}/alias`, { name: "origin", alias: "best", version: "1" });
  await mlflow("POST", `${versions}/transition-stage`, {
    name: "origin",
    version: "1",
    stage: "staging",
  });
  await create("derived");
  for (const [source, number] of [
    ["models:/origin/1", 1],
    ["models:/origin@best", 1],
    ["models:/origin/Staging", 1],
    ["models:/origin/latest", 2],
  ] as const) {
    const { json } = await version("derived", source);
    expect(json.model_version.source).toBe(`models:/origin/${number}`);
    const { version: own } = json.model_version;
    const at = await mlflow("GET", `${versions}/get-download-uri`, {
      name: "derived",
      version: own,
    });
    expect(at.json.artifact_uri).toBe(`s3://bucket/${number}`);
  }
  expect((await version("derived", "models:/origin/1", { run_id: "r1" })).status).toBe(200);
  expect(await version("derived", "models:/origin/1", { run_id: "r2" })).toMatchObject(
    refusal("INVALID_PARAMETER_VALUE"),
  );
  for (const [source, status] of [
    ["models:/nowhere/1", 404],
    ["models:/origin/9", 404],
    ["models:/origin@nobody", 400],
    ["models:/origin/Production", 404],
    ["models:/origin/bogus", 400],
  ] as const)
    expect([source, (await version("derived", source)).status]).toEqual([source, status]);
});

test("twenty versions at once have twenty numbers, and a number is never given twice", async () => {
  await create("rush");
  const made = await Promise.all(Array.from({ length: 20 }, () => version("rush")));
  const numbers = made.map(({ json }) => Number(json.model_version.version)).sort((a, b) => a - b);
  expect(numbers).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  await mlflow("DELETE", `${versions}/delete`, { name: "rush", version: "20" });
  expect((await version("rush")).json.model_version.version).toBe("21");
});

test("tags set at once all stay, names that JavaScript knows among them", async () => {
  await create("busy");
  await version("busy");
  const keys = [...Array.from({ length: 20 }, (_, i) => `t${i}`), "__proto__", "constructor"];
  await Promise.all(
    keys.flatMap((key) => [
      mlflow("POST", `${models}/set-tag`, { name: "busy", key, value: "v" }),
      mlflow("POST", `${versions}/set-tag`, { name: "busy", version: "1", key, value: "v" }),
    ]),
  );
  const { json } = await mlflow("GET", `${models}/get`, { name: "busy" });
  for (const { tags } of [json.registered_model, json.registered_model.latest_versions[0]])
    expect(tags.map(({ key }: any) => key).sort()).toEqual(keys.toSorted());
  await mlflow("DELETE", `${models}/delete-tag`, { name: "busy", key: "__proto__" });
  const after = await mlflow("GET", `${models}/get`, { name: "busy" });
  expect(after.json.registered_model.tags).toHaveLength(21);
});

test("numbers may come as text, names in camel case, and what is unknown is not looked at", async () => {
  await create("loose");
  await version("loose");
  const { json } = await mlflow("POST", `${versions}/transition-stage`, {
    name: "loose",
    version: "1",
    stage: "STAGING",
    archiveExistingVersions: true,
    nonsense: 1,
  });
  expect(json.model_version.current_stage).toBe("Staging");
  expect((await mlflow("GET", `${models}/search`, { max_results: "1" })).status).toBe(200);
  expect(
    await mlflow("POST", `${versions}/transition-stage`, {
      name: "loose",
      version: "1",
      stage: "None",
      archive_existing_versions: true,
    }),
  ).toMatchObject(refusal("INVALID_PARAMETER_VALUE", expect.stringContaining("cannot archive")));
});

test("pages lead through everything once, in any order, whatever is added meanwhile", async () => {
  for (let i = 0; i < 25; i++)
    await create(`page-${String(i % 7)}-${i}`, { tags: [{ key: "p", value: "1" }] });
  for (const order of [[], ["name DESC"], ["timestamp ASC"], ["last_updated_timestamp DESC"]]) {
    const names: string[] = [];
    let token = "";
    for (let page = 0; page < 10; page++) {
      const { json } = await mlflow("GET", `${models}/search`, {
        filter: "tags.p = '1'",
        order_by: order,
        max_results: 4,
        page_token: token,
      });
      names.push(...json.registered_models.map((m: any) => m.name));
      token = json.next_page_token ?? "";
      if (!token) break;
      await create(`0-${order}-${page}`); // before all others by name
    }
    expect(new Set(names).size).toBe(25);
    expect(names).toHaveLength(25);
    if (!order.length) expect(names).toEqual(names.toSorted());
  }
  const first = await mlflow("GET", `${models}/search`, { filter: "tags.p = '1'", max_results: 4 });
  expect(
    await mlflow("GET", `${models}/search`, { page_token: first.json.next_page_token }),
  ).toMatchObject(refusal("INVALID_PARAMETER_VALUE", expect.stringContaining("another filter")));
});

test("prompts are found where they are asked for, and nowhere else", async () => {
  const tags = [{ key: "mlflow.prompt.is_prompt", value: "true" }];
  await create("a prompt", { tags });
  await create("a model");
  for (const name of ["a prompt", "a model"])
    await version(
      name,
      name === "a prompt" ? "dummy-source" : undefined,
      name === "a prompt" ? { tags } : {},
    );
  const named = async (path: string, list: string, filter: string) =>
    (await mlflow("GET", `${path}/search`, { filter })).json[list]?.map((it: any) => it.name) ?? [];
  for (const [filter, found] of [
    ["name LIKE 'a %'", ["a model"]],
    ["name LIKE 'a %' AND tags.`mlflow.prompt.is_prompt` = 'true'", ["a prompt"]],
    ["name LIKE 'a %' AND tags.`mlflow.prompt.is_prompt` != 'false'", ["a prompt"]],
    ["name LIKE 'a %' AND tags.`mlflow.prompt.is_prompt` = 'false'", ["a model"]],
    ["name LIKE 'a %' AND tags.`mlflow.prompt.is_prompt` != 'true'", ["a model"]],
  ] as const) {
    expect([filter, await named(models, "registered_models", filter)]).toEqual([filter, found]);
    expect([filter, await named(versions, "model_versions", filter)]).toEqual([filter, found]);
  }
  expect((await version("a model", "dummy-source")).status).toBe(400);
  expect((await version("a model", "models:/a prompt/1")).status).toBe(400);
});

test("every change writes one event, and one that changes nothing writes none", async () => {
  const last = async () => (await selectEvents(env.DB, { limit: 100_000 })).at(-1)?.no ?? 0;
  const since = async (after: number) =>
    (await selectEvents(env.DB, { after })).map(({ what, subject }) => `${what} ${subject}`);
  const tag = { name: "told", key: "k", value: "v" };
  const steps: [string, string, object, string][] = [
    ["POST", `${models}/create`, { name: "told" }, "model.create told"],
    ["POST", `${versions}/create`, { name: "told", source: "s3://b/m" }, "version.create told/1"],
    ["POST", `${models}/set-tag`, tag, "model.tag told"],
    ["DELETE", `${models}/delete-tag`, tag, "model.tag told"],
    ["POST", `${versions}/set-tag`, { ...tag, version: "1" }, "version.tag told/1"],
    ["POST", `${models}/alias`, { name: "told", alias: "a", version: "1" }, "alias.set told@a"],
    ["DELETE", `${models}/alias`, { name: "told", alias: "a" }, "alias.delete told@a"],
    [
      "POST",
      `${versions}/transition-stage`,
      { name: "told", version: "1", stage: "Archived" },
      "version.stage told/1",
    ],
    ["PATCH", `${models}/update`, { name: "told", description: "d" }, "model.patch told"],
    ["DELETE", `${versions}/delete`, { name: "told", version: "1" }, "version.delete told/1"],
    ["POST", `${models}/rename`, { name: "told", new_name: "tell" }, "model.rename told"],
    ["DELETE", `${models}/delete`, { name: "tell" }, "model.delete tell"],
  ];
  for (const [method, path, fields, event] of steps) {
    const before = await last();
    expect((await mlflow(method, path, fields as Record<string, unknown>)).status).toBe(200);
    expect(await since(before)).toEqual([event]);
    if (!/(-tag|alias)$/.test(path)) continue;
    await mlflow(method, path, fields as Record<string, unknown>);
    expect(await since(before)).toHaveLength(1);
  }
});

test("deleting a version takes its aliases along, deleting a model its versions", async () => {
  await create("gone");
  await version("gone");
  await version("gone");
  for (const [alias, number] of [
    ["a", "1"],
    ["b", "1"],
    ["c", "2"],
  ])
    await mlflow("POST", `${models}/alias`, { name: "gone", alias, version: number });
  await mlflow("DELETE", `${versions}/delete`, { name: "gone", version: "1" });
  const { json } = await mlflow("GET", `${models}/get`, { name: "gone" });
  expect(json.registered_model.aliases).toEqual([{ alias: "c", version: "2" }]);
  await mlflow("DELETE", `${models}/delete`, { name: "gone" });
  await create("gone");
  expect((await mlflow("GET", `${versions}/search`, { filter: "name='gone'" })).json).toEqual({});
  expect((await version("gone")).json.model_version.version).toBe("1");
});

test("a file of a version is sent from where its files are, and from nowhere else", async () => {
  const run = await newRun("0");
  await ask("PUT", `/runs/${run.id}/files/model/weights.txt`, "1 2 3", { "content-length": "5" });
  await create("files");
  await version("files", `${run.files}/model`, { run_id: run.id });
  await version("files", "s3://bucket/model");
  const get = async (path: string, number = "1") => {
    const url = new URL("http://127.0.0.1/model-versions/get-artifact");
    for (const [key, value] of Object.entries({ name: "files", version: number, path }))
      url.searchParams.set(key, value);
    const { exports } = await import("cloudflare:workers");
    const response = await exports.default.fetch(url);
    return [response.status, await response.text()];
  };
  expect(await get("weights.txt")).toEqual([200, "1 2 3"]);
  expect(await get("other.txt")).toMatchObject([404, expect.anything()]);
  for (const path of ["../x", "%2e%2e/x", "/etc/passwd", "..%252fx", ""])
    expect([path, (await get(path))[0]]).toEqual([path, 400]);
  expect(await get("weights.txt", "2")).toMatchObject([501, expect.anything()]);
});

test("our own API shows models with their versions, page by page", async () => {
  await create("native", { description: "What it is", tags: [{ key: "k", value: "v" }] });
  for (let i = 0; i < 3; i++) await version("native", `s3://bucket/${i}`);
  await mlflow("POST", `${models}/alias`, { name: "native", alias: "best", version: "2" });
  const { json } = await ask("GET", "/models/native?limit=2");
  expect(json).toMatchObject({
    name: "native",
    note: "What it is",
    tags: { k: "v" },
    aliases: { best: 2 },
    next: 2,
  });
  expect(json.versions.map((v: any) => [v.number, v.source, v.aliases, v.run])).toEqual([
    [3, "s3://bucket/2", [], null],
    [2, "s3://bucket/1", ["best"], null],
  ]);
  const rest = await ask("GET", `/models/native?limit=2&before=${json.next}`);
  expect([rest.json.versions.length, rest.json.next]).toEqual([1, null]);
  const all: string[] = [];
  for (let after: string | null = ""; after !== null;) {
    const page = await ask("GET", `/models?limit=10&after=${encodeURIComponent(after)}`);
    all.push(...page.json.models.map((m: any) => m.name));
    after = page.json.next;
  }
  expect(all).toContain("native");
  expect(all).toEqual(all.toSorted());
  expect((await ask("GET", "/models/nowhere")).json).toEqual({
    error_code: "RESOURCE_DOES_NOT_EXIST",
    message: "model not found: nowhere",
  });
  expect((await ask("GET", "/models?limit=x")).status).toBe(400);
  expect((await ask("GET", "/models?nonsense=1")).status).toBe(400);
});
