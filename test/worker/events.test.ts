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

test("a change of name, note, tags or params writes one event; one that changes nothing writes none", async () => {
  const run = await startRun();
  const before = await last();
  for (const body of [
    { name: "n" },
    { note: "why" },
    { tags: { a: "1", b: null } },
    { params: { lr: "NaN", deep: { x: -1 } } },
  ]) {
    const first = await ask("PATCH", `/runs/${run}`, body);
    expect((await ask("PATCH", `/runs/${run}`, body)).text).toBe(first.text);
  }
  for (const body of [{}, { name: "n" }, { tags: { b: null } }])
    await ask("PATCH", `/runs/${run}`, body);
  expect(await since(before)).toEqual(Array.from({ length: 4 }, () => `run.patch ${run}`));
});

test("an experiment's changes are logged once, and so is one that a run creates by naming it", async () => {
  const before = await last();
  const body = { id: id.replace("0001", "00ee"), name: "watched" };
  for (let again = 0; again < 2; again++) {
    await ask("POST", "/experiments", body);
    await ask("PATCH", "/experiments/watched", { conclusion: "so it is" });
  }
  await ask("POST", "/runs", { experiment: "unheard" });
  await ask("POST", "/runs", { experiment: "unheard" });
  const found = (await since(before)).map((event) => event.split(" ")[0]);
  expect(found).toEqual([
    "experiment.create",
    "experiment.patch",
    "experiment.create",
    "run.create",
    "run.create",
  ]);
});

test("the same file stored again, a heartbeat, and reading write no event; a purge writes one", async () => {
  const run = await startRun();
  await ask("PUT", `/runs/${run}/files/f`, "x");
  const before = await last();
  await ask("PUT", `/runs/${run}/files/f`, "x");
  await ask("PUT", `/runs/${run}/files/f`, "y", { "x-content-sha256": "0".repeat(64) });
  await ask("DELETE", `/runs/${run}/files/none`);
  await ask("POST", `/runs/${run}/heartbeat`);
  for (const path of [
    "/runs.json",
    `/points.json?run=${run}`,
    `/runs/${run}/files/f`,
    "/experiments",
  ])
    await ask("GET", path);
  expect(await since(before)).toEqual([]);
  await ask("DELETE", `/runs/${run}`);
  await ask("POST", `/runs/${run}/purge`);
  expect((await since(before)).map((event) => event.split(" ")[0])).toEqual([
    "run.delete",
    "run.purge",
  ]);
});

test("twenty equal requests at once write one event", async () => {
  const before = await last();
  const body = { id: id.replace("0001", "0fff"), experiment: "audited" };
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask("POST", "/runs", body)));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
  await Promise.all(
    Array.from({ length: 20 }, () => ask("POST", `/runs/${body.id}/finish`, { state: "killed" })),
  );
  expect(await since(before)).toEqual([`run.create ${body.id}`, `run.finish ${body.id}`]);
});
