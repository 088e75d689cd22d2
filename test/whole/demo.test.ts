import { expect, test } from "vitest";
import { connect } from "../../client/index.ts";
import { startServer } from "./server.ts";

test("a new folder is filled with the demo within 30 s: real trainings, one that diverged, console and files", async () => {
  const began = performance.now();
  const server = await startServer({ args: [] });
  const lab = await connect(server.url);
  await expect
    .poll(async () => (await lab.runs("digits").catch(() => undefined))?.numRows ?? 0, {
      timeout: 5000,
    })
    .toBeGreaterThan(0);
  await server.until("The demo is complete", 40_000);
  expect(performance.now() - began).toBeLessThan(30_000);
  const experiments = await lab.experiments();
  expect(experiments.numRows).toBe(2);
  const runs = (await lab.runs(undefined, { columns: ["*"] }))
    .toArray()
    .map((row) => row!.toJSON() as Record<string, any>);
  expect(runs.length).toBeGreaterThanOrEqual(24);
  expect(new Set(runs.map((run) => run["params.seed"])).size).toBeGreaterThan(1);
  const failed = runs.filter(({ state }) => state !== "finished");
  expect(failed.map((run) => [run["state"], run["metrics.train/loss"]])).toEqual([["failed", NaN]]);
  const best = runs.find((run) => run["metrics.val/acc"] > 0.85)!;
  expect((await lab.files(best["id"])).files.map(({ path, type }) => [path, type])).toEqual([
    ["plots/confusion.png", "image/png"],
    ["predictions.csv", "text/csv"],
    ["weights.npy", "application/octet-stream"],
  ]);
  expect((await lab.console(best["id"], { tail: 3 })).lines).toHaveLength(3);
  await server.stop();
});

test("a folder that is not new is left as it is, and --no-demo leaves a new one empty", async () => {
  const first = await startServer({ args: ["--no-demo"] });
  const lab = await connect(first.url);
  expect((await lab.experiments()).numRows).toBe(0);
  await first.stop();
  const second = await startServer({ data: first.data, args: [] });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect((await (await connect(second.url)).experiments()).numRows).toBe(0);
  await second.stop();
});
