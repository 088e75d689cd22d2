import { Api } from "./api.ts";
import { Delivery } from "./delivery.ts";
import { operationRecord, readHead, type Head, type Journal } from "./journal/journal.ts";

/** What became of one journal. */
export interface SyncOutcome {
  /** the run's id, or where the journal lies if even that cannot be read */
  run: string;
  url: string;
  /** how many points were sent now */
  points: number;
  state: "sent" | "running" | "waiting" | "refused" | "unreadable";
  problem?: string | undefined;
}

/** How to send a journal. */
export interface SyncOptions {
  /** where to; defaults to where the run was logging */
  url?: string | undefined;
  token?: string | undefined;
  /** how long to wait for the server where it takes nothing, in ms; defaults to a minute */
  timeout?: number;
  /** whether the process or page that writes the journal still lives */
  isAlive: (head: Head) => boolean | Promise<boolean>;
  onProgress?: (delivered: number, total: number, run: string) => void;
}

/**
 * Sends what a dead process left in a journal, and removes the journal when the server has it all. A run that ended
 * without a word is ended as killed. Journals of living processes are left alone.
 */
export async function syncJournal(
  journal: Journal,
  { url, token, timeout = 60_000, isAlive, onProgress }: SyncOptions,
): Promise<SyncOutcome> {
  try {
    const head = await readHead(journal);
    if (!head) {
      await journal.remove(); // its process died before it had logged anything
      return { run: journal.place, url: url ?? "", points: 0, state: "sent" };
    }
    const about = { run: head.run, url: url ?? head.url };
    if (await isAlive(head)) {
      journal.close();
      return { ...about, points: 0, state: "running" };
    }
    const delivery = await Delivery.of(journal, new Api(about.url, { token }), {
      warn: () => undefined,
    });
    let [before, since] = [-1, Date.now()];
    const timer = setInterval(() => {
      const { delivered, total } = delivery.progress;
      onProgress?.(delivered, total, head.run);
      if (delivered > before) [before, since] = [delivered, Date.now()];
      else if (Date.now() - since > timeout) delivery.stop();
    }, 200);
    await delivery.drain();
    if (delivery.isOpen) {
      const body = { state: "killed", error: "the process ended without a word" };
      journal.append(operationRecord({ op: "finish", body }));
      await delivery.drain();
    }
    clearInterval(timer);
    delivery.stop();
    const { points, problem = `nothing was taken for ${timeout / 1000} s` } = delivery.progress;
    if (delivery.isFinished) await journal.remove();
    else journal.close();
    const state = delivery.isFinished ? "sent" : delivery.isRefused ? "refused" : "waiting";
    return { ...about, points, state, ...(state === "sent" ? {} : { problem }) };
  } catch (error) {
    journal.close();
    return {
      run: journal.place,
      url: url ?? "",
      points: 0,
      state: "unreadable",
      problem: (error as Error).message,
    };
  }
}
