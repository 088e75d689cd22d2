import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { compactDue, planMerge, planReceipts } from "../../worker/db/compact.ts";
import { collectObjects } from "../../worker/db/objects.ts";

import { arrowType, pointsToIPC } from "../../wire/point-ipc.ts";
import { concatPoints, pointsFromJSON, type Points } from "../../wire/point.ts";
import { summarize } from "../../wire/summary.ts";
import { compact, expectedRows, numberOf, rowsOf, send } from "./rows.ts";
import { ask, freshStores, refused, startRun } from "./worker.ts";

freshStores();
afterEach(() => vi.restoreAllMocks());

const point = fc.record({
  key: fc.constantFrom("loss", "val/acc", "ü", "__proto__"),
  step: fc.oneof(fc.integer({ min: -3, max: 12 }), fc.double({ min: -5, max: 5, noNaN: true })),
  time: fc.integer({ min: 1000, max: 1004 }),
  value: fc.oneof(
    fc.constantFrom("NaN", "Infinity", "-Infinity", 0, -0),
    fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e100, max: 1e100 }),
  ),
});
const request = fc.array(point, { minLength: 1, maxLength: 8 }).map(pointsFromJSON);

test("whatever is appended, replayed, compacted and read in between: each point once, in order, under every cursor", async () => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("append" as const),
        writer: fc.nat(2),
        points: request,
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("replay" as const), which: fc.nat(20) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("compact" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("mark" as const) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
      const run = await startRun();
      const sent: { writer: string; seq: number; points: Points }[] = [];
      const marks: { cursor: string; count: number }[] = [{ cursor: "", count: 0 }];
      const next = [0, 0, 0];
      for (const step of steps) {
        if (step.do === "append") {
          const lot = { writer: `w${step.writer}`, seq: next[step.writer]!++, points: step.points };
          sent.push(lot);
          expect((await send(run, lot.points, lot.writer, lot.seq)).status).toBe(200);
        } else if (step.do === "replay" && sent.length) {
          const lot = sent[step.which % sent.length]!;
          expect((await send(run, lot.points, lot.writer, lot.seq)).status).toBe(200);
        } else if (step.do === "compact") await compact(run);
        else if (step.do === "mark") {
          const { headers } = await ask("GET", `/points.csv?run=${run}`);
          marks.push({ cursor: headers.get("x-assay-cursor")!, count: sent.length });
        }
      }
      const lots = sent.map(({ points }) => points);
      expect(await rowsOf(`run=${run}`)).toEqual(expectedRows(lots));
      for (const { cursor, count } of marks) {
        expect(await rowsOf(`run=${run}&since=${cursor}`)).toEqual(expectedRows(lots.slice(count)));
        if (cursor)
          expect(await rowsOf(`run=${run}&until=${cursor}`)).toEqual(
            expectedRows(lots.slice(0, count)),
          );
      }
      const all = concatPoints(lots);
      const { points, metrics } = (await ask("GET", `/runs/${run}`)).json;
      expect(points).toBe(all.step.length);
      for (const [key, summary] of summarize(all)) {
        const found = Object.getOwnPropertyDescriptor(metrics, key)!.value;
        for (const field of [
          "last",
          "step",
          "time",
          "min",
          "minStep",
          "max",
          "maxStep",
          "count",
          "nan",
        ] as const)
          expect([field, Number(found[field])]).toEqual([field, summary[field]]);
        if (Number.isFinite(summary.sum))
          expect(Math.abs(Number(found.sum) - summary.sum)).toBeLessThanOrEqual(
            1e-9 * all.value.filter(Number.isFinite).reduce((n, v) => n + Math.abs(v), 1e-300),
          );
      }
      const { tail } = (await env.DB.prepare("SELECT tail FROM runs WHERE id = ?")
        .bind(run)
        .first<{ tail: number }>())!;
      const counted = await env.DB.prepare(
        "SELECT coalesce(sum(count), 0) AS n FROM tail WHERE run = ?",
      )
        .bind(await numberOf(run))
        .first<{ n: number }>();
      expect(tail).toBe(counted!.n);
    }),
    { numRuns: 40 },
  );
});

