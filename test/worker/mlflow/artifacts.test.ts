import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { collectUploads } from "../../../worker/db/uploads.ts";
import worker from "../../../worker/index.ts";
import { ask, freshStores } from "../worker.ts";
import { getRun, mlflow, startRun } from "./door.ts";

freshStores();

const store = "/2.0/mlflow-artifacts/artifacts";
const put = (path: string, content: string | Uint8Array = "x") =>
  mlflow("PUT", `${store}/${path}`, content, { "content-type": "application/octet-stream" });
const get = (path: string, headers = {}) => mlflow("GET", `${store}/${path}`, undefined, headers);

/** Starts a run and returns it with the path of its files. */
async function startWithFiles() {
  const run = await startRun();
  return { run, root: `0/${run}/artifacts` };
}

test("what is stored is a file of the run, and is answered as it was", async () => {
  const { run, root } = await startWithFiles();
  const stored = await put(`${root}/a%20dir/na%C3%AFve.txt`, "héllo");
  expect([stored.status, stored.text, stored.headers.get("content-type")]).toEqual([200, "", null]);
  expect((await ask("GET", `/runs/${run}/files`)).json.files).toMatchObject([
    { path: "a dir/naïve.txt", size: 6 },
  ]);
  const found = await get(`${root}/a%20dir/na%C3%AFve.txt`);
  expect(found.text).toBe("héllo");
  expect(Object.fromEntries(found.headers)).toMatchObject({
    "content-type": "text/plain",
    "content-disposition": `attachment; filename="naive.txt"; filename*=UTF-8''na%C3%AFve.txt`,
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
  });
  expect(await get(`${root}/a%20dir/na%C3%AFve.txt`, { range: "bytes=0-0" })).toMatchObject({
    status: 206,
    text: "h",
  });
  expect((await mlflow("GET", `${store}?path=${root}/a%20dir`)).json).toEqual({
    files: [{ path: "naïve.txt", is_dir: false, file_size: 6 }],
  });
  const listed = await mlflow("GET", `/2.0/mlflow/artifacts/list?run_id=${run}&path=a%20dir`);
  expect(listed.json).toEqual({
    root_uri: `mlflow-artifacts:/0/${run}/artifacts`,
    files: [{ path: "a dir/naïve.txt", is_dir: false, file_size: 6 }],
  });
});

test.each([
  ["page.html", "text/html"],
  ["v.svg", "image/svg+xml"],
  ["MLmodel", "text/plain"],
  ["x.tar.gz", "application/x-tar"],
  ["constructor", "application/octet-stream"],
])("%s is %s whatever its sender or reader says, and a download", async (name, type) => {
  const { root } = await startWithFiles();
  await mlflow("PUT", `${store}/${root}/${name}`, "x", { "content-type": "text/html" });
  const { headers } = await get(`${root}/${name}`, { accept: "text/html" });
  expect([headers.get("content-type"), headers.get("content-disposition")]).toEqual([
    type,
    `attachment; filename="${name}"`,
  ]);
});

const leadingElsewhere = [
  "..%2fx",
  "..%2F..%2Fx",
  "a%2f..%2f..%2fx",
  "%252e%252e%252fx",
  "%25252e%25252e%25252fx",
  "a/..%5cx",
  "%5c..%5cx",
  "%2fetc%2fpasswd",
  "C:/x",
  "c%3a%5cx",
  "file:%2f%2f%2fetc",
  "..%EF%BC%8Fx",
  "..%E2%88%95x",
  "a%00b",
];
describe.each(leadingElsewhere)("the path %s", (path) => {
  test("is refused, whatever is asked of it", async () => {
    const { run } = await startWithFiles();
    const body = {
      path: "/x/f.bin",
      upload_id: "u",
      num_parts: 1,
      parts: [{ part_number: 1, etag: "e" }],
    };
    const decoded = decodeURIComponent(path);
    for (const answer of [
      get(path),
      put(path),
      mlflow("DELETE", `${store}/${path}`),
      mlflow("GET", `/2.0/mlflow-artifacts/presigned/${path}`),
      mlflow("GET", `${store}?path=${path}`),
      mlflow("GET", `/2.0/mlflow/artifacts/list?run_id=${run}&path=${path}`),
      mlflow("POST", `/2.0/mlflow/upload-artifact?run_uuid=${run}&path=${path}`, "x"),
      ...["create", "complete", "abort"].map((step) =>
        mlflow("POST", `/2.0/mlflow-artifacts/mpu/${step}/${path}`, body),
      ),
      mlflow("POST", "/2.0/mlflow/artifacts/presigned-upload-url", { run_id: run, path: decoded }),
    ])
      expect([(await answer).status, (await answer).json.error_code]).toEqual([
        400,
        "INVALID_PARAMETER_VALUE",
      ]);
    const page = await worker.fetch(
      new Request(`http://127.0.0.1/get-artifact?run_uuid=${run}&path=${path}`),
      env,
      createExecutionContext(),
    );
    expect(page.status).toBe(400);
  });
});

