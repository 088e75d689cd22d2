import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { Api } from "../api.ts";
import { Delivery } from "../delivery.ts";
import { journalFolder, journalsIn, openFileJournal } from "../journal/file.ts";
import { operationRecord } from "../journal/journal.ts";
import { platform } from "../platform/node.ts";
import { connection } from "./connection.ts";
import { progressBar } from "./progress.ts";

export const summary = "Send what runs could not send";

export const help = `assay sync [JOURNAL…] [--url URL] [--token TOKEN] [--timeout 60] [--json]

Runs keep what they log in journals (ASSAY_HOME, or ~/.assay) until the server has it. This sends
what dead processes left, to where each was logging, or to --url. Sending twice changes nothing.
A run whose process died without a word ends as killed. Runs that are still being logged are left
alone.

Examples
  assay sync
  ASSAY_HOME=/scratch/me assay sync --url https://assay.example.com`;

/** What became of one journal. */
interface Outcome {
  run: string;
  url: string;
  points: number;
  state: "sent" | "running" | "waiting" | "refused" | "unreadable";
  problem?: string | undefined;
}

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...connection,
      timeout: { type: "string", default: "60" },
      json: { type: "boolean", default: false },
    },
  });
  const paths = positionals.length ? positionals : journalsIn(journalFolder());
  const outcomes: Outcome[] = [];
  for (const path of paths)
    outcomes.push(await syncJournal(path, { ...values, timeout: Number(values.timeout) * 1000 }));
  if (values.json) console.log(JSON.stringify(outcomes));
  else say(outcomes);
  return outcomes.every(({ state }) => state === "sent" || state === "running") ? 0 : 1;
}

/** Sends one journal that its process left; see `help`. */
async function syncJournal(
  path: string,
  {
    url,
    token = platform.token(),
    timeout,
  }: { url?: string | undefined; token?: string | undefined; timeout: number },
): Promise<Outcome> {
  const journal = openFileJournal(path, { isNew: false });
  const bar = progressBar();
  try {
    const head = (await Delivery.of(journal, new Api("http://localhost"))).head;
    if (!head) {
      await journal.remove(); // its process died before it had logged anything
      return { run: path, url: url ?? "", points: 0, state: "sent" };
    }
    const target = url ?? head.url;
    if (isAlive(head)) return { run: head.run, url: target, points: 0, state: "running" };
    const delivery = await Delivery.of(journal, new Api(target, { token }), {
      warn: () => undefined,
    });
    const timer = setInterval(
      () => bar.set(delivery.progress.delivered, delivery.progress.total, head.run),
      200,
    );
    await Promise.race([
      delivery.drain(),
      new Promise((resolve) => setTimeout(resolve, timeout).unref()),
    ]);
    if (!delivery.isFinished && !delivery.isRefused && !delivery.progress.problem) {
      journal.append(
        operationRecord({
          op: "finish",
          body: { state: "killed", error: "the process ended without a word" },
        }),
      );
      await delivery.drain();
    }
    clearInterval(timer);
    delivery.stop();
    const { points, problem } = delivery.progress;
    if (delivery.isFinished) await journal.remove();
    return {
      run: head.run,
      url: target,
      points,
      state: delivery.isFinished ? "sent" : delivery.isRefused ? "refused" : "waiting",
      problem,
    };
  } catch (error) {
    return {
      run: path,
      url: url ?? "",
      points: 0,
      state: "unreadable",
      problem: (error as Error).message,
    };
  } finally {
    bar.end();
  }
}

function isAlive({ pid, host }: { pid?: number; host?: string }): boolean {
  if (pid === undefined || host !== hostname()) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function say(outcomes: Outcome[]): void {
  if (outcomes.length === 0) console.log("nothing to send");
  for (const { run, url, points, state, problem } of outcomes) {
    const text = {
      sent: `sent to ${url}, ${points} points`,
      running: "is still being logged",
      waiting: `not sent: ${url} does not answer (${problem})`,
      refused: `refused by ${url}: ${problem}`,
      unreadable: `cannot be read: ${problem}`,
    }[state];
    console.log(`${run}  ${text}`);
  }
}
