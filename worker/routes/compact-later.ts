import type { Context } from "hono";
import { compactRun } from "../db/compact.ts";
import type { App } from "../env.ts";

/** Runs of which this isolate is making segments: a second time would come to nothing. */
const compacting = new Set<number>();

/** Makes segments of a run's points after the answer is sent. */
export function compactLater(c: Context<App>, run: number): void {
  if (compacting.has(run)) return;
  compacting.add(run);
  c.executionCtx.waitUntil(
    compactRun(c.env, run)
      .catch((error: unknown) => console.error(error)) // nothing is lost; the cron tries again
      .finally(() => compacting.delete(run)),
  );
}
