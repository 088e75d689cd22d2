import { openAsBlob } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { journalFolder, journalsIn, openFileJournal } from "../journal/file.ts";
import type { Head, Journal } from "../journal/journal.ts";
import type { LoggedRun } from "../run.ts";
import { bornOf } from "./born.ts";

/** How long a process that must end waits for the server, in ms. */
const lastWait = 5_000;

/** Opens the journal of a new run; where its folder cannot be written, one in memory has to do. */
export async function journalOf(run: string): Promise<Journal> {
  const path = join(journalFolder(), `${run}.journal`);
  try {
    return openFileJournal(path);
  } catch (error) {
    console.warn(
      `assay: cannot write ${path}: ${(error as Error).message}; a crash will lose what is not sent yet`,
    );
    return memoryJournal(`in memory, for lack of ${path}`);
  }
}

/** A journal that does not outlive its process. */
function memoryJournal(place: string): Journal {
  let bytes = new Uint8Array(65_536);
  let size = 0;
  const kept: Blob[] = [];
  return {
    place,
    get size() {
      return size;
    },
    append(records) {
      while (size + records.length > bytes.length) {
        const larger = new Uint8Array(bytes.length * 2);
        larger.set(bytes);
        bytes = larger;
      }
      bytes.set(records, size);
      size += records.length;
    },
    read: async (from, to) => bytes.slice(from, Math.min(to, size)),
    async keep(content) {
      if (typeof content === "string") return content;
      return `memory:${kept.push(content instanceof Blob ? content : new Blob([content as BlobPart])) - 1}`;
    },
    content: async (reference) =>
      reference.startsWith("memory:")
        ? kept[Number(reference.slice(7))]
        : openAsBlob(reference).catch(() => undefined),
    trim: (end) => void (size = end),
    remove: async () => undefined,
    close: () => undefined,
  };
}

/** The runs of this process that have not finished. */
const open = new Set<LoggedRun>();

export const platform = {
  url: (): string => process.env["ASSAY_URL"] || "http://127.0.0.1:8787",
  token: (): string | undefined => process.env["ASSAY_TOKEN"] || undefined,
  source: (): string => process.argv[1] ?? "",
  /** who writes the journal, so that `assay sync` leaves the journals of living processes alone */
  owner: (): Pick<Head, "pid" | "host" | "born"> => ({
    pid: process.pid,
    host: hostname(),
    born: bornOf(process.pid),
  }),

  isAlive({ pid, host, born }: Head): boolean {
    if (pid === undefined || host !== hostname()) return false;
    if (born !== undefined) return bornOf(pid) === born;
    try {
      process.kill(pid, 0); // a system that does not tell: Windows
      return true;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "EPERM";
    }
  },

  /** Returns how to open each journal that was left on this machine. */
  journals: async (): Promise<(() => Promise<Journal>)[]> =>
    journalsIn(journalFolder()).map((path) => async () => openFileJournal(path, { isNew: false })),

  /** Ends a run with its process: finished, failed by an uncaught exception, or killed by Ctrl-C or SIGTERM. */
  watch(run: LoggedRun): void {
    if (open.size === 0) addListeners();
    open.add(run);
  },
  /** A run that finished by itself needs no watching. */
  unwatch(run: LoggedRun): void {
    open.delete(run);
    if (open.size === 0) removeListeners();
  },
};

const onSignal: Record<string, () => void> = {
  SIGINT: () => void endBySignal("SIGINT", 130),
  SIGTERM: () => void endBySignal("SIGTERM", 143),
};

function addListeners(): void {
  process.on("beforeExit", onIdle);
  process.on("exit", onExit);
  process.on("uncaughtException", onException);
  for (const [name, listener] of Object.entries(onSignal)) process.on(name, listener);
}

function removeListeners(): void {
  process.off("beforeExit", onIdle);
  process.off("exit", onExit);
  process.off("uncaughtException", onException);
  for (const [name, listener] of Object.entries(onSignal)) process.off(name, listener);
}

const finishAll = (...[state, options]: Parameters<LoggedRun["finish"]>) =>
  Promise.all([...open].map((run) => run.finish(state, options)));

/** The last exception that nobody caught, as it will be told if the process ends because of it. */
let thrown: string | undefined;

/** The script has come to its end without saying so. */
function onIdle(code: number): void {
  void (code === 0 ? finishAll() : finishAll("failed", { error: thrown ?? `exit code ${code}` }));
}

/** process.exit leaves no time to send anything; the journal notes how it ended. */
function onExit(code: number): void {
  for (const run of open)
    if (code === 0) run.endNow("finished");
    else run.endNow("failed", thrown ?? `exit code ${code}`);
}

/** Does what Node does with an exception that nobody catches, after the runs have been told. */
function onException(error: unknown): void {
  thrown = String((error as Error)?.stack ?? error);
  if (process.listenerCount("uncaughtException") > 1) return; // the program has its own way with exceptions
  for (const run of open) run.endNow("failed", thrown);
  console.error(error);
  void finishAll("failed", { timeout: lastWait }).finally(() => process.exit(1));
}

let isEnding = false;

async function endBySignal(name: NodeJS.Signals, code: number): Promise<void> {
  if (process.listenerCount(name) > 1) return; // the program has its own way with signals
  if (isEnding) process.exit(code);
  isEnding = true;
  await finishAll("killed", { timeout: lastWait });
  process.exit(code);
}
