// The Worker with routes more. /bench/serve: how much of its own time an answer takes, all it reads being in memory.
// /bench/collected/…: the answer of …, its garbage collected with each read of an object and each piece that is taken.
// /bench/runs: stores runs of the bench's; /bench/settle: moves them from rows into blocks.
// /bench/fill: puts runs into an experiment as rows that look as if the door for MLflow had made them; their points are nowhere.
// /bench/bucket: puts the body into the bucket, and gives it back.
import { pointsFromJSON } from "../../wire/point.ts";
import { summarize, type Summary } from "../../wire/summary.ts";
import worker from "../../worker/index.ts";
import { readPoints, type Part } from "../../worker/db/points.ts";
import { createExperiment, selectExperiment } from "../../worker/db/experiments.ts";
import { settleRuns } from "../../worker/db/run-blocks.ts";
import { selectMetricKeys, selectPointRuns } from "../../worker/db/runs.ts";
import { workspace, type Env } from "../../worker/env.ts";
import { gzipMember, type Piece } from "../../worker/gzip.ts";
import { paramsText } from "../../worker/mlflow/run-json.ts";
import { arrowPieces } from "../../worker/routes/points-arrow.ts";
import { encodeBlocks } from "../../worker/routes/blocks.ts";
import { pointBlocks } from "../../worker/routes/points-blocks.ts";
import { insertBenchRuns } from "./bench-runs.ts";

export default {
  ...worker,
  async fetch(request: Request, env: Env, context: ExecutionContext): Promise<Response> {
    const url = new URL(request.url);
    const experiment = url.searchParams.get("experiment")!;
    if (url.pathname === "/bench/serve") return Response.json(await serve(env, experiment));
    if (url.pathname === "/bench/segments") return Response.json(await segments(env, experiment));
    if (url.pathname === "/bench/runs") {
      const range = { from: number(url, "from"), to: number(url, "to") };
      return Response.json({ runs: await insertBenchRuns(env, experiment, range) });
    }
    if (url.pathname === "/bench/settle")
      return Response.json({ runs: await settleRuns(env, experiment, { quiet: 0 }) });
    if (url.pathname.startsWith("/bench/collected/"))
      return collected(request, env, context, url.href.replace("/bench/collected", ""));
    if (url.pathname === "/bench/fill") return fill(await request.json(), env, experiment);
    if (url.pathname === "/bench/bucket") return bucket(request, env);
    return worker.fetch(request, env, context);
  },
};

const number = (url: URL, name: string) => Number(url.searchParams.get(name));

/** A run as the bench of MLflow's client invents it; its metrics have one point at step 10. */
interface Invented {
  id: string;
  started: number;
  params: Record<string, string>;
  tags: Record<string, string>;
  metrics: Record<string, number>;
}

async function fill(runs: Invented[], { DB }: Env, name: string): Promise<Response> {
  const question = {
    hypothesis: "",
    metric: null,
    direction: "min",
    conclusion: "",
    note: "",
  } as const;
  const { id } = await createExperiment(DB, { name, ...question, tags: {} }, "bench");
  const rows = runs.map(({ params, metrics, started, ...run }, i) => ({
    ...run,
    started,
    name: `run-${i}`,
    number: i + 1,
    params: paramsText(Object.entries(params).map(([key, value]) => ({ key, value }))),
    metrics: Object.fromEntries(
      Object.entries(metrics).map(([key, value]) => [key, summaryOf(value, started)]),
    ),
  }));
  for (let at = 0; at < rows.length; at += 100)
    await DB.prepare(
      `INSERT INTO runs (workspace, id, experiment, number, name, state, params, tags, note, source, metrics, points, started, ended, heartbeat, touched, digest)
       SELECT ?1, r ->> 'id', ?2, r ->> 'number', r ->> 'name', 'finished', jsonb(r ->> 'params'), jsonb(r -> 'tags'), '', '', jsonb(r -> 'metrics'),
         10, r ->> 'started', (r ->> 'started') + 500, r ->> 'started', r ->> 'started', ''
       FROM (SELECT value AS r FROM json_each(?3))`,
    )
      .bind(workspace, id, JSON.stringify(rows.slice(at, at + 100)))
      .run();
  return new Response();
}

function summaryOf(value: number, time: number): Summary {
  const points = pointsFromJSON([{ key: "it", step: 10, time, value }]);
  return summarize(points).get("it")!;
}

async function bucket({ method, body }: Request, { FILES }: Env): Promise<Response> {
  const headers = { "content-type": "application/octet-stream" };
  if (method === "GET") return new Response((await FILES.get("bench"))?.body, { headers });
  await FILES.put("bench", body);
  return new Response();
}

declare const gc: () => void;