test("steps, times, keys, prefixes and expressions choose the same points before and after compaction", async () => {
  const run = await startRun();
  const lots = [0, 1, 2].map((lot) =>
    pointsFromJSON(
      ["train/loss", "train/acc", "val/loss", "a.b"].flatMap((key) =>
        Array.from({ length: 50 }, (_, i) => ({
          key,
          step: lot * 40 + i,
          time: 1_795_432_000_000 + lot * 60_000 + i * 1000,
          value: i,
        })),
      ),
    ),
  );
  for (const [seq, lot] of lots.entries()) await send(run, lot, "w", seq);
  const queries = [
    "",
    "key=val/loss",
    "key=val/loss&key=a.b",
    "prefix=train/",
    "regex=loss$",
    "regex=^(a%2B)%2B$",
    "key=a.b&regex=acc",
    "from=45&to=60",
    "from=45.5&key=a.b",
    "timeTo=1795432030000",
    "timeFrom=2026-11-23T11:07:30Z&timeTo=2026-11-23T12:07:50%2B01:00",
    "prefix=none",
  ];
  const before = await Promise.all(queries.map((query) => rowsOf(`run=${run}&${query}`)));
  expect(before.map((rows) => rows.length)).toEqual([
    600, 150, 300, 300, 300, 0, 300, 84, 98, 124, 44, 0,
  ]);
  await compact(run);
  expect(await Promise.all(queries.map((query) => rowsOf(`run=${run}&${query}`)))).toEqual(before);
  for (const format of ["csv", "json"])
    expect(
      (await ask("GET", `/points.${format}?run=${run}&prefix=val`)).text.match(/val\/loss/g),
    ).toHaveLength(150);
});

test("a replay is told from another's points under the same number, also when its row is gone", async () => {
  const run = await startRun();
  const [one, other] = [1, 2].map((value) =>
    pointsFromJSON([{ key: "a", step: 0, time: 5, value }]),
  );
  await send(run, one!, "w", 7);
  await compact(run);
  expect((await send(run, one!, "w", 7)).status).toBe(200);
  expect(await send(run, other!, "w", 7)).toMatchObject(
    refused("seq was used for other content: 7 of writer w", 409, "RESOURCE_ALREADY_EXISTS"),
  );
  expect(await rowsOf(`run=${run}`)).toEqual(["a 0 5 1"]);
});

test("two compactions at once, and a reader among them: each point once, and no object too many", async () => {
  const run = await startRun();
  const lots = Array.from({ length: 12 }, (_, seq) =>
    pointsFromJSON(
      Array.from({ length: 40 }, (_, i) => ({
        key: `k${i % 3}`,
        step: seq * 40 + i,
        time: 5,
        value: i,
      })),
    ),
  );
  for (const [seq, lot] of lots.entries()) {
    await send(run, lot, `w${seq % 3}`, seq);
    if (seq % 4 !== 3) continue;
    const reads = await Promise.all([
      compact(run),
      rowsOf(`run=${run}`),
      compact(run),
      rowsOf(`run=${run}`),
      compact(run),
      rowsOf(`run=${run}`),
    ]);
    for (const rows of reads.filter((read) => read !== undefined))
      expect(rows).toEqual(expectedRows(lots.slice(0, seq + 1)));
  }
  const { results } = await env.DB.prepare("SELECT object, rows FROM segments WHERE run = ?")
    .bind(await numberOf(run))
    .all<{ object: string; rows: number }>();
  expect(results.reduce((n, { rows }) => n + rows, 0)).toBe(480);
  for (const { object } of results) expect(await env.FILES.head(object)).not.toBeNull();
});

test("a compaction that another overtakes, which took more, changes nothing and leaves no object", async () => {
  const run = await startRun();
  const lots = [0, 1, 2].map((step) => pointsFromJSON([{ key: "a", step, time: 5, value: step }]));
  // Nameless: neither receipts nor the name of the stretch would tell the two apart.
  const append = (lot: Points) =>
    ask("POST", `/runs/${run}/points`, pointsToIPC(lot), { "content-type": arrowType });
  await append(lots[0]!);
  await append(lots[1]!);
  const put = env.FILES.put.bind(env.FILES) as (...args: unknown[]) => Promise<R2Object>;
  vi.spyOn(env.FILES, "put").mockImplementationOnce(async (...args: unknown[]) => {
    await append(lots[2]!);
    await compact(run);
    return put(...args);
  });
  await compact(run);
  expect(await rowsOf(`run=${run}`)).toEqual(expectedRows(lots));
  expect(await collectObjects(env, { grace: -1000 })).toBe(0);
});

test("a compaction between a reader's look at the runs and its look at the points changes nothing", async () => {
  const run = await startRun();
  const lots = [0, 1, 2].map((step) => pointsFromJSON([{ key: "a", step, time: 5, value: step }]));
  await send(run, lots[0]!, "w", 0);
  await send(run, lots[1]!, "w", 1);
  const batch = env.DB.batch.bind(env.DB);
  let isFirst = true;
  vi.spyOn(env.DB, "batch").mockImplementation(async (statements) => {
    if (isFirst) {
      isFirst = false;
      await send(run, lots[2]!, "w", 2);
      await compact(run);
    }
    return batch(statements);
  });
  const { headers } = await ask("GET", `/points.arrow?run=${run}`);
  vi.restoreAllMocks();
  const cursor = headers.get("x-assay-cursor")!;
  expect([
    ...(await rowsOf(`run=${run}&until=${cursor}`)),
    ...(await rowsOf(`run=${run}&since=${cursor}`)),
  ]).toEqual(expectedRows(lots));
});

