import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import worker from "../../worker/index.ts";
import { ask, freshStores, refused, startRun } from "./worker.ts";

freshStores();

const put = (run: string, path: string, body: string, type = "text/plain") =>
  ask("PUT", `/runs/${run}/files/${path}`, body, {
    "content-length": String(body.length),
    "content-type": type,
  });

test("a file comes back whole, in parts, and not at all to who has it", async () => {
  const run = await startRun();
  const { json } = await put(run, "a%20b/ü.txt", "0123456789");
  expect(json).toMatchObject({ path: "a b/ü.txt", size: 10, type: "text/plain" });
  const get = (headers: Record<string, string> = {}, method = "GET") =>
    ask(method, `/runs/${run}/files/a%20b/%C3%BC.txt`, undefined, headers);
  const whole = await get();
  expect([whole.status, whole.text, whole.headers.get("content-length")]).toEqual([
    200,
    "0123456789",
    "10",
  ]);
  for (const [range, text, said] of [
    ["bytes=2-4", "234", "bytes 2-4/10"],
    ["bytes=7-", "789", "bytes 7-9/10"],
    ["bytes=-3", "789", "bytes 7-9/10"],
    ["bytes=5-99", "56789", "bytes 5-9/10"],
  ] as const) {
    const part = await get({ range });
    expect([part.status, part.text, part.headers.get("content-range")]).toEqual([206, text, said]);
  }
  expect((await get({ range: "bytes=10-" })).status).toBe(416);
  expect((await get({ "if-none-match": whole.headers.get("etag")! })).status).toBe(304);
  expect([(await get({}, "HEAD")).status, (await get({}, "HEAD")).text]).toEqual([200, ""]);
});

test("a path stored again has the new content, and an empty file is a file", async () => {
  const run = await startRun();
  await put(run, "a.txt", "old");
  await put(run, "a.txt", "newer");
  expect((await ask("GET", `/runs/${run}/files/a.txt`)).text).toBe("newer");
  await put(run, "empty", "");
  const empty = await ask("GET", `/runs/${run}/files/empty`);
  expect([empty.status, empty.text]).toEqual([200, ""]);
});

test("the tree has folders first, with the sizes of what is in them", async () => {
  const run = await startRun();
  for (const [path, body] of [
    ["z.txt", "1"],
    ["plots/b.csv", "22"],
    ["plots/deep/a.csv", "333"],
  ] as const)
    await put(run, path, body);
  const { files, tree } = (await ask("GET", `/runs/${run}/files`)).json;
  expect(files.map(({ path }: { path: string }) => path)).toEqual([
    "plots/b.csv",
    "plots/deep/a.csv",
    "z.txt",
  ]);
  expect(tree).toMatchObject({
    size: 6,
    children: [
      {
        name: "plots",
        size: 5,
        children: [
          { name: "deep", size: 3 },
          { name: "b.csv", size: 2 },
        ],
      },
      { name: "z.txt", size: 1 },
    ],
  });
});

test("a stranger's page or picture is never one that runs on our origin", async () => {
  const run = await startRun();
  for (const type of [
    "text/html",
    "image/svg+xml",
    "application/xhtml+xml",
    "text/javascript",
    "application/pdf",
    "text/html;charset=utf-7",
    "nonsense",
  ]) {
    await put(run, "page", `<script>alert(1)</script>${type}`, type);
    const { headers } = await ask("GET", `/runs/${run}/files/page`);
    expect(headers.get("content-type")).toBe("application/octet-stream");
    expect(headers.get("content-disposition")).toMatch(/^attachment/);
    expect([headers.get("content-security-policy"), headers.get("x-content-type-options")]).toEqual(
      ["default-src 'none'; sandbox", "nosniff"],
    );
  }
});

const bytes = async (run: string, path: string, headers: Record<string, string> = {}) =>
  ask("GET", `/runs/${run}/files/${path}`, undefined, headers);
const listed = async (run: string) =>
  (await ask("GET", `/runs/${run}/files`)).json.files.map(({ path }: { path: string }) => path);