async function collected(request: Request, env: Env, context: ExecutionContext, url: string) {
  const FILES = new Proxy(env.FILES, {
    get(bucket, name: keyof R2Bucket) {
      if (name === "get") gc();
      return (bucket[name] as () => unknown).bind(bucket);
    },
  });
  const response = await worker.fetch(new Request(url, request), { ...env, FILES }, context);
  const body = response.body?.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>(
      {
        transform(piece, controller) {
          gc();
          controller.enqueue(piece);
        },
      },
      { highWaterMark: 1 },
      { highWaterMark: 0 },
    ),
  );
  return new Response(body, { ...response, headers: response.headers, encodeBody: "manual" });
}

/** How many segments the runs of an experiment have, and how many points in their tails. */
const segments = ({ DB }: Env, experiment: string) =>
  DB.prepare(
    `SELECT sum(tail) AS tail, sum((SELECT count(*) FROM segments WHERE run = no)) AS segments
     FROM runs WHERE experiment = (SELECT id FROM experiments WHERE name = ?)`,
  )
    .bind(experiment)
    .first();

/** Answers with every point of an experiment, from segments and by gzip level 1 in turn; ms, bytes and points of each. */
async function serve(env: Env, experiment: string, rounds = 9) {
  const { id } = await selectExperiment(env.DB, experiment);
  const stores = inMemory(env);
  const decoded: Part[] = [];
  const all = await selectPointRuns(env.DB, { experiments: [id], runs: [] });
  for await (const part of readPoints(env, all, {})) {
    const points = part.decode();
    decoded.push({ ...part, decode: () => points });
  }
  const sides = {
    segments: async () => {
      stores.rewind();
      return count(arrowPieces(await ids(), await keys(), await parts(), "cursor"));
    },
    "gzip level 1": async () => {
      stores.rewind();
      const table = pointBlocks(await ids(), await keys(), from(decoded));
      return count(encodeBlocks("arrow", table, { cursor: "cursor" }));
    },
  };
  const found: Record<string, { ms: number[]; bytes: number }> = {};
  for (let round = -2; round < rounds; round++)
    for (const [name, side] of Object.entries(sides)) {
      // The clock counts whole ms: several answers a measurement.
      const times = name === "segments" ? 10 : 1;
      const began = performance.now();
      let bytes = 0;
      for (let i = 0; i < times; i++) bytes = await side();
      const ms = (performance.now() - began) / times;
      if (round >= 0) (found[name] ??= { ms: [], bytes }).ms.push(ms);
    }
  const points = decoded.reduce((n, { rows }) => n + rows, 0);
  return { points, sides: found };

  async function runs() {
    return selectPointRuns(stores.DB, { experiments: [id], runs: [] });
  }
  async function ids() {
    return (await runs()).map((run) => run.id);
  }
  async function keys() {
    return selectMetricKeys(
      stores.DB,
      (await runs()).map(({ no }) => no),
    );
  }
  async function parts() {
    return readPoints(stores, await runs(), {});
  }
}

async function count(pieces: AsyncIterable<Piece>): Promise<number> {
  let bytes = 0;
  for await (const piece of gzipMember(pieces)) bytes += piece.length;
  return bytes;
}

async function* from(parts: Part[]): AsyncGenerator<Part> {
  yield* parts;
}

/** The stores, each answer of which is kept and given again in the order of the calls. */
function inMemory({ DB, FILES }: Env) {
  const answers: unknown[] = [];
  let next = 0;
  const again = async <T>(ask: () => Promise<T>): Promise<T> => {
    const at = next++;
    return (at in answers ? answers[at] : (answers[at] = await ask())) as T;
  };
  const objects = new Map<string, ArrayBuffer>();
  const statement = (real: D1PreparedStatement): D1PreparedStatement =>
    new Proxy(real, {
      get: (_, name) =>
        name === "bind"
          ? (...values: unknown[]) => statement(real.bind(...values))
          : name === "real"
            ? real
            : () =>
                again(() =>
                  (real as unknown as Record<string, () => Promise<unknown>>)[name as string]!(),
                ),
    });
  return {
    rewind: () => (next = 0),
    DB: {
      prepare: (sql: string) => statement(DB.prepare(sql)),
      batch: (statements: { real: D1PreparedStatement }[]) =>
        again(() => DB.batch(statements.map(({ real }) => real))),
    } as unknown as D1Database,
    FILES: {
      async get(key: string, options: { range: { offset: number; length: number } }) {
        const name = `${key} ${options.range.offset} ${options.range.length}`;
        if (!objects.has(name))
          objects.set(name, await (await FILES.get(key, options))!.arrayBuffer());
        return { arrayBuffer: async () => objects.get(name)! };
      },
    } as unknown as R2Bucket,
  };
}
