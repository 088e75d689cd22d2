import { flattenParams, type Params } from "../../wire/config.ts";
import { shown } from "../../wire/error.ts";
import { maybeNumber } from "../../wire/json.ts";
import { isName } from "../../wire/parse.ts";
import { arrowType, pointsToIPC } from "../../wire/point-ipc.ts";
import { takePoints, type Points } from "../../wire/point.ts";
import type { Dataset, RunLinks } from "../../wire/run-links.ts";
import type { NewRun, Run, RunPatch } from "../../wire/run.ts";
import { mergeSummaries, summarize, type Summary } from "../../wire/summary.ts";
import { Refusal } from "../api.ts";
import { gzip, sha256 } from "../bytes.ts";
import { isFinal } from "../retry.ts";
import type { FoundRun, OnSkip } from "./found.ts";
import { hashed, runIdFrom } from "./ids.ts";
import type { PatientApi } from "./patient.ts";
import type { ImportReport } from "./report.ts";
import { checkedTags, checkedTexts, isTime, maxNote, plainName } from "./write-experiment.ts";
import { writeFiles } from "./write-files.ts";

const maxSource = 2_000;

/** The tag that keeps the id a run had where it comes from, if that can be none here. */
export const sourceIdTag = "import.id";

/** Writes one found run: what is not here yet is added, what is here stays as it is, and at the end both are compared. */
export class RunWriter {
  readonly #api: PatientApi;
  readonly #found: FoundRun;
  readonly #report: ImportReport;
  #id = "";
  #run!: Run;
  #isNew = false;

  constructor(api: PatientApi, found: FoundRun, report: ImportReport) {
    this.#api = api;
    this.#found = found;
    this.#report = report;
  }

  readonly #skip: OnSkip = (skip) => this.#report.skipped.push(skip);