test.for([
  ["", ""],
  ["/a", "/a"],
  ["a/", "a/"],
  ["a//b", "a//b"],
  ["..%2fb", "../b"],
  ["a%2f..%2fb", "a/../b"],
  ["a%2f.%2fb", "a/./b"],
  ["a%2F%2E%2E", "a/.."],
  ["..%5cb", "..\\b"],
  ["a%5cb", "a\\b"],
  ["a%00b", "a\\u0000b"],
  ["a%1bb", "a\\u001bb"],
  ["a%7fb", "a\\u007fb"],
  ["%ff", "%ff"],
  ["a%c3", "a%c3"],
  ["%ed%a0%80", "%ed%a0%80"],
  ["100%", "100%"],
  ["%zz", "%zz"],
  ["x".repeat(1001), `${"x".repeat(80)}… (1001 characters)`],
  ["%C3%BC".repeat(501), `${"ü".repeat(80)}… (501 characters)`],
] as const)("the path %s is refused to PUT, GET and DELETE", async ([path, named]) => {
  const run = await startRun();
  for (const method of ["PUT", "GET", "DELETE"])
    expect(
      await ask(method, `/runs/${run}/files/${path}`, method === "PUT" ? "x" : undefined),
    ).toMatchObject(
      path === "" && method === "GET" ? { status: 400 } : refused(`invalid file path: ${named}`),
    );
  expect(await listed(run)).toEqual([]);
});

test.for(["%2e%2e/b", "a/%2E%2e/%2e%2e/b", "a%0ab"])(
  "the path %s, which a URL itself resolves, stores nothing",
  async (path) => {
    const run = await startRun();
    const { status, json } = await ask("PUT", `/runs/${run}/files/${path}`, "x");
    expect([400, 404]).toContain(status);
    expect(json.message).toMatch(/^(no such route|invalid file path): /);
    expect(await listed(run)).toEqual([]);
  },
);

test.for([
  "100%25",
  "%252e%252e",
  "%252F",
  "...",
  ".hidden",
  "a b",
  "ü/😀",
  "q%22'",
  "a%3Fb%23c",
  "files/files/x",
  "__proto__",
  "constructor/toString",
  "a;b&c=d+e",
])("the path %s is an ordinary one", async (path) => {
  const run = await startRun();
  const { json } = await put(run, path, "content");
  expect(json.path).toBe(decodeURIComponent(path));
  expect((await bytes(run, path)).text).toBe("content");
  expect(await listed(run)).toEqual([decodeURIComponent(path)]);
  expect((await ask("DELETE", `/runs/${run}/files/${path}`)).json).toEqual({});
  expect(await listed(run)).toEqual([]);
});

const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const abc64 = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

test.for<[Record<string, string>, string | RegExp]>([
  [{ "x-content-sha256": "0".repeat(64) }, `wrong sha256: f has ${abc}, not ${"0".repeat(64)}`],
  [
    { "content-digest": `sha-256=:${"A".repeat(43)}=:` },
    `wrong sha256: f has ${abc}, not ${"0".repeat(64)}`,
  ],
  [{ "x-content-sha256": "abc" }, "invalid x-content-sha256: abc"],
  [{ "x-content-sha256": `${"0".repeat(63)}g` }, /^invalid x-content-sha256: /],
  [{ "content-digest": "sha-256=abc" }, /^invalid content-digest: sha-256=abc /],
  [{ "content-digest": "md5=:abc:" }, /^invalid content-digest: md5/],
])("with %j a file is refused, and what was there stays", async ([headers, message]) => {
  const run = await startRun();
  await put(run, "f", "old");
  const objects = async () => (await env.FILES.list()).objects.length;
  const before = await objects();
  expect(await ask("PUT", `/runs/${run}/files/f`, "abc", headers)).toMatchObject(refused(message));
  expect([(await bytes(run, "f")).text, await objects()]).toEqual(["old", before]);
});

test.for<Record<string, string>>([
  { "x-content-sha256": abc },
  { "x-content-sha256": abc.toUpperCase() },
  { "content-digest": `sha-256=:${abc64}:` },
  { "content-digest": `sha-512=:AA==:, sha-256=:${abc64}:` },
])("with the right hash, %j, a file is stored", async (headers) => {
  const run = await startRun();
  const first = await ask("PUT", `/runs/${run}/files/f`, "abc", headers);
  expect([first.status, first.json.sha256]).toEqual([201, abc]);
  expect((await ask("PUT", `/runs/${run}/files/f`, "abc", headers)).text).toBe(first.text);
});

test("a file without a length, too long, or of another length than it says is refused, and not stored", async () => {
  const run = await startRun();
  const send = async (headers: Record<string, string>) => {
    const request = new Request(`http://127.0.0.1/api/v1/runs/${run}/files/f`, {
      method: "PUT",
      body: "abc",
      headers,
    });
    const answer = await worker.fetch(request, env, createExecutionContext());
    return { status: answer.status, json: await answer.json() };
  };
  expect(await send({})).toEqual(refused("missing content-length", 411, "LENGTH_REQUIRED"));
  expect(await send({ "content-length": "100000001" })).toEqual(
    refused("file is too large: 100000001 bytes, limit 100000000", 413, "REQUEST_TOO_LARGE"),
  );
  for (const said of ["2", "5"])
    expect(await send({ "content-length": said })).toEqual(
      refused(`invalid content-length: ${said} (the body has 3 bytes)`),
    );
  expect(await listed(run)).toEqual([]);
});

