import { expect, test } from "vitest";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

test("a diverging run keeps its NaN, its infinite values and its negative zero", async () => {
  const run = await startRun();
  const values = ["NaN", "Infinity", "-Infinity"];
  const body = `[${values.map((v, step) => `{"key":"loss","step":${step},"value":"${v}"}`).join()},{"key":"loss","step":3,"value":-0.0}]`;
  expect((await ask("POST", `/runs/${run}/points`, body)).json).toEqual({ accepted: 4 });
  const { json } = await ask("GET", `/points.json?run=${run}`);
  expect(json.map((p: any) => p.value)).toEqual([...values, -0]);
});
