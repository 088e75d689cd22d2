import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { collectFiles } from "../../worker/db/files.ts";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

const put = (run: string, path: string, body: string) =>
  ask("PUT", `/runs/${run}/files/${path}`, body, { "content-length": String(body.length) });
const objects = async () => (await env.FILES.list()).objects.length;

test("the same content is stored once, and stays while any file has it", async () => {
  const [a, b] = [await startRun(), await startRun()];
  await put(a, "one.txt", "same");
  await put(b, "two.txt", "same");
  await put(b, "three.txt", "other");
  expect(await objects()).toBe(2);
  await ask("DELETE", `/runs/${a}/files/one.txt`);
  expect(await collectFiles(env, { grace: -1000 })).toBe(0);
  expect((await ask("GET", `/runs/${b}/files/two.txt`)).text).toBe("same");
});

test("content that no file has goes after its time of grace, and so does an upload that was never entered", async () => {
  const run = await startRun();
  await put(run, "gone.txt", "soon gone");
  await ask("DELETE", `/runs/${run}`);
  await ask("POST", `/runs/${run}/purge`);
  await env.FILES.put("files/default/orphan", "cut off");
  const before = await objects();
  expect(await collectFiles(env)).toBe(0); // within the day of grace
  expect(await collectFiles(env, { grace: -1000 })).toBe(2);
  expect(await objects()).toBe(before - 2);
});

test("a purged run is gone with its points and lines; one that is not deleted cannot be purged", async () => {
  const run = await startRun();
  await ask("POST", `/runs/${run}/points`, [{ key: "a", step: 0, value: 1 }]);
  expect(await ask("POST", `/runs/${run}/purge`)).toMatchObject({
    status: 409,
    json: { message: `run is not deleted: ${run}` },
  });
  await ask("DELETE", `/runs/${run}`);
  expect((await ask("POST", `/runs/${run}/purge`)).status).toBe(200);
  expect((await ask("GET", `/runs/${run}`)).status).toBe(404);
  const { results } = await env.DB.prepare(
    "SELECT count(*) AS n FROM tail WHERE run NOT IN (SELECT no FROM runs)",
  ).all<{ n: number }>();
  expect(results[0]!.n).toBe(0);
});