test.each(["%0a", "x%0dy", "a//b", ".%2fx", "x%2f.", "x".repeat(1001), "trailing/"])(
  "no file is stored as %j",
  async (path) => {
    const { root } = await startWithFiles();
    expect((await put(`${root}/${path}`)).status).toBe(400);
  },
);

test("another run's prefix, or a made-up one, does not reach a run's files", async () => {
  const { run, root } = await startWithFiles();
  await put(`${root}/a.txt`, "mine");
  for (const path of [`1/${run}/artifacts/a.txt`, `x/0/${run}/artifacts/a.txt`, `0/${run}/a.txt`]) {
    expect((await get(path)).status).toBe(404);
    await put(path, "other");
    expect((await get(path)).text).toBe("other");
  }
  expect((await get(`${root}/a.txt`)).text).toBe("mine");
  expect((await ask("GET", `/runs/${run}/files`)).json.files).toHaveLength(1);
});

test("a folder is deleted with all in it, and nothing beside it", async () => {
  const { run, root } = await startWithFiles();
  for (const name of ["a/1", "a/b/2", "a.txt", "ab/3", "a0"]) await put(`${root}/${name}`);
  expect((await mlflow("DELETE", `${store}/${root}/a`)).json).toEqual({});
  const paths = async () =>
    (await ask("GET", `/runs/${run}/files`)).json.files.map(({ path }: any) => path);
  expect(await paths()).toEqual(["a.txt", "a0", "ab/3"]);
  await mlflow("DELETE", `${store}/${root}`);
  expect(await paths()).toEqual([]);
  expect((await mlflow("DELETE", `${store}/${root}/none`)).json).toEqual({});
});

test("a deleted run takes files still", async () => {
  const { run, root } = await startWithFiles();
  await mlflow("POST", "/2.0/mlflow/runs/delete", { run_id: run });
  expect((await put(`${root}/late.txt`, "late")).status).toBe(200);
  expect((await get(`${root}/late.txt`)).text).toBe("late");
});

test("files of an experiment that has a place of its own are not here", async () => {
  const { experiment_id } = (
    await mlflow("POST", "/2.0/mlflow/experiments/create", {
      name: "elsewhere",
      artifact_location: "s3://bucket/x/",
    })
  ).json;
  const run = await startRun({ experiment_id });
  expect((await getRun(run)).info.artifact_uri).toBe(`s3://bucket/x/${run}/artifacts`);
  expect((await mlflow("GET", `/2.0/mlflow/artifacts/list?run_id=${run}`)).status).toBe(501);
});

test("pages send files of 10 MB at most", async () => {
  const { run, root } = await startWithFiles();
  const send = (query: string, body?: string | Uint8Array) =>
    mlflow("POST", `/2.0/mlflow/upload-artifact?${query}`, body);
  expect((await send(`run_uuid=${run}&path=d/x.json`, "{}")).status).toBe(200);
  expect((await get(`${root}/d/x.json`)).text).toBe("{}");
  for (const [query, body] of [
    ["path=x", "x"],
    [`run_uuid=${run}`, "x"],
    [`run_uuid=${run}&path=x`, ""],
    [`run_uuid=${run}&path=x`, new Uint8Array(10 * 1024 * 1024 + 1)],
  ] as const)
    expect((await send(query, body)).status).toBe(400);
  expect((await send(`run_uuid=${"0".repeat(32)}&path=x`, "x")).status).toBe(404);
});

