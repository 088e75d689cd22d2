import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, request, type Server as HttpServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServer } from "../../../client/cli/server/server.ts";
import { pointsToIPC } from "../../../wire/point-ipc.ts";
import type { Points } from "../../../wire/point.ts";

const root = join(import.meta.dirname, "../../..");

/** Starts the embedded server on a Worker that can also measure itself, in a folder of its own. */
export async function startBenchServer() {
  const folder = mkdtempSync(join(tmpdir(), "assay-bench-"));
  process.env["ASSAY_HOME"] = join(folder, "home");
  cpSync(join(root, "dist/worker"), join(folder, "worker"), { recursive: true });
  cpSync(join(root, "dist/app"), join(folder, "app"), { recursive: true });
  const { build } = await import("esbuild");
  await build({
    bundle: true,
    format: "esm",
    target: "es2024",
    entryPoints: { index: join(root, "test/worker/bench-worker.ts") },
    outdir: join(folder, "worker"),
    allowOverwrite: true,
    conditions: ["workerd", "worker", "browser"],
    external: ["node:*", "cloudflare:*"],
  });
  const data = join(folder, "data");
  const start = () => startServer({ port: 0, data, worker: join(folder, "worker/") });
  let server = await start();
  return {
    get url() {
      return server.url;
    },
    data,
    /** Ends the server and starts it anew on the same data, at another port. */
    async restart() {
      await server.close();
      server = await start();
    },
    async close() {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Logs a run, `perRequest` points at a time, and ends it. */
export async function sendRun(
  url: string,
  experiment: string,
  points: Points,
  { perRequest = 1000 } = {},
): Promise<string> {
  const run = await startRun(url, experiment);
  await sendBodies(url, run, bodiesOf(points, perRequest));
  await endRun(url, run);
  return run;
}

export const startRun = async (url: string, experiment: string): Promise<string> =>
  (await post(`${url}/api/v1/runs`, JSON.stringify({ experiment }))).id;

export const endRun = (url: string, run: string) =>
  post(`${url}/api/v1/runs/${run}/finish`, '{"state":"finished"}');

/** Returns points as the client would send them. */
export function bodiesOf(points: Points, perRequest: number): Uint8Array[] {
  const bodies: Uint8Array[] = [];
  for (let at = 0; at < points.step.length; at += perRequest)
    bodies.push(pointsToIPC(slice(points, at, at + perRequest)));
  return bodies;
}

/** Sends numbered requests with `lanes` under way. */
export async function sendBodies(
  url: string,
  run: string,
  bodies: Uint8Array[],
  { lanes = 4 } = {},
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < bodies.length) {
      const seq = next++;
      await post(`${url}/api/v1/runs/${run}/points?writer=bench&seq=${seq}`, bodies[seq]!);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

function slice({ keys, key, step, time, value }: Points, begin: number, end: number): Points {
  return {
    keys,
    key: key.slice(begin, end),
    step: step.slice(begin, end),
    time: time.slice(begin, end),
    value: value.slice(begin, end),
  };
}

async function post(url: string, body: string | Uint8Array): Promise<{ id: string }> {
  const type =
    typeof body === "string" ? "application/json" : "application/vnd.apache.arrow.stream";
  const response = await fetch(url, {
    method: "POST",
    body: body as BodyInit,
    headers: { "content-type": type },
  });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json() as Promise<{ id: string }>;
}

/** An answer made before, as bytes that are gzipped already. */
export interface Canned {
  type: string;
  gzip?: Uint8Array;
  plain?: Uint8Array | string;
}

/** Starts a server of canned answers that asks another for all paths under /live. */
export async function startCanned(
  answers: Record<string, Canned>,
  live: string,
): Promise<{ url: string; close(): void }> {
  const server: HttpServer = createServer((ask, answer) => {
    const canned = answers[new URL(ask.url!, live).pathname];
    if (ask.url!.startsWith("/live/")) {
      const from = request(
        `${live}${ask.url!.slice(5)}`,
        { headers: { "accept-encoding": "gzip" } },
        (found) => {
          answer.writeHead(found.statusCode!, found.headers);
          found.pipe(answer);
        },
      );
      from.end();
    } else if (canned) {
      answer.writeHead(200, {
        "content-type": canned.type,
        "cache-control": "no-store",
        ...(canned.gzip ? { "content-encoding": "gzip" } : {}),
      });
      answer.end(canned.gzip ?? canned.plain);
    } else answer.writeHead(404).end();
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}
