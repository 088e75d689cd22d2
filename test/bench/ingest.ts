import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServer } from "../../client/cli/server/server.ts";
import { connect } from "../../client/index.ts";
import { emptyPoints } from "../../wire/point.ts";
import { pointsToIPC } from "../../wire/point-ipc.ts";
import { median, say } from "./report.ts";

const requests = 300;
const perRequest = 1000;

/** Points a second into the embedded server over HTTP, 1,000 a request, with four requests under way at a time. */
export async function ingest(): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), "assay-bench-"));
  process.env["ASSAY_HOME"] = join(data, "home");
  const server = await startServer({
    port: 0,
    data,
    worker: join(import.meta.dirname, "../../dist/worker/"),
  });
  const json = JSON.stringify(
    Array.from({ length: perRequest }, (_, i) => ({
      key: i % 2 ? "loss" : "acc",
      step: i >> 1,
      time: 1_795_432_172_440 + i,
      value: Math.sin(i) / (1 + i),
    })),
  );
  const points = emptyPoints(["loss", "acc"], perRequest);
  for (let i = 0; i < perRequest; i++) {
    points.key[i] = i % 2;
    points.step[i] = i >> 1;
    points.time[i] = 1_795_432_172_440 + i;
    points.value[i] = Math.sin(i) / (1 + i);
  }
  const arrow = pointsToIPC(points);
  const sides = {
    "Arrow, the client's codec": { body: arrow, type: "application/vnd.apache.arrow.stream" },
    JSON: { body: json, type: "application/json" },
  };
  const found: Record<string, number[]> = {};
  for (let round = -1; round < 5; round++)
    for (const [name, { body, type }] of Object.entries(sides)) {
      const rate = await measure(server.url, body, type);
      if (round >= 0) (found[name] ??= []).push(rate);
    }
  for (const [name, rates] of Object.entries(found))
    say("ingest", name, median(rates), "points/s", "(target ≥ 150,000)");
  say(
    "ingest",
    "run.log to flush, through the journal",
    await throughClient(server.url),
    "points/s",
  );
  await server.close();
  rmSync(data, { recursive: true, force: true });
}

async function measure(url: string, body: string | Uint8Array, type: string): Promise<number> {
  const run = (await (
    await fetch(`${url}/api/v1/runs`, { method: "POST", body: '{"experiment":"bench"}' })
  ).json()) as { id: string };
  let next = 0;
  const began = performance.now();
  const worker = async () => {
    while (next < requests) {
      const response = await fetch(
        `${url}/api/v1/runs/${run.id}/points?writer=bench&seq=${next++}`,
        { method: "POST", body: body as BodyInit, headers: { "content-type": type } },
      );
      if (!response.ok) throw new Error(await response.text());
      await response.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  const rate = (requests * perRequest) / ((performance.now() - began) / 1000);
  const { points } = (await (await fetch(`${url}/api/v1/runs/${run.id}`)).json()) as {
    points: number;
  };
  if (points !== requests * perRequest)
    throw new Error(`points lost: ${points} of ${requests * perRequest}`);
  return rate;
}

async function throughClient(url: string): Promise<number> {
  const run = await (await connect(url)).startRun({ experiment: "bench" });
  const began = performance.now();
  for (let step = 0; step < 150_000; step++) run.log({ loss: step, acc: step / 2 }, { step });
  if (!(await run.flush({ timeout: 60_000 }))) throw new Error("not delivered within a minute");
  const rate = 300_000 / ((performance.now() - began) / 1000);
  await run.finish();
  return rate;
}
