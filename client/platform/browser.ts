import { journalNames, openBrowserJournal } from "../journal/indexeddb.ts";
import type { Head, Journal } from "../journal/journal.ts";
import type { LoggedRun } from "../run.ts";

const lockOf = (run: string): string => `assay/${run}`;
/** How to let go of the locks by which other pages know that a run is still being logged. */
const held = new Map<string, () => void>();

/** Opens the journal of a new run. */
export const journalOf = (run: string): Promise<Journal> => openBrowserJournal(run);

export const platform = {
  url: (): string => globalThis.location?.origin ?? "http://127.0.0.1:8787",
  token: (): string | undefined => undefined,
  source: (): string => globalThis.location?.href.replace(/[?#].*/, "") ?? "",
  owner: (): { pid?: number; host?: string } => ({}),

  /** A page holds a lock while it logs a run; the browser takes it away when the page is gone. */
  async isAlive({ run }: Head): Promise<boolean> {
    const locks = await navigator.locks?.query();
    return locks?.held?.some(({ name }) => name === lockOf(run)) ?? held.has(run);
  },

  /** Returns how to open each journal that pages of this origin left. */
  journals: async (): Promise<(() => Promise<Journal>)[]> =>
    (await journalNames()).map((name) => () => openBrowserJournal(name)),

  /** A page that goes away may come back, so a run ends only where its page says so; its journal is kept. */
  watch({ id }: LoggedRun): void {
    void navigator.locks?.request(
      lockOf(id),
      () => new Promise<void>((letGo) => held.set(id, letGo)),
    );
  },
  unwatch({ id }: LoggedRun): void {
    held.get(id)?.();
    held.delete(id);
  },
};