test("a run that has ended has one stretch, and its segments are all that is kept of it", async () => {
  const run = await startRun();
  const lots = Array.from({ length: 5 }, (_, seq) =>
    pointsFromJSON(["a", "b"].map((key) => ({ key, step: 5 - seq, time: seq, value: seq }))),
  );
  for (const [seq, lot] of lots.entries()) {
    await send(run, lot, "w", seq);
    await compact(run);
  }
  const count = async (table: string) =>
    (await env.DB.prepare(`SELECT count(*) AS n FROM ${table} WHERE run = ?`)
      .bind(await numberOf(run))
      .first<{ n: number }>())!.n;
  expect(await count("segments")).toBe(5);
  expect(await rowsOf(`run=${run}`)).toEqual(expectedRows(lots));
  await ask("POST", `/runs/${run}/finish`, { state: "finished" });
  await vi.waitFor(async () => expect(await count("segments")).toBe(1));
  expect([await count("tail"), await count("receipts")]).toEqual([0, 5]);
  expect(await rowsOf(`run=${run}`)).toEqual(expectedRows(lots));
  const objects = async () => (await env.FILES.list({ prefix: "points/" })).objects.length;
  const before = await objects();
  expect(await collectObjects(env)).toBe(0); // within the day of grace
  expect(await collectObjects(env, { grace: -1000 })).toBe(5);
  expect(await objects()).toBe(before - 5);
  expect(await rowsOf(`run=${run}`)).toEqual(expectedRows(lots));
});

test("what a server that died did not compact, the cron does; what has just begun it leaves", async () => {
  const [ended, going, idle] = await Promise.all([startRun(), startRun(), startRun()]);
  for (const run of [ended, going, idle])
    await send(run, pointsFromJSON([{ key: "a", step: 0, value: 1 }]), "w", 0);
  await env.DB.prepare("UPDATE runs SET state = 'finished' WHERE id = ?").bind(ended).run();
  await env.DB.prepare("UPDATE runs SET heartbeat = heartbeat - 7200000 WHERE id = ?")
    .bind(idle)
    .run();
  await compactDue(env);
  const tails = await Promise.all(
    [ended, going, idle].map(
      async (run) =>
        (await env.DB.prepare("SELECT tail FROM runs WHERE id = ?")
          .bind(run)
          .first<{ tail: number }>())!.tail,
    ),
  );
  expect(tails).toEqual([0, 1, 0]);
});

test("a purged run leaves nothing behind", async () => {
  const run = await startRun();
  await send(run, pointsFromJSON([{ key: "a", step: 0, value: 1 }]), "w", 0);
  await compact(run);
  await ask("DELETE", `/runs/${run}`);
  await ask("POST", `/runs/${run}/purge`);
  for (const table of ["tail", "segments", "receipts", "more_metrics"]) {
    const row = await env.DB.prepare(
      `SELECT count(*) AS n FROM ${table} WHERE run NOT IN (SELECT no FROM runs)`,
    ).first();
    expect([table, row]).toEqual([table, { n: 0 }]);
  }
  expect(await collectObjects(env, { grace: -1000 })).toBe(1);
});

test("receipts are unbroken ranges of each writer's numbers; nameless writers need none", () => {
  const row = (writer: string, seq: number) => ({
    writer,
    seq,
    digest: `${seq}`.padStart(16, "0").padEnd(64, "x"),
  });
  const rows = [row("b", 2), row("a", 1), row("a", 0), row("~x", 0), row("a", 3), row("b", 3)];
  expect(
    planReceipts(rows).map(({ writer, first, last, digests }) => [
      writer,
      first,
      last,
      digests.length,
    ]),
  ).toEqual([
    ["a", 0, 1, 32],
    ["a", 3, 3, 16],
    ["b", 2, 3, 32],
  ]);
});

test("merging touches a point a few times only: equal sizes together, all at the end", () => {
  const stretch = (rows: number) => [{ rows }];
  const small = Array.from({ length: 8 }, () => stretch(100_000));
  expect(planMerge(small.slice(1), false)).toBeUndefined();
  expect(planMerge(small, false)).toEqual(small);
  expect(planMerge([stretch(1_000_000), ...small.slice(1)], false)).toBeUndefined();
  expect(planMerge([stretch(1_000_000), stretch(10)], true)).toEqual([
    [{ rows: 1_000_000 }],
    [{ rows: 10 }],
  ]);
  expect(planMerge([stretch(10)], true)).toBeUndefined();
  expect(planMerge([stretch(7_000_000), stretch(7_000_000)], true)).toBeUndefined();
});
