import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { selectEvents } from "../../worker/db/events.ts";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

const id = "0192f0c1aaaa7bbb8cccddddeeee0001";

/** What was logged since event number `after`. */
const since = async (after: number) =>
  (await selectEvents(env.DB, { after })).map(({ what, subject }) => `${what} ${subject}`);
const last = async () => (await selectEvents(env.DB)).at(-1)?.no ?? 0;

test("every change writes one event, and asked again it writes none", async () => {
  await ask("POST", "/experiments", { id: id.replace("0001", "000e"), name: "audited" });
  const changes: [string, string, string, unknown?][] = [
    ["run.create", "POST", "/runs", { id, experiment: "audited" }],
    ["run.finish", "POST", `/runs/${id}/finish`, { state: "failed", error: "x" }],
    ["run.resume", "POST", `/runs/${id}/resume`],
    ["run.delete", "DELETE", `/runs/${id}`],
    ["run.restore", "POST", `/runs/${id}/restore`],
    ["experiment.archive", "DELETE", "/experiments/audited"],
    ["experiment.restore", "POST", "/experiments/audited/restore"],
  ];
  for (const [what, method, path, body] of changes) {
    const before = await last();
    expect((await ask(method, path, body)).status).toBeLessThan(300);
    expect(await since(before)).toEqual([
      expect.stringMatching(new RegExp(`^${what} [0-9a-f]{32}$`)),
    ]);
    await ask(method, path, body);
    expect(await since(before)).toHaveLength(1);
  }
});

test("files are logged by run and path, with the content's hash; points and lines are not logged", async () => {
  const run = await startRun();
  const before = await last();
  await ask("PUT", `/runs/${run}/files/a/b.txt`, "hello", { "content-length": "5" });
  await ask("POST", `/runs/${run}/points`, [{ key: "a", step: 0, value: 1 }]);
  await ask("POST", `/runs/${run}/console`, ["line"]);
  await ask("DELETE", `/runs/${run}/files/a/b.txt`);
  const events = await selectEvents(env.DB, { after: before });
  expect(events.map(({ what, subject, who }) => [what, subject, who])).toEqual([
    ["file.put", `${run}/a/b.txt`, "owner"],
    ["file.delete", `${run}/a/b.txt`, "owner"],
  ]);
  expect(events[0]!.digest).toBe(
    "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
  );
});

test("what is refused is not logged", async () => {
  const before = await last();
  for (const [method, path, body] of [
    ["POST", "/runs", { id, experiment: "other" }],
    ["POST", "/runs", { experiment: 1 }],
    ["POST", "/experiments", { name: "audited" }],
    ["PATCH", `/runs/${"0".repeat(32)}`, { name: "x" }],
    ["POST", `/runs/${id}/purge`, undefined],
  ] as const)
    expect((await ask(method, path, body)).status).toBeGreaterThanOrEqual(400);
  expect(await since(before)).toEqual([]);
});
