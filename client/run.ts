import { isName } from "../wire/parse.ts";
import { shown } from "../wire/error.ts";
import { checkPath } from "../wire/file.ts";
import { maybeNumber } from "../wire/json.ts";
import { maxTime, type EndState } from "../wire/run.ts";
import type { Delivery } from "./delivery.ts";
import { operationRecord, type Journal, type Operation } from "./journal/journal.ts";
import { Tape } from "./tape.ts";

/** What `finish` resolves to. */
export interface Finished {
  /** whether the server has everything; if not, the journal keeps it for `assay sync` */
  delivered: boolean;
  state: EndState;
}

/** Options of one `log`. */
export interface LogOptions {
  /** where on the x axis the values stand; defaults to one more than the last step */
  step?: number;
  /** when they were measured, in ms since 1970; defaults to now */
  time?: number;
}

/** Metrics to log: numbers, by key; nested objects join their keys with "/". */
export type Values = {
  [key: string]: number | bigint | boolean | string | null | undefined | Values;
};

// In a loop without a pause, this many rows a millisecond go to the journal at once; the rest go with the next.
// A journal write takes some 2 µs, so a loop slower than 60 µs a step never returns from `log` before its row is safe.
const writesPerTick = 16;
const beatEvery = 15_000;

/**
 * A run that is being logged. None of its methods waits for the server or throws because of it: what is logged goes to
 * a journal first and from there to the server, whenever it answers.
 */
export class LoggedRun {
  readonly id: string;
  /** the run's page */
  readonly url: string;
  readonly #journal: Journal;
  readonly #delivery: Delivery;
  readonly #tape: Tape;
  readonly #closed: (run: LoggedRun) => void;
  readonly #beats: ReturnType<typeof setInterval>;
  readonly #said = new Set<string>();
  readonly #keeping = new Set<Promise<void>>();
  #nextStep = 0;
  #tick = 0;
  #writes = 0;
  #isTurnPending = false;
  #finished: Promise<Finished> | undefined;
  #endState: EndState | undefined;

