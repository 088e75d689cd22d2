import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { tableFromIPC } from "@uwdata/flechette";
import { expect, test } from "vitest";
import { childrenOf } from "../../client/cli/server/lock.ts";
import { pointsToIPC } from "../../wire/point-ipc.ts";
import { emptyPoints } from "../../wire/point.ts";
import { startServer } from "./server.ts";

const rounds = Number(process.env["ASSAY_KILL_ROUNDS"] ?? 20);
const writers = 8;
const perRequest = 500;
/** After so many requests of each of its two writers a run ends: beyond one compaction, and so with a merge. */
const share = 130;

/** A run that two writers log to, each under a key of its own, and how many of their requests were acknowledged. */
interface Logged {
  id: string;
  acknowledged: [number, number];
}

const wait = (ms: number) => new Promise((later) => setTimeout(later, ms));

/** Asks until there is an answer: the server may be dead, or be killed before it has answered. */
async function insist(ask: () => Promise<Response>): Promise<Record<string, unknown>> {
  for (;;) {
    try {
      const response = await ask();
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      if (response.status < 500) throw new Error(`refused: ${response.status} ${text}`);
    } catch (error) {
      if ((error as Error).message.startsWith("refused")) throw error;
    }
    await wait(20);
  }
}

/** Logs run after run with two writers, each numbered request until it is acknowledged, until it is told to stop. */
async function logRuns(url: string, runs: Logged[], isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const id = crypto.randomUUID().replaceAll("-", "");
    const body = JSON.stringify({ id, experiment: "killed" });
    await insist(() => fetch(`${url}/api/v1/runs`, { method: "POST", body }));
    const run: Logged = { id, acknowledged: [0, 0] };
    runs.push(run);
    const write = async (w: 0 | 1) => {
      while (run.acknowledged[w] < share && !isOver()) {
        const seq = run.acknowledged[w];
        const bytes = pointsToIPC(pointsOf(w, seq));
        const path = `${url}/api/v1/runs/${id}/points?writer=w${w}&seq=${seq}`;
        const headers = { "content-type": "application/vnd.apache.arrow.stream" };
        await insist(() => fetch(path, { method: "POST", body: bytes as BodyInit, headers }));
        run.acknowledged[w]++;
      }
    };
    await Promise.all([write(0), write(1)]);
    if (!isOver())
      await insist(() =>
        fetch(`${url}/api/v1/runs/${id}/finish`, { method: "POST", body: '{"state":"finished"}' }),
      );
  }
}

function pointsOf(writer: number, seq: number) {
  const points = emptyPoints([`w${writer}`], perRequest);
  for (let i = 0; i < perRequest; i++) {
    points.step[i] = seq * perRequest + i;
    points.time[i] = 1_795_432_000_000 + points.step[i]!;
    points.value[i] = Math.sin(points.step[i]!);
  }
  return points;
}

/** Expects of each run exactly the points that were acknowledged, each once and in order. */
async function expectAll(url: string, runs: Logged[]): Promise<void> {
  for (const { id, acknowledged } of runs) {
    const response = await fetch(`${url}/api/v1/points.arrow?run=${id}`);
    const table = tableFromIPC(new Uint8Array(await response.arrayBuffer()));
    const found: Record<string, number[]> = { w0: [], w1: [] };
    const [key, step, value] = ["key", "step", "value"].map((name) => table.getChild(name));
    for (let i = 0; i < table.numRows; i++) {
      found[key!.at(i) as string]!.push(step!.at(i) as number);
      if (value!.at(i) !== Math.sin(step!.at(i))) throw new Error(`another value at ${i} of ${id}`);
    }
    for (const w of [0, 1] as const) {
      const expected = acknowledged[w] * perRequest;
      expect([id, w, found[`w${w}`]!.length]).toEqual([id, w, expected]);
      expect(found[`w${w}`]!.every((s, i) => s === i)).toBe(true);
    }
  }
}

test(
  `a server killed ${rounds} times at random under ${writers} writers loses no acknowledged point and doubles none`,
  { timeout: rounds * 6000 + 60_000 },
  async () => {
    let server = await startServer();
    const { url, data } = server;
    const runs: Logged[] = [];
    let isOver = false;
    const logging = Array.from({ length: writers / 2 }, () => logRuns(url, runs, () => isOver));
    const again = () => startServer({ data, args: ["--no-demo", "--port", new URL(url).port] });
    for (let round = 0; round < rounds; round++) {
      await wait(300 + Math.random() * 1500);
      const workers = childrenOf(server.child.pid!);
      server.child.kill("SIGKILL");
      for (const pid of workers) kill(pid);
      await server.ended;
      server = await again();
    }
    await wait(1000);
    isOver = true;
    await Promise.all(logging);
    await expectAll(url, runs);
    await server.stop();
    const { segments, merged } = storedIn(data);
    expect(segments).toBeGreaterThan(0);
    expect(merged).toBeGreaterThan(0);
    server = await again();
    await expectAll(url, runs);
    await server.stop();
  },
);

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It was gone with its parent.
  }
}

/** Returns how many segments a stopped server's database has, and how many were merged into others. */
function storedIn(data: string): { segments: number; merged: number } {
  const folder = join(data, "v3/d1");
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".sqlite")) continue;
    const database = new DatabaseSync(join(folder, name), { readOnly: true });
    try {
      return database
        .prepare(
          "SELECT (SELECT count(*) FROM segments) AS segments, (SELECT count(*) FROM retired) AS merged",
        )
        .get() as { segments: number; merged: number };
    } catch {
      continue; // not the one
    } finally {
      database.close();
    }
  }
  throw new Error(`no database in ${folder}`);
}
