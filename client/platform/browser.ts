import { openBrowserJournal } from "../journal/indexeddb.ts";
import type { Journal } from "../journal/journal.ts";
import type { LoggedRun } from "../run.ts";

export const journalOf = (run: string): Promise<Journal> => openBrowserJournal(run);

export const platform = {
  url: (): string => globalThis.location?.origin ?? "http://127.0.0.1:8787",
  token: (): string | undefined => undefined,
  source: (): string => globalThis.location?.href.replace(/[?#].*/, "") ?? "",
  owner: (): { pid?: number; host?: string } => ({}),
  /** A page that goes away may come back, so a run ends only where its page says so; its journal is kept. */
  watch(_: LoggedRun): void {},
  unwatch(_: LoggedRun): void {},
};
