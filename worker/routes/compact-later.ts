import type { Context } from "hono";
import { compactRun, fullTail } from "../db/compact.ts";
import type { App } from "../env.ts";

/** The runs that this isolate is at, since when (ms), and whether it was asked again meanwhile. */
const compacting = new Map<number, { since: number; again: boolean }>();
/** The platform ends what goes on after an answer within this time, without a word. */
const maxTime = 60_000;

/** Makes segments of a run's points after the answer is sent. Nothing is lost where that fails: the cron tries again. */
export function compactLater(c: Context<App>, run: number): void {
  const under = compacting.get(run);
  if (under && under.since > Date.now() - maxTime) under.again = true;
  else c.executionCtx.waitUntil(compact(c, run).catch((error: unknown) => console.error(error)));
}

async function compact(c: Context<App>, run: number): Promise<void> {
  const work = { since: Date.now(), again: true };
  compacting.set(run, work);
  try {
    while (work.again) {
      work.again = false;
      await compactRun(c.env, run, { least: fullTail });
    }
  } finally {
    if (compacting.get(run) === work) compacting.delete(run);
  }
}
