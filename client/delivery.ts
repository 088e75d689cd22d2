import { shown } from "../wire/error.ts";
import { maxFile } from "../wire/file.ts";
import { arrowType, pointsToIPC } from "../wire/point-ipc.ts";
import { Refusal, type Api, type RequestOptions } from "./api.ts";
import { gzip, sha256 } from "./bytes.ts";
import {
  operationRecord,
  readRecords,
  type Head,
  type Journal,
  type Operation,
} from "./journal/journal.ts";
import { planCut, type Cut, type OperationOf } from "./plan.ts";
import { backOff, isFinal } from "./retry.ts";

/** The least time between two rounds of requests of a run that is logging, in ms. */
const interval = 500;
/** The longest that a server may ask to be left alone, in ms. */
const longestPause = 3_600_000;
/** How long a run may say nothing before it sends a heartbeat, in ms. */
const beatAfter = 15_000;

/** How far a delivery is. */
export interface Progress {
  /** bytes of the journal delivered, and in all */
  delivered: number;
  total: number;
  points: number;
  /** what went wrong last, while it is being tried again or for good */
  problem?: string | undefined;
}

/**
 * Delivers a journal to its server: cuts it into requests, numbers them, notes the numbers in the journal before they
 * are sent, and sends each until it is answered. The same code sends what a live run logs and what a dead one left.
 */
export class Delivery {
  readonly #journal: Journal;
  readonly #api: Api;
  readonly #warn: (message: string) => void;
  #head!: Head;
  #shapes: string[][] = [];
  /** the cuts made before, by where they begin */
  #cuts = new Map<number, { seq: number; from: number; to: number }>();
  #seq = 0;
  #delivered = 0;
  #points = 0;
  #isFinished = false;
  #problem: string | undefined;
  #refused = false;
  #warned = false;
  #running: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** asked to drain, or nudged, while a round was under way */
  #again = false;
  #more = false;
  #heard = Date.now();
  #stopped = new AbortController();
  /** ends the pause between two attempts, unless the server asked for it */
  #wake: (() => void) | undefined;

  /** whether the server is on this machine, where compressing costs more than sending */
  readonly #isNear: boolean;

  private constructor(journal: Journal, api: Api, warn: (message: string) => void) {
    this.#isNear = /^(127\.0\.0\.1|localhost|\[::1\])$/.test(new URL(api.url).hostname);
    this.#journal = journal;
    this.#api = api;
    this.#warn = warn;
  }

  /** Returns the delivery of a journal, with what an earlier process did of it found out. */
  static async of(
    journal: Journal,
    api: Api,
    { warn = (message: string) => console.warn(message) } = {},
  ): Promise<Delivery> {
    const delivery = new Delivery(journal, api, warn);
    await delivery.#recover();
    return delivery;
  }

  /** Finds the cuts and acknowledgements, and the shapes declared before what is delivered; trims what is half written. */
  async #recover(): Promise<void> {
    const shapes: { at: number; keys: string[] }[] = [];
    let size = 0;
    for await (const { start, end, operation } of this.#records(0)) {
      size = end;
      if (operation?.op === "head") this.#head = operation;
      else if (operation?.op === "shape") shapes.push({ at: start, keys: operation.keys });
      else if (operation?.op === "cut") {
        this.#cuts.set(operation.from, operation);
        this.#seq = Math.max(this.#seq, operation.seq + 1);
      } else if (operation?.op === "done")
        this.#delivered = Math.max(this.#delivered, operation.to);
    }
    if (size < this.#journal.size) this.#journal.trim(size);
    this.#shapes = shapes.filter(({ at }) => at < this.#delivered).map(({ keys }) => keys);
  }

