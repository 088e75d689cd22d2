import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Cron } from "croner";
import type { Miniflare } from "miniflare";
import { childrenOf, lock } from "./lock.ts";
import { migrate, migrationsIn } from "./migrate.ts";

/** A running embedded server. */
export interface Server {
  url: string;
  /** whether its data folder was new when it started */
  isNew: boolean;
  /** Stops it; what it has accepted is on disk. */
  close(): Promise<void>;
}

// `import` would read all 6 MB of miniflare twice to find out that it is CommonJS, which its package does not say: 0.16 s.
const {
  convertV4MiniflareOptions,
  Log,
  LogLevel,
  Miniflare: Embedded,
} = createRequire(import.meta.url)("miniflare") as typeof import("miniflare");

/** The built Worker: dist/worker beside dist/cli. */
const built = fileURLToPath(new URL("../worker/", import.meta.url));

/**
 * Starts the built Worker in Miniflare, on loopback only. Data lies in `data`, which one server at a time may hold.
 * Port 0 takes any free one. Throws where the port is taken or the folder is held.
 */
export async function startServer({
  port,
  data,
  worker = built,
}: {
  port: number;
  data: string;
  worker?: string;
}): Promise<Server> {
  const isNew = !existsSync(join(data, "v3"));
  const held = lock(data);
  try {
    await checkPort(port);
    await migrateOnce(data, join(worker, "migrations"));
    const { cronTriggers, assets, ...options } = JSON.parse(
      readFileSync(join(worker, "options.json"), "utf8"),
    );
    const miniflare = new Embedded(
      convertV4MiniflareOptions({
        host: "127.0.0.1",
        port,
        ...quiet,
        resourcePersistencePath: join(data, "v3"),
        workers: [
          {
            name: "assay",
            rootPath: data,
            ...options,
            modules: [
              {
                type: "ESModule",
                path: "index.js",
                contents: readFileSync(join(worker, "index.js"), "utf8"),
              },
            ],
            d1Databases: { DB: "assay" },
            r2Buckets: { FILES: "assay" },
            bindings: { LOOPBACK: "1" },
            assets: { ...assets, directory: join(worker, "../app") },
          },
        ],
      }),
    );
    const address = await miniflare.ready;
    const url = `http://127.0.0.1:${address.port}`;
    held.note({ url, children: childrenOf(process.pid) });
    const crons = cronTriggers.map(
      (cron: string) =>
        new Cron(cron, { unref: true, protect: true, catch: true }, () => fire(miniflare, cron)),
    );
    return {
      url,
      isNew,
      async close() {
        for (const cron of crons) cron.stop();
        await miniflare.dispose();
        held.release();
      },
    };
  } catch (error) {
    held.release();
    throw error;
  }
}

/** Throws where a port is taken; Miniflare would wait for it without a word. */
async function checkPort(port: number): Promise<void> {
  const probe = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  probe.once("error", ({ code, message }: NodeJS.ErrnoException) =>
    reject(
      new Error(
        code === "EADDRINUSE" ? `port ${port} is in use; choose another with --port` : message,
      ),
    ),
  );
  probe.listen(port, "127.0.0.1", resolve);
  await promise;
  await new Promise((closed) => probe.close(closed));
}

async function fire(miniflare: Miniflare, cron: string): Promise<void> {
  const worker = await miniflare.getWorker("assay");
  await worker.scheduled({ cron, scheduledTime: new Date() });
}

/** What Miniflare is told wherever it runs. */
const quiet = { cf: false as const, logRequests: false, log: new Log(LogLevel.ERROR) };

/**
 * Brings the database up to date before there is a port to ask at. Only where a mark beside it does not say that it is:
 * the question takes longer than the start.
 */
async function migrateOnce(data: string, folder: string): Promise<void> {
  const mark = join(data, "v3", "migrated");
  const names = migrationsIn(folder).join("\n");
  if (existsSync(mark) && readFileSync(mark, "utf8") === names) return;
  const miniflare = new Embedded(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      ...quiet,
      resourcePersistencePath: join(data, "v3"),
      workers: [
        {
          name: "assay",
          modules: [{ type: "ESModule", path: "index.js", contents: "export default {};" }],
          d1Databases: { DB: "assay" },
        },
      ],
    }),
  );
  try {
    await migrate(await miniflare.getD1Database("DB"), folder);
  } finally {
    await miniflare.dispose();
  }
  writeFileSync(mark, names);
}
