import { isName, parse } from "../wire/parse.ts";
import { shown } from "../wire/error.ts";
import { flattenParams, TagsPatch, type Params } from "../wire/config.ts";
import { checkPath } from "../wire/file.ts";
import { maybeNumber } from "../wire/json.ts";
import type { EndState } from "../wire/run.ts";
import { maxTime } from "../wire/time.ts";
import type { Delivery } from "./delivery.ts";
import { operationRecord, type Journal, type Operation } from "./journal/journal.ts";
import { typeOf } from "./media-type.ts";
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
/** The most keys of a row; one with more is logged as several at the same step, so that requests stay small. */
const widestRow = 2_500;
const longestText = 100_000;

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
  readonly #params: Map<string, Params[string]>;
  #nextStep = 0;
  #tick = 0;
  #writes = 0;
  #isTurnPending = false;
  #isOver = false;
  #finished: Promise<Finished> | undefined;
  #endState: EndState | undefined;

  /** Runs are started by `lab.startRun`. */
  constructor({
    id,
    url,
    journal,
    delivery,
    params,
    closed,
  }: {
    id: string;
    url: string;
    journal: Journal;
    delivery: Delivery;
    /** those known at the start */
    params: Params;
    closed: (run: LoggedRun) => void;
  }) {
    this.id = id;
    this.#closed = closed;
    this.url = url;
    this.#journal = journal;
    this.#delivery = delivery;
    this.#params = new Map(Object.entries(params));
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
      if (this.#isOver || !isStep(step) || !isTime(time)) return this.#sayWhy(step, time);
      this.#nextStep = step + 1;
      if (!this.#tape.repeat(values, step, time)) this.#logAnew(values, step, time);
      this.#writeSoon(now);
    } catch (error) {
      this.#sayMistake("values", error); // of a getter that throws: the training goes on
    }
  }

  /** Says, once, why a row is dropped. */
  #sayWhy(step: number, time: number): void {
    if (this.#isOver) this.#sayOnce("finished", "logged after the run finished: dropped");
    else if (!isStep(step)) this.#sayOnce("step", `invalid step: ${shown(step)}: dropped`);
    else this.#sayOnce("time", `invalid time: ${shown(time)}: dropped`);
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
    if (typeof values !== "object" || values === null)
      return this.#sayOnce("values", `invalid values: ${shown(values)}: dropped`);
    const keys: string[] = [];
    const numbers: number[] = [];
    this.#flatten(values, "", keys, numbers, []);
    for (let at = 0; at < keys.length; at += widestRow)
      this.#addRow(keys.slice(at, at + widestRow), numbers.slice(at, at + widestRow), step, time);
  }

  #addRow(keys: string[], numbers: number[], step: number, time: number): void {
    if (!this.#tape.addRow(keys, numbers, step, time)) {
      this.#write();
      this.#tape.addRow(keys, numbers, step, time);
    }
    if (keys.length === widestRow) this.#write();
  }

  /** Gathers numbers under their joined keys; an object that stands inside itself is no value. */
  #flatten(
    values: Values,
    prefix: string,
    keys: string[],
    numbers: number[],
    around: Values[],
  ): void {
    for (const [name, value] of Object.entries(values)) {
      const key = prefix + name;
      const number =
        typeof value === "bigint" || typeof value === "boolean"
          ? Number(value)
          : maybeNumber(value);
      const isNested = number === undefined && typeof value === "object" && value !== null;
      if (isNested ? key.length >= 250 : number !== undefined && !isName(key))
        this.#sayOnce(key, `invalid key: ${shown(key)}: dropped`);
      else if (isNested && value !== values && !around.includes(value))
        this.#flatten(value, `${key}/`, keys, numbers, [...around, values]);
      else if (number === undefined)
        this.#sayOnce(key, `invalid value of ${shown(key)}: ${shown(value)}: dropped`);
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

  /** Appends what `make` returns, unless it throws: then that is said, and the program goes on. */
  #append(what: string, make: () => Operation[]): void {
    if (this.#isOver) return this.#sayOnce("finished", "changed after the run finished: dropped");
    try {
      const records = make().map(operationRecord);
      this.#write();
      for (const record of records) this.#journal.append(record);
      this.#delivery.nudge();
    } catch (error) {
      this.#sayMistake(what, error);
    }
  }

  /** Sets params that were not known at the start; a param that is set keeps its value. */
  param(key: string, value: unknown): void {
    this.#append(`param ${key}`, () => {
      const params = Object.entries(flattenParams({ [key]: value })).filter((entry) =>
        this.#isNew(...entry),
      );
      return params.length ? [{ op: "patch", body: { params: Object.fromEntries(params) } }] : [];
    });
  }

  /** Whether a param was not set before, which it now is; said where it was, to another value. */
  #isNew(key: string, value: Params[string]): boolean {
    const before = this.#params.get(key);
    if (before === undefined) this.#params.set(key, value);
    else if (!Object.is(before, value))
      this.#sayOnce(
        `param ${key}`,
        `param is already set: ${key} = ${shown(before)}, not ${shown(value)}: dropped`,
      );
    return before === undefined;
  }

  /** Sets a tag; null takes it away. */
  tag(key: string, value: string | null = ""): void {
    this.#append(`tag ${key}`, () => [
      { op: "patch", body: { tags: parse(TagsPatch, { [key]: value }) } },
    ]);
  }

  /** Sets the run's note, as Markdown. */
  note(note: string): void {
    this.#append("note", () => [{ op: "patch", body: { note: wellFormed(note) } }]);
  }

  /** Adds to the run's console; each line of the text is a line there. */
  print(
    text: string,
    { stream = "out", time = Date.now() }: { stream?: "out" | "err"; time?: number } = {},
  ): void {
    this.#append("print", () =>
      textOf(text)
        .replace(/\n$/, "")
        .split("\n")
        .map((line) => ({
          op: "print",
          time: isTime(time) ? time : Date.now(),
          stream: stream === "err" ? "err" : "out",
          text: wellFormed(line),
        })),
    );
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
    if (this.#isOver) return this.#sayOnce("finished", "changed after the run finished: dropped");
    const name = typeof content === "string" && content === path ? relative(path) : path;
    const keeping = this.#keep(name, content, type)
      .catch((error: Error) =>
        this.#sayOnce(`artifact ${name}`, `artifact ${shown(name)} not kept: ${error.message}`),
      )
      .finally(() => this.#keeping.delete(keeping));
    this.#keeping.add(keeping);
  }

  async #keep(name: string, content: Blob | Uint8Array | string, given?: string): Promise<void> {
    const type = given ?? typeOf(checkPath(name), content);
    if (!/^[\x20-\x7e]+$/.test(type)) throw new Error(`invalid type: ${shown(type)}`);
    const reference = await this.#journal.keep(
      content instanceof Uint8Array ? content.slice() : content,
    );
    this.#write();
    this.#journal.append(operationRecord({ op: "file", path: name, reference, type }));
    this.#delivery.nudge();
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
    this.#isOver = true;
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
    this.#isOver = true;
    this.#endState = state;
    this.#journal.append(
      operationRecord({
        op: "finish",
        body: { state, ended: Date.now(), ...(error ? { error: wellFormed(error) } : {}) },
      }),
    );
  }

  #sayMistake(what: string, error: unknown): void {
    this.#sayOnce(what, `${shown(what)} dropped: ${textOf((error as Error)?.message ?? error)}`);
  }

  #sayOnce(about: string, message: string): void {
    const name = about.slice(0, 300);
    if (this.#said.has(name) || this.#said.size >= 100) return;
    this.#said.add(name);
    console.warn(`assay: run ${this.id}: ${message}`);
  }
}

/** A step that is a number of its own: beyond 2^53 neighbours are the same. */
const isStep = (step: unknown): step is number =>
  typeof step === "number" && step <= Number.MAX_SAFE_INTEGER && step >= -Number.MAX_SAFE_INTEGER;

const isTime = (time: unknown): time is number =>
  typeof time === "number" && time >= 0 && time <= maxTime;

/** A text as the server takes it: not too long, and without the half characters that cutting may leave. */
const wellFormed = (text: string): string => textOf(text).slice(0, longestText).toWellFormed();

/** JavaScript programs give what they like for a text. */
const textOf = (value: unknown): string => String(value);

/** A path on disk as a path in the run: its own if it is below here, else its name. */
const relative = (path: string): string =>
  /^([./\\]|[a-z]:)/i.test(path.replace(/^\.\//, ""))
    ? path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1)
    : path.replace(/^\.\//, "");

/** Waits for a promise, but no longer than `ms`; meanwhile the process stays alive, as the timers of a delivery let it end. */
async function within(ms: number, promise: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  await Promise.race([promise, new Promise((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer!);
}