describe("a file in parts", () => {
  const part = 5 * 1024 * 1024;
  const content = new Uint8Array(part * 2 + 17).map((_, i) => i * 31 + (i >> 12));
  const mpu = (step: string, folder: string, body: object) =>
    mlflow("POST", `/2.0/mlflow-artifacts/mpu/${step}/${folder}`, {
      path: "C:\\ana\\big.bin",
      ...body,
    });

  async function begin(folder: string, num_parts = 3) {
    const { json } = await mpu("create", folder, { num_parts });
    const send = async (i: number, bytes = content.subarray(i * part, (i + 1) * part)) => {
      const { credentials } = json as { credentials: { url: string; part_number: number }[] };
      const { url, part_number } = credentials[i]!;
      const { status, headers } = await mlflow("PUT", new URL(url).pathname.slice(4), bytes);
      return { status, part_number, etag: headers.get("etag")!, url };
    };
    return { upload_id: json.upload_id as string, send };
  }

  test("is the file, once its parts are put together in whatever order they came", async () => {
    const { run, root } = await startWithFiles();
    const { upload_id, send } = await begin(`${root}/model`);
    const parts = (await Promise.all([2, 0, 1].map((i) => send(i)))).toSorted(
      (a, b) => a.part_number - b.part_number,
    );
    expect((await mpu("complete", `${root}/model`, { upload_id, parts })).json).toEqual({});
    expect((await mpu("complete", `${root}/model`, { upload_id, parts })).json).toEqual({});
    const { bytes } = await get(`${root}/model/big.bin`);
    expect(Buffer.compare(bytes, content)).toBe(0);
    const sha256 = Buffer.from(await crypto.subtle.digest("SHA-256", content)).toString("hex");
    expect((await ask("GET", `/runs/${run}/files`)).json.files).toMatchObject([
      { path: "model/big.bin", size: content.length, sha256 },
    ]);
    await put(`${root}/copy.bin`, content);
    const { results } = await env.DB.prepare("SELECT count(*) AS n FROM blobs WHERE sha256 = ?")
      .bind(sha256)
      .all();
    expect(results).toEqual([{ n: 1 }]);
  });

  test("is nothing when it is given up, or when its parts are not right", async () => {
    const { run, root } = await startWithFiles();
    const { upload_id, send } = await begin(root, 2);
    const first = await send(0);
    const made = { ...first, etag: "made-up" };
    expect((await mpu("complete", root, { upload_id, parts: [made] })).json.error_code).toBe(
      "INVALID_PARAMETER_VALUE",
    );
    expect(
      (await mpu("complete", `${root}/other`, { upload_id, parts: [first] })).json.message,
    ).toMatch(/of another file/);
    expect((await mpu("abort", `${root}/other`, { upload_id })).status).toBe(400);
    expect((await mpu("abort", root, { upload_id })).json).toEqual({});
    expect((await mpu("abort", root, { upload_id })).json).toEqual({});
    expect((await send(1)).status).toBe(404);
    const small = await begin(root, 2);
    const parts = [
      await small.send(0, content.subarray(0, 9)),
      await small.send(1, content.subarray(9, 20)),
    ];
    expect((await mpu("complete", root, { upload_id: small.upload_id, parts })).status).toBe(400);
    expect((await ask("GET", `/runs/${run}/files`)).json.files).toEqual([]);
    await collectUploads(env, { grace: -1000 });
    expect(
      await env.DB.prepare("SELECT count(*) AS n FROM uploads WHERE sha256 IS NULL").first("n"),
    ).toBe(0);
  });

  test.each([0, 10_001, "x"])("cannot have %s parts", async (num_parts) => {
    expect((await mpu("create", "0/x", { num_parts })).status).toBe(400);
  });
});

describe("deployed, a link to a part or a file", () => {
  const { LOOPBACK: _, ...bindings } = env;
  const deployed = { ...bindings, OWNER_TOKEN: "secret" };
  const send = (url: string, method: string, body?: string) =>
    worker.fetch(
      new Request(url, { method, ...(body ? { body } : {}) }),
      deployed,
      createExecutionContext(),
    );

  test("lets its bearer do just what it is for", async () => {
    const { root } = await startWithFiles();
    await put(`${root}/a.txt`, "secret content");
    const authorization = { authorization: "Bearer secret", "content-type": "application/json" };
    const created = await worker.fetch(
      new Request(`https://assay.example/api/2.0/mlflow-artifacts/mpu/create/${root}`, {
        method: "POST",
        headers: authorization,
        body: JSON.stringify({ path: "big.bin", num_parts: 2 }),
      }),
      deployed,
      createExecutionContext(),
    );
    const { credentials } = await created.json<any>();
    const [first, second] = credentials.map(({ url }: { url: string }) => url);
    expect(first).toMatch(
      /^https:\/\/assay\.example\/api\/2\.0\/mlflow-artifacts\/mpu\/part\/[0-9a-f]{32}\/1\?until=\d+&signature=[0-9a-f]{64}$/,
    );
    expect((await send(first, "PUT", "x")).status).toBe(200);
    expect((await send(first, "GET")).status).toBe(401);
    expect((await send(first.replace("/1?", "/2?"), "PUT", "x")).status).toBe(401);
    expect((await send(second.replace(/until=\d+/, "until=9999999999"), "PUT", "x")).status).toBe(
      401,
    );
    expect((await send(first.replace(/\?.*/, ""), "PUT", "x")).status).toBe(401);
    const presigned = await worker.fetch(
      new Request(`https://assay.example/api/2.0/mlflow-artifacts/presigned/${root}/a.txt`, {
        headers: authorization,
      }),
      deployed,
      createExecutionContext(),
    );
    const { url, file_size } = await presigned.json<any>();
    expect([await (await send(url, "GET")).text(), file_size]).toEqual(["secret content", 14]);
    expect((await send(url, "DELETE")).status).toBe(401);
    expect((await send(url.replace("a.txt", "b.txt"), "GET")).status).toBe(401);
  });

  test("a file too large for one request is refused with the variables to set", async () => {
    const { root } = await startWithFiles();
    const request = new Request(`https://assay.example/api${store}/${root}/big.bin`, {
      method: "PUT",
      headers: { authorization: "Bearer secret", "content-length": "150000000" },
      body: "x",
    });
    const response = await worker.fetch(request, deployed, createExecutionContext());
    expect([response.status, await response.json()]).toEqual([
      413,
      {
        error_code: "INVALID_PARAMETER_VALUE",
        message: expect.stringMatching(
          /MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true and MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=50000000/,
        ),
      },
    ]);
  });
});
