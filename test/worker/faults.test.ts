import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { collectAnswers } from "../../worker/db/answers.ts";
import { compactDue, compactRun } from "../../worker/db/compact.ts";
import { collectFiles } from "../../worker/db/files.ts";
import { collectObjects } from "../../worker/db/objects.ts";
import type { Env } from "../../worker/env.ts";
import { pointsToIPC } from "../../wire/point-ipc.ts";
import { concatPoints, pointsFromJSON, type Points } from "../../wire/point.ts";
import { summarize } from "../../wire/summary.ts";
import { askOver, faulty, type When } from "./faulty.ts";
import { compact, expectedRows, numberOf, rowsFromIPC, rowsOf, send } from "./rows.ts";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

/** A run with points in two stretches and in the tail, of two writers, and what was acknowledged of it. */
interface World {
  run: string;
  sent: { writer: string; seq: number; points: Points }[];
}

const values = ["NaN", "Infinity", "-Infinity", 0, 1.5, -2];
const lot = (seed: number): Points =>
  pointsFromJSON(
    Array.from({ length: 9 }, (_, i) => ({
      key: ["loss", "val/acc"][(seed + i) % 2],
      step: (seed * 5 + i * 7) % 23,
      time: 1000 + seed,
      value: values[(seed + i) % values.length],
    })),
  );

async function makeWorld(): Promise<World> {
  const world: World = { run: await startRun(), sent: [] };
  for (let seed = 0; seed < 6; seed++) {
    const one = { writer: `w${seed % 2}`, seq: seed >> 1, points: lot(seed) };
    expect((await send(world.run, one.points, one.writer, one.seq)).status).toBe(200);
    world.sent.push(one);
    if (seed === 1 || seed === 3) await compact(world.run);
  }
  return world;
}

/** Expects that each acknowledged point is there once, that replays change nothing, and that no object is too many. */
async function expectWhole({ run, sent }: World): Promise<void> {
  for (const { writer, seq, points } of sent)
    expect((await send(run, points, writer, seq)).status).toBe(200);
  const lots = sent.map(({ points }) => points);
  const all = concatPoints(lots);
  expect(await rowsOf(`run=${run}`)).toEqual(expectedRows(lots));
  const { points, metrics } = (await ask("GET", `/runs/${run}`)).json;
  expect(points).toBe(all.step.length);
  for (const [key, { count, last, step, min, max, nan }] of summarize(all)) {
    const found = metrics[key];
    expect([
      found.count,
      Number(found.last),
      found.step,
      Number(found.min),
      Number(found.max),
      found.nan,
    ]).toEqual([count, last, step, min, max, nan]);
  }
  const counted = await env.DB.prepare(
    "SELECT runs.tail AS noted, (SELECT coalesce(sum(count), 0) FROM tail WHERE run = no) AS found FROM runs WHERE id = ?",
  )
    .bind(run)
    .first<{ noted: number; found: number }>();
  expect(counted!.noted).toBe(counted!.found);
  await expectNoOrphans();
}

/** After a collection the objects are those that rows refer to. */
async function expectNoOrphans(): Promise<void> {
  await collectObjects(env, { grace: -1000 });
  const kept = (await env.FILES.list({ prefix: "points/" })).objects.map(({ key }) => key);
  const { results } = await env.DB.prepare("SELECT object FROM segments").all<{ object: string }>();
  expect(kept.sort()).toEqual(results.map(({ object }) => object).sort());
}