  #problem(what: string, why: string): void {
    this.#report.problems.push({ what, name: `run ${this.#found.id}`, why });
  }

  /** Finds or creates the run, without its points and files. */
  async open(experiment: string): Promise<void> {
    this.#id = await runIdFrom(this.#found.id);
    const body = await newRunFrom(this.#found, experiment, this.#skip);
    const there = await this.#api.maybe<Run>(`/runs/${this.#id}`);
    if (there) await this.#addMissing(there, body);
    else {
      this.#run = await this.#api.json<Run>("POST", "/runs", { body });
      this.#isNew = true;
      this.#report.runs.added++;
    }
  }

  async #addMissing(there: Run, { params, tags, note }: PlannedRun): Promise<void> {
    this.#run = there;
    const missing = <T>(wanted: Record<string, T>, held: object) =>
      Object.fromEntries(Object.entries(wanted).filter(([key]) => !Object.hasOwn(held, key)));
    const news = { params: missing(params, there.params), tags: missing(tags, there.tags) };
    const patch: RunPatch = {
      ...(Object.keys(news.params).length ? { params: news.params } : {}),
      ...(Object.keys(news.tags).length ? { tags: news.tags } : {}),
      ...(note && !there.note ? { note } : {}),
    };
    for (const [key, value] of Object.entries(this.#found.params))
      if (Object.hasOwn(there.params, key) && !isSameParam(there.params[key]!, value))
        this.#problem("param", `${key} is ${shown(there.params[key])}, not ${shown(value)}`);
    if (Object.keys(patch).length)
      this.#run = await this.#api.json("PATCH", `/runs/${this.#id}`, { body: patch });
  }

  /** Brings the points and files that are not here yet, ends the run as it ended, and compares. */
  async fill(): Promise<void> {
    const summaries = await this.#writePoints();
    await this.#writeFiles();
    await this.#writeLinks();
    await this.#end(summaries);
    this.#compare(summaries);
  }

  /**
   * Sends the points that the server does not have yet. Of each key they come in the order logged, to which trackers
   * only ever append: so many as it has, it has. Returns the summaries of all there are at the source.
   */
  async #writePoints(): Promise<Map<string, Summary>> {
    const summaries = new Map<string, Summary>();
    const passed = new Map<string, number>();
    const held = this.#run.metrics;
    for await (const lot of this.#found.points()) {
      const points = takePoints(lot, soundPlaces(lot, this.#found.id, this.#skip));
      for (const [key, summary] of summarize(points)) {
        const before = summaries.get(key);
        summaries.set(key, before ? mergeSummaries(before, summary) : summary);
      }
      const ranges = new Map<string, number>();
      const news: number[] = [];
      for (let i = 0; i < points.key.length; i++) {
        const key = points.keys[points.key[i]!]!;
        const n = passed.get(key) ?? 0;
        passed.set(key, n + 1);
        if (n < (Object.hasOwn(held, key) ? held[key]!.count : 0)) continue;
        if (!ranges.has(key)) ranges.set(key, n);
        news.push(i);
      }
      this.#report.points.found += points.key.length;
      if (news.length && !this.#run.deleted)
        await this.#sendPoints(compacted(takePoints(points, Uint32Array.from(news))), ranges);
    }
    return summaries;
  }

  /** The sender of points is named by what they are and where they stand: sent again they change nothing. */
  async #sendPoints(points: Points, ranges: Map<string, number>): Promise<void> {
    if (this.#run.state !== "running" && this.#run.state !== "scheduled")
      this.#run = await this.#api.json("POST", `/runs/${this.#id}/resume`); // it went on at the source
    const bytes = pointsToIPC(points);
    const writer = `import-${await hashed([await sha256(bytes as BufferSource), [...ranges]])}`;
    const headers = {
      "content-type": arrowType,
      ...(this.#api.isNear ? {} : { "content-encoding": "gzip" }),
    };
    await this.#api.json("POST", `/runs/${this.#id}/points`, {
      query: { writer, seq: 0 },
      body: this.#api.isNear ? bytes : await gzip(bytes),
      headers,
    });
    this.#report.points.added += points.key.length;
  }

  async #writeFiles(): Promise<void> {
    await writeFiles(this.#api, `/runs/${this.#id}`, this.#found.files(), {
      owner: `run ${this.#found.id}`,
      isNew: this.#isNew,
      isClosed: this.#run.deleted !== null,
      report: this.#report,
    });
  }

  /** Notes what the run read and made, unless that is noted here. */
  async #writeLinks(): Promise<void> {
    const { datasets, models } = linksFrom(this.#found, (skip) => this.#skip(skip));
    if (!datasets.length && !models.length) return;
    const held = await this.#api.json<RunLinks>("GET", `/runs/${this.#id}/links`);
    const isHeld = (one: Dataset) =>
      held.datasets.some(({ name, digest }) => name === one.name && digest === one.digest);
    const known = new Set(held.models.map(({ role, model, step }) => `${role} ${model} ${step}`));
    const newModels = models.filter(
      ({ role, model, step }) => !known.has(`${role} ${model} ${step}`),
    );
    const news: Partial<RunLinks>[] = [
      ...datasets.filter((one) => !isHeld(one)).map((one) => ({ datasets: [one] })),
      ...(newModels.length ? [{ models: newModels }] : []),
    ];
    for (const body of news)
      try {
        if (this.#run.deleted) this.#problem("link", "is not here, and the run is deleted");
        else await this.#api.json("POST", `/runs/${this.#id}/links`, { body });
      } catch (error) {
        if (!(error instanceof Refusal) || !isFinal(error)) throw error;
        this.#problem("link", error.message);
      }
  }

  async #end(summaries: Map<string, Summary>): Promise<void> {
    const { state, started, ended, deleted } = this.#found;
    const isOpen = this.#run.state === "running" || this.#run.state === "scheduled";
    const isOver = state !== "running" && state !== "scheduled";
    if (isOpen && isOver && !this.#run.deleted) {
      const last = Math.max(0, ...[...summaries.values()].map(({ time }) => time));
      const at = [ended, last, started].find((time) => isTime(time) && time > 0) ?? 0;
      this.#run = await this.#api.json("POST", `/runs/${this.#id}/finish`, {
        body: { state, ended: at },
      });
    } else if (summaries.size) this.#run = await this.#api.json("GET", `/runs/${this.#id}`);
    if (deleted && !this.#run.deleted && (this.#isNew || (isOpen && isOver)))
      this.#run = await this.#api.json("DELETE", `/runs/${this.#id}`);
  }

  #compare(summaries: Map<string, Summary>): void {
    const { state, deleted } = this.#found;
    if (this.#run.state !== state)
      this.#problem("state", `${this.#run.state} here, ${state} there`);
    if (deleted !== (this.#run.deleted !== null))
      this.#skip({
        what: "deletion",
        name: `run ${this.#found.id}`,
        why: deleted ? "is deleted there and not here" : "is deleted here and not there",
      });
    for (const [key, { count, last }] of summaries) {
      const here = Object.hasOwn(this.#run.metrics, key) ? this.#run.metrics[key] : undefined;
      if (here?.count !== count)
        this.#problem("points", `${key} has ${here?.count ?? 0} here, ${count} there`);
      else if (!Object.is(maybeNumber(here.last), last))
        this.#problem("points", `${key} ends in ${here.last} here, in ${last} there`);
    }
  }
}

