import type { Context } from "hono";
import { enough, settleRuns } from "../db/run-blocks.ts";
import type { App } from "../env.ts";

/** The experiments that this isolate is at. */
const settling = new Set<string>();

/** Puts settled runs into blocks after the answer is sent, so that the next one is quicker. The cron does the same. */
export function settleLater(c: Context<App>, experiments: { id: string }[]): void {
  for (const { id } of experiments) {
    if (settling.has(id)) continue;
    settling.add(id);
    c.executionCtx.waitUntil(
      settleRuns(c.env, id, { least: enough })
        .catch((error: unknown) => console.error(error))
        .finally(() => settling.delete(id)),
    );
  }
}