/** What may be under way when a store fails. It may throw; what it must never do is lie. */
const operations: Record<string, (stores: Env, world: World) => Promise<unknown>> = {
  async "an append, sent again until it is acknowledged"(stores, { run, sent }) {
    const one = { writer: "w9", seq: 0, points: lot(9) };
    const path = `/runs/${run}/points?writer=w9&seq=0`;
    let status = 0;
    for (let tries = 0; status !== 200 && tries < 5; tries++)
      ({ status } = await askOver(stores, "POST", path, pointsToIPC(one.points)));
    expect(status).toBe(200);
    sent.push(one);
  },
  async "a compaction"(stores, { run }) {
    await compactRun(stores, await numberOf(run));
  },
  async "the end of a run, with all its merging"(stores, { run }) {
    await env.DB.prepare("UPDATE runs SET state = 'finished' WHERE id = ?").bind(run).run();
    try {
      await compactRun(stores, await numberOf(run));
    } finally {
      await env.DB.prepare("UPDATE runs SET state = 'running' WHERE id = ?").bind(run).run();
    }
  },
  async "two compactions at once"(stores, { run }) {
    const no = await numberOf(run);
    await Promise.allSettled([compactRun(stores, no), compactRun(env, no), compactRun(stores, no)]);
  },
  async "a read"(stores, { run, sent }) {
    const { status, bytes } = await askOver(stores, "GET", `/points.arrow?run=${run}`);
    if (status === 200 && bytes)
      expect(rowsFromIPC(bytes)).toEqual(expectedRows(sent.map(({ points }) => points)));
    else expect([200, 500, 503]).toContain(status);
  },
  async "a read of buckets"(stores, { run, sent }) {
    const { status, bytes } = await askOver(stores, "GET", `/points.csv?run=${run}&buckets=2`);
    if (status !== 200 || !bytes) return;
    const counts = new TextDecoder().decode(bytes).trimEnd().split("\r\n").slice(1);
    const total = counts.reduce((n, line) => n + Number(line.split(",")[4]), 0);
    expect(total).toBe(sent.reduce((n, { points }) => n + points.step.length, 0));
  },
  async "a read by range, which keeps a file"(stores, { run, sent }) {
    const rows = sent.reduce((n, { points }) => n + points.step.length, 0);
    for (let tries = 0; tries < 2; tries++) {
      const { status, bytes } = await askOver(stores, "GET", `/points.csv?run=${run}`, undefined, {
        range: "bytes=0-999999",
      });
      if (status === 206 && bytes)
        expect(new TextDecoder().decode(bytes).trimEnd().split("\r\n")).toHaveLength(rows + 1);
    }
  },
  async "the cron, compaction and all collections"(stores) {
    await compactDue(stores, { idle: -1000 });
    await collectFiles(stores, { grace: -1000 });
    await collectObjects(stores, { grace: -1000 });
    await collectAnswers(stores.FILES, { grace: -1000 });
  },
};

describe.for<When>(["before it is done", "after it was done"])("each call failing %s", (when) => {
  test.for(Object.keys(operations))("%s", { timeout: 60_000 }, async (name) => {
    let n = 0;
    for (; ; n++) {
      const world = await makeWorld();
      const { stores, fault } = faulty(n, when);
      const error: unknown = await operations[name]!(stores, world).catch(
        (thrown: unknown) => thrown,
      );
      if (error instanceof Error && !/Network connection lost/.test(error.message)) throw error;
      await expectWhole(world);
      if (!fault.has) break;
    }
    expect(n).toBeGreaterThan(0); // there were calls to fail
  });

  test("a purge, asked for again until it is done, leaves nothing behind", async () => {
    for (let n = 0; ; n++) {
      const { run } = await makeWorld();
      await ask("DELETE", `/runs/${run}`);
      const { stores, fault } = faulty(n, when);
      await askOver(stores, "POST", `/runs/${run}/purge`);
      expect([200, 404]).toContain((await ask("POST", `/runs/${run}/purge`)).status);
      for (const table of ["tail", "segments", "receipts", "more_metrics"]) {
        const left = await env.DB.prepare(
          `SELECT count(*) AS n FROM ${table} WHERE run NOT IN (SELECT no FROM runs)`,
        ).first();
        expect([table, left]).toEqual([table, { n: 0 }]);
      }
      await expectNoOrphans();
      if (!fault.has) break;
    }
  }, 30_000);
});