  /** Runs are started by `lab.startRun`. */
  constructor({
    id,
    url,
    journal,
    delivery,
    closed,
  }: {
    id: string;
    url: string;
    journal: Journal;
    delivery: Delivery;
    closed: (run: LoggedRun) => void;
  }) {
    this.id = id;
    this.#closed = closed;
    this.url = url;
    this.#journal = journal;
    this.#delivery = delivery;
    this.#tape = new Tape((keys) => journal.append(operationRecord({ op: "shape", keys })));
    this.#beats = setInterval(() => void delivery.beat(), beatEvery);
    (this.#beats as { unref?: () => void }).unref?.();
  }

  /** Logs values at a step: `run.log({ loss, "val/acc": acc }, { step })`. Returns at once. */
  log(values: Values, options?: LogOptions): void {
    try {
      const now = Date.now();
      const step = options?.step ?? this.#nextStep;
      const time = options?.time ?? now;
      if (!this.#isLoggable(step, time)) return;
      this.#nextStep = step + 1;
      if (!this.#tape.repeat(values, step, time)) this.#logAnew(values, step, time);
      this.#writeSoon(now);
    } catch (error) {
      // A getter that throws, a value without end: whatever it is, the training goes on.
      this.#sayOnce("log", `not logged: ${(error as Error).message}`);
    }
  }

  #isLoggable(step: number, time: number): boolean {
    if (this.#finished) this.#sayOnce("finished", "logged after the run finished: dropped");
    else if (!(step <= Number.MAX_SAFE_INTEGER && step >= -Number.MAX_SAFE_INTEGER))
      this.#sayOnce("step", `invalid step: ${step}: dropped`);
    else if (!(time >= 0 && time <= maxTime))
      this.#sayOnce("time", `invalid time: ${time}: dropped`);
    else return true;
    return false;
  }

  /** Writes the tape to the journal now, or, where the loop is faster than that pays, at the turn's end. */
  #writeSoon(now: number): void {
    if (now !== this.#tick) {
      this.#tick = now;
      this.#writes = writesPerTick;
    }
    if (this.#writes > 0) {
      this.#writes--;
      this.#write();
    } else if (!this.#isTurnPending) {
      this.#isTurnPending = true;
      queueMicrotask(this.#write);
    }
  }

  /** A row of other keys than the last, or one that finds no room. */
  #logAnew(values: Values, step: number, time: number): void {
    const keys: string[] = [];
    const numbers: number[] = [];
    this.#flatten(values, "", keys, numbers);
    if (keys.length === 0) return;
    if (!this.#tape.addRow(keys, numbers, step, time)) {
      this.#write();
      this.#tape.addRow(keys, numbers, step, time);
    }
  }

  #flatten(values: Values, prefix: string, keys: string[], numbers: number[]): void {
    for (const [name, value] of Object.entries(values)) {
      const key = prefix + name;
      const number =
        typeof value === "bigint" || typeof value === "boolean"
          ? Number(value)
          : maybeNumber(value);
      if (number === undefined && typeof value === "object" && value !== null)
        this.#flatten(value, `${key}/`, keys, numbers);
      else if (number === undefined)
        this.#sayOnce(key, `invalid value of ${shown(key)}: ${shown(value)}: dropped`);
      else if (!isName(key))
        this.#sayOnce(key.slice(0, 100), `invalid key: ${shown(key)}: dropped`);
      else {
        keys.push(key);
        numbers.push(number);
      }
    }
  }

  readonly #write = (): void => {
    this.#isTurnPending = false;
    if (this.#tape.isEmpty) return;
    this.#journal.append(this.#tape.take());
    this.#delivery.nudge();
  };

  #append(operation: Operation): void {
    if (this.#finished) return this.#sayOnce("finished", "changed after the run finished: dropped");
    this.#write();
    this.#journal.append(operationRecord(operation));
    this.#delivery.nudge();
  }

  /** Sets params that were not known at the start; a param that is set keeps its value. */
  param(key: string, value: unknown): void {
    this.#append({ op: "patch", body: { params: { [key]: value } } });
  }

  /** Sets a tag; null takes it away. */
  tag(key: string, value: string | null = ""): void {
    this.#append({ op: "patch", body: { tags: { [key]: value } } });
  }

  /** Sets the run's note, as Markdown. */
  note(note: string): void {
    this.#append({ op: "patch", body: { note } });
  }

  /** Adds to the run's console; each line of the text is a line there. */
  print(
    text: string,
    { stream = "out", time = Date.now() }: { stream?: "out" | "err"; time?: number } = {},
  ): void {
    for (const line of text.replace(/\n$/, "").split("\n"))
      this.#append({ op: "print", time, stream, text: line.toWellFormed().slice(0, 100_000) });
  }

  /**
   * Keeps a file with the run: `run.artifact("model.onnx")` from disk under its own path, or
   * `run.artifact("plots/roc.png", bytes)` from memory. The content of a Blob or bytes may change afterwards; a file on
   * disk is read when it is sent.
   */
  artifact(
    path: string,
    content: Blob | Uint8Array | string = path,
    { type }: { type?: string } = {},
  ): void {
    if (this.#finished) return this.#sayOnce("finished", "changed after the run finished: dropped");
    const name = typeof content === "string" && content === path ? relative(path) : path;
    const keeping: Promise<void> = Promise.resolve()
      .then(() => checkPath(name))
      .then(() => this.#journal.keep(content instanceof Uint8Array ? content.slice() : content))
      .then((reference) => {
        this.#write();
        this.#journal.append(
          operationRecord({
            op: "file",
            path: name,
            reference,
            type: type ?? typeOf(name, content),
          }),
        );
        this.#delivery.nudge();
      })
      .catch((error: Error) =>
        this.#sayOnce(name, `artifact ${shown(name)} not kept: ${error.message}`),
      )
      .finally(() => this.#keeping.delete(keeping));
    this.#keeping.add(keeping);
  }

  /** Resolves when all that was logged so far is with the server, or after `timeout` ms; then it resolves to false. */
  async flush({ timeout = 10_000 }: { timeout?: number } = {}): Promise<boolean> {
    this.#write();
    await Promise.all(this.#keeping);
    const goal = this.#journal.size;
    await within(timeout, this.#delivery.drain());
    return this.#delivery.progress.delivered >= goal;
  }

  /** Ends the run. Waits for the server up to `timeout` ms, then leaves the rest to `assay sync`. Never throws. */
  finish(
    state: EndState = "finished",
    { error, timeout = 10_000 }: { error?: string; timeout?: number } = {},
  ): Promise<Finished> {
    return (this.#finished ??= this.#finish(state, error, timeout));
  }

  async #finish(state: EndState, error: string | undefined, timeout: number): Promise<Finished> {
    await Promise.all(this.#keeping);
    this.endNow(state, error);
    clearInterval(this.#beats);
    // A server that is known not to answer is given a last chance, not the whole time.
    const isDown = this.#delivery.progress.problem !== undefined;
    await within(isDown ? Math.min(timeout, 1000) : timeout, this.#delivery.drain());
    this.#delivery.stop();
    this.#closed(this);
    const delivered = this.#delivery.isFinished;
    if (delivered) await this.#journal.remove();
    else {
      const { problem } = this.#delivery.progress;
      console.warn(
        `assay: run ${this.id} is not with the server yet${problem ? ` (${problem})` : ""}; its journal is ${this.#journal.place}; send it with: assay sync`,
      );
      this.#journal.close();
    }
    return { delivered, state: this.#endState! };
  }

  /** Notes in the journal, without waiting for anything, how the run ended: for the moments before a process dies. */
  endNow(state: EndState, error?: string): void {
    if (this.#endState) return;
    this.#write();
    this.#endState = state;
    this.#journal.append(
      operationRecord({
        op: "finish",
        body: { state, ended: Date.now(), ...(error ? { error: error.slice(0, 100_000) } : {}) },
      }),
    );
  }

  #sayOnce(about: string, message: string): void {
    if (this.#said.has(about)) return;
    if (this.#said.size < 100) this.#said.add(about);
    else return;
    console.warn(`assay: run ${this.id}: ${message}`);
  }
}

/** A path on disk as a path in the run: its own if it is below here, else its name. */
const relative = (path: string): string =>
  /^([./\\]|[a-z]:)/i.test(path.replace(/^\.\//, ""))
    ? path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1)
    : path.replace(/^\.\//, "");

const types: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  svg: "image/svg+xml",
  csv: "text/csv",
  tsv: "text/tab-separated-values",
  txt: "text/plain",
  log: "text/plain",
  md: "text/markdown",
  json: "application/json",
  html: "text/html",
  parquet: "application/vnd.apache.parquet",
  arrow: "application/vnd.apache.arrow.file",
  mp4: "video/mp4",
  wav: "audio/wav",
  mp3: "audio/mpeg",
};

function typeOf(path: string, content: unknown): string {
  if (content instanceof Blob && content.type) return content.type;
  return types[path.slice(path.lastIndexOf(".") + 1).toLowerCase()] ?? "application/octet-stream";
}

/** Waits for a promise, but no longer than `ms`; meanwhile the process stays alive, as the timers of a delivery let it end. */
async function within(ms: number, promise: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  await Promise.race([promise, new Promise((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer!);
}
