import { expect, test } from "vitest";
import { ask, freshStores, startRun } from "./worker.ts";

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