test("a deleted run takes no files, one that ended does", async () => {
  const run = await startRun();
  await ask("POST", `/runs/${run}/finish`, { state: "finished" });
  expect((await put(run, "f", "x")).status).toBe(201);
  await ask("DELETE", `/runs/${run}`);
  expect(await put(run, "g", "x")).toMatchObject(
    refused(`run is deleted: ${run}`, 409, "INVALID_STATE"),
  );
  expect((await bytes(run, "f")).text).toBe("x");
  expect(await bytes(run, "g")).toMatchObject(
    refused("file not found: g", 404, "RESOURCE_DOES_NOT_EXIST"),
  );
  expect(await ask("DELETE", `/runs/${run}/files/g`)).toMatchObject({ status: 404 });
});

test.for([
  ["bytes=0-0", 206, "0"],
  ["bytes=9-9", 206, "9"],
  ["bytes=-1", 206, "9"],
  ["bytes=-99", 206, "0123456789"],
  ["bytes=0-", 206, "0123456789"],
  ["bytes=-0", 416, undefined],
  ["bytes=10-20", 416, undefined],
  ["bytes=99999999999999999999-", 416, undefined],
  ["bytes=0-1,3-4", 200, "0123456789"],
  ["lines=0-1", 200, "0123456789"],
  ["bytes=-", 200, "0123456789"],
] as const)("of ten bytes, Range %s answers %s", async ([range, status, text]) => {
  const run = await startRun();
  await put(run, "f", "0123456789");
  const answer = await bytes(run, "f", { range });
  expect([answer.status, text && answer.text]).toEqual([status, text]);
  if (status === 416) expect(answer.json.message).toBe(`invalid range: ${range} of 10 bytes`);
  else expect(answer.headers.get("content-length")).toBe(String(text.length));
});

test("a range of a file that changed meanwhile is answered with the whole", async () => {
  const run = await startRun();
  await put(run, "f", "old");
  const etag = (await bytes(run, "f")).headers.get("etag")!;
  await put(run, "f", "newer");
  const part = (tag: string) => bytes(run, "f", { range: "bytes=0-1", "if-range": tag });
  expect([
    (await part(etag)).text,
    (await bytes(run, "f", { "if-none-match": etag })).status,
  ]).toEqual(["newer", 200]);
  const now = (await bytes(run, "f")).headers.get("etag")!;
  expect([
    (await part(now)).text,
    (await bytes(run, "f", { "if-none-match": `"x", W/${now}` })).status,
  ]).toEqual(["ne", 304]);
});

test("an empty file has no range, and HEAD says everything of a file but its content", async () => {
  const run = await startRun();
  await put(run, "empty", "");
  await put(run, "f", "abc");
  expect((await bytes(run, "empty", { range: "bytes=0-" })).status).toBe(416);
  expect((await bytes(run, "empty")).headers.get("content-length")).toBe("0");
  const head = await ask("HEAD", `/runs/${run}/files/f`);
  expect([
    head.status,
    head.text,
    head.headers.get("etag"),
    head.headers.get("content-length"),
  ]).toEqual([200, "", `"${abc}"`, "3"]);
  expect((await ask("HEAD", `/runs/${run}/files/none`)).status).toBe(404);
});

test("files stored under one path at once leave one of them, whole", async () => {
  const run = await startRun();
  const bodies = Array.from({ length: 10 }, (_, i) => String(i).repeat(1000));
  await Promise.all(bodies.map((body) => put(run, "same", body)));
  expect(bodies).toContain((await bytes(run, "same")).text);
  expect(await listed(run)).toEqual(["same"]);
});

test.for([
  ["deleted", 409, []],
  ["purged", 404, undefined],
] as const)("a run %s while its file comes in takes nothing of it", async ([end, status, left]) => {
  const run = await startRun();
  const { readable, writable } = new FixedLengthStream(6);
  const answer = ask("PUT", `/runs/${run}/files/f`, readable);
  const writer = writable.getWriter();
  await writer.write(new TextEncoder().encode("abc"));
  await ask("DELETE", `/runs/${run}`);
  if (end === "purged") await ask("POST", `/runs/${run}/purge`);
  await writer.write(new TextEncoder().encode("def"));
  await writer.close();
  expect((await answer).status).toBe(status);
  expect((await ask("GET", `/runs/${run}/files`)).json.files).toEqual(left);
  const rows = await env.DB.prepare(
    "SELECT * FROM files WHERE run NOT IN (SELECT no FROM runs)",
  ).all();
  expect(rows.results).toEqual([]);
});