  async *#records(from: number) {
    const page = 4_000_000;
    for (let at = from; at < this.#journal.size;) {
      let size = page;
      let end = at;
      while (end === at) {
        const bytes = await this.#journal.read(at, at + size);
        for (const record of readRecords(bytes, at)) {
          yield record;
          end = record.end;
        }
        if (end === at && bytes.length < size) return; // a record cut off by a crash
        size *= 2;
      }
      at = end;
    }
  }

  get head(): Head {
    return this.#head;
  }

  get progress(): Progress {
    return {
      delivered: this.#delivered,
      total: this.#journal.size,
      points: this.#points,
      problem: this.#problem,
    };
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** Whether the server refused points for good: they stay in the journal. */
  get isRefused(): boolean {
    return this.#refused;
  }

  /** Says that there is something to deliver, soon. */
  nudge(): void {
    if (this.#running) this.#more = true;
    else if (this.#timer === undefined && this.isOpen)
      this.#wait(interval, () => void this.drain());
  }

  /** Sends a heartbeat if nothing else was sent for a while. */
  async beat(): Promise<void> {
    if (this.#running || Date.now() - this.#heard < beatAfter) return;
    this.#heard = Date.now();
    await this.#api.request("POST", `/runs/${this.#head.run}/heartbeat`).catch(() => undefined);
  }

  /** Delivers all there is by now; resolves when that is delivered or refused for good, or `stop` is called. */
  drain(): Promise<void> {
    if (!this.#running) clearTimeout(this.#timer);
    this.#wake?.();
    this.#again = true;
    return (this.#running ??= this.#deliver());
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#stopped.abort();
  }

  /** Whether there may be more to deliver: it was neither stopped nor refused, nor has the run ended. */
  get isOpen(): boolean {
    return !this.#stopped.signal.aborted && !this.#refused && !this.#isFinished;
  }

  async #deliver(): Promise<void> {
    this.#timer = undefined;
    try {
      while (this.isOpen && this.#again) {
        this.#again = false;
        for (let cut; this.isOpen && (cut = await this.#nextCut());) await this.#sendCut(cut);
      }
    } catch (error) {
      // A mistake of ours or an unreadable journal must not end the training, whose unhandled rejection this would be.
      this.#problem = (error as Error).message;
      this.#refused = true;
      this.#warn(
        `assay: run ${this.#head.run} cannot be sent: ${this.#problem}; its journal is ${this.#journal.place}`,
      );
    }
    this.#running = undefined;
    if (this.#more) {
      this.#more = false;
      this.nudge();
    }
  }

  /**
   * Makes the next cut, or finds it made before; notes it in the journal, so that a later process makes the same. What
   * stands before a cut that was made before says nothing to the server, or it would have been in a cut itself.
   */
  async #nextCut(): Promise<(Cut & { seq: number }) | undefined> {
    const from = this.#delivered;
    const known = [...this.#cuts.values()].find((cut) => cut.from >= from);
    const to = known?.from === from ? known.to : (known?.from ?? Infinity);
    const records = [];
    for await (const record of this.#records(from)) {
      records.push(record);
      if (record.end >= to || (to === Infinity && record.end - from > 2_000_000)) break;
    }
    const shapes = [...this.#shapes];
    const cut = planCut(records, shapes, { from, to });
    if (cut.to === from) return undefined;
    this.#nextShapes = shapes;
    if (isEmpty(cut)) {
      this.#acknowledge(cut, { note: false });
      return this.#nextCut();
    }
    const seq = known?.from === from ? known.seq : this.#seq++;
    if (known?.from !== from) this.#note({ op: "cut", seq, from, to: cut.to });
    return { ...cut, seq };
  }

  #nextShapes: string[][] = [];

  #note(operation: Operation): void {
    this.#journal.append(operationRecord(operation));
  }

  #acknowledge(cut: Cut, { note = true } = {}): void {
    this.#delivered = cut.to;
    this.#shapes = this.#nextShapes;
    this.#cuts.delete(cut.from);
    if (note) this.#note({ op: "done", to: cut.to });
  }

  async #sendCut(cut: Cut & { seq: number }): Promise<void> {
    const run = `/runs/${this.#head.run}`;
    const query = { writer: this.#head.writer, seq: cut.seq };
    if (cut.start && !(await this.#send("start", "POST", "/runs", { body: cut.start }))) return;
    if (cut.patch && !(await this.#send("patch", "PATCH", run, { body: cut.patch }))) return;
    if (cut.points) {
      const bytes = pointsToIPC(cut.points);
      const headers = {
        "content-type": arrowType,
        ...(this.#isNear ? {} : { "content-encoding": "gzip" }),
      };
      const body = this.#isNear ? bytes : await gzip(bytes);
      if (!(await this.#send("points", "POST", `${run}/points`, { query, body, headers }))) return;
      this.#points += cut.points.step.length;
    }
    if (
      cut.lines.length &&
      !(await this.#send("lines", "POST", `${run}/console`, { query, body: cut.lines }))
    )
      return;
    for (const file of cut.files) if (!(await this.#sendFile(file))) return;
    if (cut.finish && !(await this.#send("finish", "POST", `${run}/finish`, { body: cut.finish })))
      return;
    this.#acknowledge(cut);
    this.#isFinished = cut.finish !== undefined;
  }

  #sendFile(file: OperationOf<"file">): Promise<boolean> {
    const encoded = file.path.split("/").map(encodeURIComponent).join("/");
    const path = `/runs/${this.#head.run}/files/${encoded}`;
    return this.#send("file", "PUT", path, () => this.#openFile(file));
  }

  /** Opens a file anew for each attempt, as one on disk may have changed since; undefined, and said, if that is in vain. */
  async #openFile(file: OperationOf<"file">, tries = 3): Promise<RequestOptions | undefined> {
    const { path, reference, type } = file;
    const content = await this.#journal.content(reference);
    if (!content) return this.#passOver(path, `is gone: ${reference}`);
    const { size } = content;
    if (size > maxFile)
      return this.#passOver(path, `is too large: ${size} bytes, limit ${maxFile}`);
    const isSmall = size <= 32_000_000;
    const part = content.slice(0, isSmall ? size : 1);
    const bytes = await part.arrayBuffer().catch(() => undefined);
    if (!bytes && tries > 1) return this.#openFile(file, tries - 1); // it was being written
    if (!bytes) return this.#passOver(path, `cannot be read: ${reference}`);
    if (!isSmall) return { body: content, headers: { "content-type": type } };
    const headers = { "content-type": type, "x-content-sha256": await sha256(bytes) };
    return { body: new Uint8Array(bytes), headers };
  }

  #passOver(path: string, problem: string): undefined {
    this.#warn(`assay: artifact ${shown(path)} ${problem}`);
  }

  /**
   * Sends one request until it is answered. Resolves to false where delivery must end: it was stopped, or the server
   * refused the run or its points for good. A refused patch, line or file is said once and passed over, as is a request
   * that `options` gives up.
   */
  async #send(
    what: "start" | "patch" | "points" | "lines" | "file" | "finish",
    method: string,
    path: string,
    options: RequestOptions | (() => Promise<RequestOptions | undefined>),
  ): Promise<boolean> {
    for (let attempt = 0; ; attempt++) {
      if (this.#stopped.signal.aborted) return false;
      try {
        const request = typeof options === "function" ? await options() : options;
        if (!request) return true;
        const response = await this.#api.request(method, path, {
          ...request,
          signal: AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(120_000)]),
        });
        await response.arrayBuffer();
        // The page of a proxy or a sign-in is no receipt.
        const type = response.headers.get("content-type") ?? "nothing";
        if (!type.includes("json")) throw new Error(`it answers ${type}, not JSON`);
        this.#heard = Date.now();
        this.#problem = undefined;
        return true;
      } catch (error) {
        if (this.#stopped.signal.aborted) return false;
        if (isFinal(error)) {
          this.#warn(`assay: ${what} of run ${this.#head.run} refused: ${error.message}`);
          if (what === "patch" || what === "lines" || what === "file") return true;
          this.#problem = error.message;
          this.#refused = true;
          return false;
        }
        this.#problem = reason(error);
        if (!this.#warned) {
          this.#warned = true;
          this.#warn(
            `assay: ${this.#api.url} does not answer (${this.#problem}); logging goes on into ${this.#journal.place}`,
          );
        }
        await this.#pause(
          backOff(attempt),
          error instanceof Refusal ? error.retryAfter : undefined,
        );
      }
    }
  }

  /** Waits for the longer of the two; where the server asked for nothing, `drain` may end the wait. */
  #pause(ms: number, asked = 0): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        this.#stopped.signal.removeEventListener("abort", end);
        clearTimeout(this.#timer);
        this.#timer = this.#wake = undefined;
        resolve();
      };
      this.#stopped.signal.addEventListener("abort", end);
      if (!asked) this.#wake = end;
      this.#wait(Math.max(ms, Math.min(asked, longestPause)), end);
    });
  }

  /** A timer that keeps no process alive; `finish` does that while it waits. */
  #wait(ms: number, then: () => void): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      then();
    }, ms);
    (this.#timer as { unref?: () => void }).unref?.();
  }
}

const isEmpty = (cut: Cut): boolean =>
  !cut.start &&
  !cut.patch &&
  !cut.points &&
  !cut.finish &&
  cut.lines.length + cut.files.length === 0;

function reason(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? message;
}
