import { env } from "cloudflare:workers";
import { tableFromIPC } from "@uwdata/flechette";
import { expect, test, vi } from "vitest";
import { compactRun } from "../../worker/db/compact.ts";
import { arrowType, pointsToIPC } from "../../wire/point-ipc.ts";
import { emptyPoints, type Points } from "../../wire/point.ts";
import { ask, freshStores, refused, startRun } from "./worker.ts";

freshStores();

/** Points of `keys` metrics at steps `from` to `to`, each value told by its key and step. */
function grid(keys: string[], from: number, to: number): Points {
  const points = emptyPoints(keys, keys.length * (to - from));
  for (let step = from, i = 0; step < to; step++)
    for (let k = 0; k < keys.length; k++, i++) {
      points.key[i] = k;
      points.step[i] = step;
      points.time[i] = 1_795_432_000_000 + step;
      points.value[i] = k + step / 1000;
    }
  return points;
}

async function sendAll(run: string, lots: Points[]): Promise<void> {
  for (const [seq, points] of lots.entries()) {
    const { status, text } = await ask(
      "POST",
      `/runs/${run}/points?writer=w&seq=${seq}`,
      pointsToIPC(points),
      { "content-type": arrowType },
    );
    expect([seq, status, text]).toEqual([seq, 200, `{"accepted":${points.step.length}}`]);
  }
}

async function tableOf(query: string) {
  const { response } = await ask("GET", `/points.arrow?${query}`);
  return tableFromIPC(new Uint8Array(await response.arrayBuffer()), { useDate: false });
}

const lotsOf = (keys: string[], steps: number, each: number) =>
  Array.from({ length: Math.ceil(steps / each) }, (_, lot) =>
    grid(keys, lot * each, Math.min(steps, (lot + 1) * each)),
  );

async function end(run: string): Promise<void> {
  await ask("POST", `/runs/${run}/finish`, { state: "finished" });
  const { no } = (await env.DB.prepare("SELECT no FROM runs WHERE id = ?")
    .bind(run)
    .first<{ no: number }>())!;
  await compactRun(env, no);
  await vi.waitFor(async () => {
    const found = await env.DB.prepare(
      "SELECT count(DISTINCT stretch) AS stretches FROM segments WHERE run = ?",
    )
      .bind(no)
      .first();
    expect(found).toEqual({ stretches: 1 });
  }, 20_000);
}

test("one run of a million steps of one metric", async () => {
  const run = await startRun();
  await sendAll(run, lotsOf(["loss"], 1_000_000, 50_000));
  await end(run);
  const all = await tableOf(`run=${run}`);
  const step = Float64Array.from(all.getChild("step"));
  expect(all.numRows).toBe(1_000_000);
  expect(step.every((s, i) => s === i)).toBe(true);
  const zoom = await tableOf(`run=${run}&from=777000&to=777099`);
  expect([zoom.numRows, zoom.getChild("value").at(99)]).toEqual([100, 777.099]);
  const buckets = await tableOf(`run=${run}&buckets=1000`);
  const counts = Float64Array.from(buckets.getChild("count"));
  expect(buckets.numRows).toBeLessThanOrEqual(1000);
  expect(counts.reduce((a, b) => a + b)).toBe(1_000_000);
  expect((await ask("GET", `/runs/${run}`)).json).toMatchObject({
    points: 1_000_000,
    metrics: { loss: { count: 1_000_000, last: 999.999, min: 0, maxStep: 999_999 } },
  });
}, 60_000);

test("one run of 20,000 metrics at 50 steps: every point, every summary, one metric alone", async () => {
  const run = await startRun();
  const keys = Array.from({ length: 20_000 }, (_, k) => `layer_${k >> 3}/weight_${k & 7}/norm`);
  await sendAll(run, lotsOf(keys, 50, 2));
  await end(run);
  const all = await tableOf(`run=${run}`);
  expect(all.numRows).toBe(1_000_000);
  const one = await tableOf(`run=${run}&key=layer_2499/weight_7/norm`);
  expect(Array.from(one.getChild("value").toArray())).toEqual(
    Array.from({ length: 50 }, (_, step) => 19_999 + step / 1000),
  );
  const { json } = await ask("GET", `/runs/${run}`);
  expect(Object.keys(json.metrics)).toHaveLength(20_000);
  for (const k of [0, 777, 19_999])
    expect(json.metrics[keys[k]!]).toMatchObject({
      count: 50,
      last: k + 0.049,
      step: 49,
      min: k,
      max: k + 0.049,
    });
  // D1 ends at 2 MB a row, wherever the summaries are.
  const rows = await env.DB.prepare(
    "SELECT max(size) AS size FROM (SELECT length(metrics) AS size FROM runs UNION ALL SELECT length(metrics) FROM more_metrics UNION ALL SELECT length(keys) + length(contents) FROM segments)",
  ).first<{ size: number }>();
  expect(rows!.size).toBeLessThan(1_900_000);
}, 120_000);

test("steps beyond 2^53 are refused by number; fractions and equal steps are not", async () => {
  const run = await startRun();
  const at = (step: number, value: number) => ({ key: "a", step, time: 5, value });
  expect(await ask("POST", `/runs/${run}/points`, [at(0, 1), at(2 ** 53, 2)])).toMatchObject(
    refused("invalid step at 1: 9007199254740992"),
  );
  await ask("POST", `/runs/${run}/points`, [
    at(0.5, 1),
    at(0.5, 2),
    at(0.5, 2),
    at(2 ** 53 - 1, 3),
  ]);
  await end(run);
  const table = await tableOf(`run=${run}`);
  expect(Array.from(table.getChild("step").toArray())).toEqual([0.5, 0.5, 0.5, 2 ** 53 - 1]);
});