/** Returns what a found run read and made as it stands here. */
function linksFrom({ id, inputs, modelInputs, modelOutputs }: FoundRun, onSkip: OnSkip): RunLinks {
  return {
    datasets: inputs.map(({ sourceType, schema, profile, tags, ...input }) => ({
      ...input,
      type: sourceType,
      schema: schema ?? "",
      profile: profile ?? "",
      tags: checkedTexts(tags, "tag", `dataset ${shown(input.name)} of run ${id}`, onSkip),
    })),
    models: [
      ...modelInputs.map((model) => ({ role: "input" as const, model, step: 0 })),
      ...modelOutputs.map(({ model, step }) => ({ role: "output" as const, model, step })),
    ],
  };
}

type PlannedRun = NewRun &
  Required<Pick<NewRun, "note">> & { params: Params; tags: Record<string, string> };

/** Returns the request that creates a found run; says what of it cannot stand here. */
async function newRunFrom(
  found: FoundRun,
  experiment: string,
  onSkip: OnSkip,
): Promise<PlannedRun> {
  const owner = `run ${found.id}`;
  const skip = (what: string, why: string): void => onSkip({ what, name: owner, why });
  const id = await runIdFrom(found.id);
  const name = plainName(found.name);
  const started = [found.started, found.ended].find(isTime) ?? 0;
  if (name !== found.name) skip("name", `${shown(found.name)} is ${shown(name)} here`);
  if (!isTime(found.started)) skip("time", `no start: ${found.started}`);
  if (found.source.length > maxSource) skip("source", `cut to ${maxSource} characters`);
  if (found.note.length > maxNote) skip("note", `cut to ${maxNote} characters`);
  return {
    id,
    experiment,
    ...(name ? { name } : {}),
    state: found.state === "scheduled" ? "scheduled" : "running",
    params: checkedParams(found, skip),
    tags: checkedTags(
      id === found.id ? found.tags : { ...found.tags, [sourceIdTag]: found.id },
      owner,
      onSkip,
    ),
    note: found.note.toWellFormed().slice(0, maxNote),
    parent: found.parent === null ? null : await runIdFrom(found.parent),
    source: found.source.toWellFormed().slice(0, maxSource),
    started,
  };
}

function checkedParams(
  { params, paramsAreText }: FoundRun,
  skip: (what: string, why: string) => void,
): Params {
  const checked = Object.entries(params).flatMap(([key, value]) => {
    try {
      flattenParams({ [key]: value });
      return [[key, paramsAreText ? typedParam(String(value)) : value] as const];
    } catch (error) {
      skip("param", (error as Error).message);
      return [];
    }
  });
  return Object.fromEntries(checked);
}

/** A text that is a finite number in JSON goes as that number, digit for digit as it stands; any other stays text. */
function typedParam(text: string): Params[string] {
  const isNumber =
    /^-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?$/i.test(text) && Number.isFinite(Number(text));
  return isNumber ? (JSON.rawJSON(text) as number) : text;
}

const isSameParam = (here: Params[string], there: Params[string]): boolean =>
  Object.is(here, there) ||
  String(here) === String(there) ||
  (typeof here === "number" && Object.is(here, Number(there)));

/** Returns the places of the points that may stand here; says how many others there are, by key and by what is wrong. */
function soundPlaces(points: Points, run: string, onSkip: OnSkip): Uint32Array {
  const wrong = new Map<string, Map<string, number>>();
  const places = new Uint32Array(points.key.length);
  let n = 0;
  for (let i = 0; i < places.length; i++) {
    const why = whyUnsound(points, i);
    if (why === undefined) places[n++] = i;
    else {
      const key = points.keys[points.key[i]!]!;
      const counts = wrong.get(key) ?? new Map<string, number>();
      wrong.set(key, counts.set(why, (counts.get(why) ?? 0) + 1));
    }
  }
  for (const [key, counts] of wrong)
    for (const [why, count] of counts)
      onSkip({
        what: "points",
        name: `${shown(key)} of run ${run}`,
        why: `${why} (${count} points)`,
      });
  return places.slice(0, n);
}

function whyUnsound({ keys, key, step, time }: Points, i: number): string | undefined {
  if (!isName(keys[key[i]!]!)) return "no key: expected 1 to 250 characters of plain text";
  if (!(Math.abs(step[i]!) <= Number.MAX_SAFE_INTEGER)) return "a step beyond 2^53";
  return isTime(time[i]!) ? undefined : "a time before 1970 or after 9999";
}

/** Returns points with the keys that occur alone. */
function compacted(points: Points): Points {
  const index = new Map<number, number>();
  const key = points.key.map((k) => {
    if (!index.has(k)) index.set(k, index.size);
    return index.get(k)!;
  });
  return { ...points, key, keys: [...index.keys()].map((k) => points.keys[k]!) };
}
