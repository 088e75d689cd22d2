import { env } from "cloudflare:workers";
import { expect, test, vi } from "vitest";
import { arrowType, pointsToIPC } from "../../wire/point-ipc.ts";
import { pointsFromJSON } from "../../wire/point.ts";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

/** List prices beyond what is included, in dollars: https://developers.cloudflare.com/workers/platform/pricing/ */
const price = {
  request: 0.3e-6,
  cpuMs: 0.02e-6,
  rowWritten: 1e-6,
  rowRead: 0.001e-6,
  writeOfObject: 4.5e-6,
  readOfObject: 0.36e-6,
};
/** Taken, not measured: what Cloudflare bills for a request of 250 points. */
const cpuMsPerRequest = 3;

test("a million points, 250 a request, cost 1.5 cents at most: requests, rows, objects, compaction and the end of the run", async () => {
  const perRequest = 250;
  const requests = 440; // beyond one compaction, and a rest that the end of the run takes
  const run = await startRun();
  const bodies = Array.from({ length: requests }, (_, r) =>
    pointsToIPC(
      pointsFromJSON(
        Array.from({ length: perRequest }, (_, i) => ({
          key: `train/metric_${i % 50}`,
          step: r * 5 + Math.floor(i / 50),
          time: 1_795_432_000_000 + r * 5000,
          value: Math.sin(i + r),
        })),
      ),
    ),
  );
  const counted = countCalls();
  for (const [seq, body] of bodies.entries())
    await ask("POST", `/runs/${run}/points?writer=w&seq=${seq}`, body, {
      "content-type": arrowType,
    });
  await ask("POST", `/runs/${run}/finish`, { state: "finished" });
  await vi.waitFor(
    async () => {
      const left = await env.DB.prepare(
        "SELECT tail, (SELECT count(*) FROM segments WHERE run = no) AS segments FROM runs WHERE id = ?",
      )
        .bind(run)
        .first();
      expect(left).toEqual({ tail: 0, segments: 1 });
    },
    { timeout: 10_000 },
  );
  vi.restoreAllMocks();
  const points = requests * perRequest;
  const dollars =
    requests * (price.request + cpuMsPerRequest * price.cpuMs) +
    counted.rowsWritten * price.rowWritten +
    counted.rowsRead * price.rowRead +
    counted.objectsWritten * price.writeOfObject +
    counted.objectsRead * price.readOfObject;
  expect((dollars / points) * 1e6).toBeLessThanOrEqual(0.015);
  expect(counted.rowsWritten / requests).toBeGreaterThan(2.9); // the count is real: two rows in, one out
}, 60_000);

/** Counts what the stores are asked for; rows as the database itself counts them. */
function countCalls() {
  const counted = { rowsWritten: 0, rowsRead: 0, objectsWritten: 0, objectsRead: 0 };
  const batch = env.DB.batch.bind(env.DB);
  vi.spyOn(env.DB, "batch").mockImplementation(async (statements) => {
    const results = await batch(statements);
    for (const { meta } of results) {
      counted.rowsWritten += meta.rows_written;
      counted.rowsRead += meta.rows_read;
    }
    return results;
  });
  const [put, get] = [env.FILES.put.bind(env.FILES), env.FILES.get.bind(env.FILES)];
  vi.spyOn(env.FILES, "put").mockImplementation((...args) => {
    counted.objectsWritten++;
    return put(...args);
  });
  vi.spyOn(env.FILES, "get").mockImplementation((...args) => {
    counted.objectsRead++;
    return get(...args);
  });
  return counted;
}
