import { signal } from "@preact/signals-core";
import type { Table } from "apache-arrow";
import { cursorOf, type Lab } from "../index.ts";
import type { RunRow } from "./runs.ts";

/** One metric of one run, in the order of its steps. */
export interface Series {
  step: number[];
  value: number[];
}

/** How long to wait between two questions for changes, in ms. */
const pollEvery = 1500;

/** An experiment that is being watched: its runs, and the points of those that are shown. Tables are loaded once; then only what changed is. */
export class LiveExperiment {
  readonly runs = signal<ReadonlyMap<string, RunRow>>(new Map());
  /** run → key → series; `version` tells that something was appended */
  readonly series = new Map<string, Map<string, Series>>();
  readonly version = signal(0);
  /** when the server last answered, and what is wrong if it does not */
  readonly updated = signal(0);
  readonly problem = signal<string | undefined>(undefined);
  readonly loaded = signal(false);
  readonly #lab: Lab;
  readonly #experiment: string;
  readonly #columns: string[];
  /** which runs' points are wanted */
  #shown: ReadonlySet<string> = new Set();
  /** how far the points of each run are loaded */
  readonly #cursors = new Map<string, string>();
  /** the runs that changed since their points were loaded, shown or not */
  readonly #behind = new Set<string>();
  #cursor: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking: Promise<void> = Promise.resolve();
  #closed = false;

  /** `experiment` is a name; `columns` of the runs table, as `lab.runs` takes them. */
  constructor(lab: Lab, experiment: string, columns: string[]) {
    this.#lab = lab;
    this.#columns = columns;
    this.#experiment = experiment;
    document.addEventListener("visibilitychange", this.#onVisible);
    this.#poll();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#onVisible);
  }

  readonly #onVisible = (): void => {
    if (document.visibilityState === "visible") this.#poll();
  };

  /** Says which runs' points are wanted; loads those that are not there yet. */
  show(runs: ReadonlySet<string>): void {
    this.#shown = runs;
    this.#ask(() => this.#loadPoints());
  }

  #poll(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#ask(async () => {
      await this.#loadRuns();
      await this.#loadPoints();
    });
    void this.#asking.then(() => {
      clearTimeout(this.#timer);
      if (!this.#closed && document.visibilityState === "visible")
        this.#timer = setTimeout(() => this.#poll(), pollEvery);
    });
  }

  /** Questions are asked one after the other, so that no answer overtakes another. */
  #ask(question: () => Promise<void>): void {
    this.#asking = this.#asking
      .then(() => (this.#closed ? undefined : question()))
      .then(
        () => {
          this.problem.value = undefined;
          this.updated.value = Date.now();
        },
        (error: Error) => {
          this.problem.value = error.message;
        },
      );
  }

  async #loadRuns(): Promise<void> {
    const table = await this.#lab.runs(this.#experiment, {
      columns: this.#columns,
      ...(this.#cursor === undefined ? {} : { since: this.#cursor }),
    });
    this.#cursor = cursorOf(table);
    const changed = table.toArray().map((row) => row!.toJSON() as RunRow);
    if (changed.length || !this.loaded.value) {
      const runs = new Map(this.runs.value);
      for (const run of changed)
        if (run.archived || run.deleted || run.experiment !== this.#experiment) runs.delete(run.id);
        else runs.set(run.id, run);
      this.runs.value = runs;
      this.loaded.value = true;
    }
    for (const { id } of changed) this.#behind.add(id);
  }

  /** Loads what is new of the runs that are shown; a run stays behind until its points are here. */
  async #loadPoints(): Promise<void> {
    const ids = [...this.#shown].filter((id) => this.#behind.has(id));
    const groups = Map.groupBy(ids, (id) => this.#cursors.get(id) ?? "");
    for (const [since, run] of groups) {
      const table = await this.#lab.points({ run, ...(since ? { since } : {}) });
      const cursor = cursorOf(table)!;
      this.#append(table);
      for (const id of run) {
        this.#cursors.set(id, cursor);
        this.#behind.delete(id);
      }
    }
    if (ids.length) this.version.value++;
  }

  /** Appends a table of points to the series, batch by batch over the columns' own arrays. */
  #append(table: Table): void {
    for (const batch of table.batches) {
      const [run, key, step, , value] = batch.data.children as unknown as [
        Data,
        Data,
        Data,
        Data,
        Data,
      ];
      const runNames = run.dictionary!;
      const keyNames = key.dictionary!;
      let [last, series]: [number, Series | undefined] = [-1, undefined];
      for (let i = 0; i < batch.numRows; i++) {
        const at = run.values[i]! * 65_536 + key.values[i]!;
        if (at !== last)
          [last, series] = [
            at,
            this.#seriesOf(runNames.get(run.values[i]!), keyNames.get(key.values[i]!)),
          ];
        insert(series!, step.values[i]!, value.values[i]!);
      }
    }
  }

  #seriesOf(run: string, key: string): Series {
    let keys = this.series.get(run);
    if (!keys) this.series.set(run, (keys = new Map()));
    let series = keys.get(key);
    if (!series) keys.set(key, (series = { step: [], value: [] }));
    return series;
  }
}

type Data = { values: ArrayLike<number>; dictionary?: { get(i: number): string } };

/** Keeps a series in the order of steps; of equal steps the later value comes last. */
function insert({ step, value }: Series, s: number, v: number): void {
  let at = step.length;
  while (at > 0 && step[at - 1]! > s) at--;
  if (at === step.length) {
    step.push(s);
    value.push(v);
  } else {
    step.splice(at, 0, s);
    value.splice(at, 0, v);
  }
}
