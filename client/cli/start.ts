import { parseArgs } from "node:util";
import { resolve } from "node:path";
import { startServer } from "./server/server.ts";
import { wholeNumber } from "./arguments.ts";

export const summary = "Start the server on this machine";

export const help = `assay start [--port 8787] [--data .assay] [--demo | --no-demo]

Serves on 127.0.0.1 only and keeps everything in the data folder. A new folder is filled with
the demo, real trainings that finish within half a minute; --no-demo leaves it empty, and --demo
fills one that is not new.

Examples
  assay start
  assay start --port 9000 --data ~/experiments --no-demo`;

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      port: { type: "string", default: "8787" },
      data: { type: "string", default: ".assay" },
      demo: { type: "boolean" },
      "no-demo": { type: "boolean" },
    },
  });
  const server = await startServer({
    port: wholeNumber("port", values.port),
    data: resolve(values.data),
  });
  // Who reads where it is may stop it at once.
  const stopped = stopSignal();
  console.log(`Assay is at ${server.url}`);
  const wantsDemo = values.demo ?? (server.isNew && !values["no-demo"]);
  const demo = wantsDemo ? fill(server.url, stopped.signal) : undefined;
  await stopped.promise;
  await demo;
  await server.close();
  return 0;
}

/** Fills the server with the demo. It comes with the client library, which a start need not wait for. */
async function fill(url: string, signal: AbortSignal): Promise<void> {
  const { fillWithDemo } = await import("./demo.ts");
  await fillWithDemo(url, signal);
}

/** Resolves at Ctrl-C or SIGTERM; a second one ends the process at once. */
function stopSignal(): { promise: Promise<void>; signal: AbortSignal } {
  const controller = new AbortController();
  const promise = new Promise<void>((resolve) => {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      const others = process.listeners(name);
      process.on(name, () => {
        if (controller.signal.aborted) process.exit(130);
        controller.abort();
        resolve();
      });
      // Miniflare's would end the process before it has closed. A signal that comes while nobody listens is lost.
      for (const other of others) process.off(name, other);
    }
  });
  return { promise, signal: controller.signal };
}
