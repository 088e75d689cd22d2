import { parseArgs } from "node:util";
import { journalFolder, journalsIn, openFileJournal } from "../journal/file.ts";
import { platform } from "../platform/node.ts";
import { syncJournal, type SyncOptions, type SyncOutcome } from "../sync.ts";
import { wholeNumber } from "./arguments.ts";
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
  const outcomes: SyncOutcome[] = [];
  const timeout = 1000 * wholeNumber("timeout", values.timeout);
  const bar = progressBar();
  for (const path of paths)
    outcomes.push(
      await syncFile(path, {
        url: values.url,
        token: values.token ?? platform.token(),
        timeout,
        onProgress: bar.set,
      }),
    );
  bar.end();
  if (values.json) console.log(JSON.stringify(outcomes));
  else say(outcomes);
  return outcomes.every(({ state }) => state === "sent" || state === "running") ? 0 : 1;
}

/** Sends one journal of a file. */
async function syncFile(path: string, options: Omit<SyncOptions, "isAlive">): Promise<SyncOutcome> {
  try {
    if (!path.endsWith(".journal")) throw new Error("not a journal"); // what says nothing is removed
    return await syncJournal(openFileJournal(path, { isNew: false }), {
      ...options,
      isAlive: platform.isAlive,
    });
  } catch (error) {
    return {
      run: path,
      url: "",
      points: 0,
      state: "unreadable",
      problem: (error as Error).message,
    };
  }
}

function say(outcomes: SyncOutcome[]): void {
  if (outcomes.length === 0) console.log("nothing to send");
  for (const { run, url, points, state, problem } of outcomes) {
    const text = {
      sent: `sent to ${url}, ${points} points`,
      running: "is still being logged",
      waiting: `not sent yet to ${url}: ${problem}`,
      refused: `refused by ${url}: ${problem}`,
      unreadable: `cannot be read: ${problem}`,
    }[state];
    console.log(`${run}  ${text}`);
  }
}
