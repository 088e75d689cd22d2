import { statisticOf, type Field, type Statistic } from "./field.ts";
import type { Value } from "./filter.ts";
import type { Run } from "./run.ts";
import { meanOf, type Summary } from "./summary.ts";
import type { Column } from "./table.ts";

type CellValue = Value | null | undefined;

/** What the runs table shows of a run besides its params, metrics and tags: the column's type and its value. */
const plain: Record<string, [Column["type"], (run: Run, experiment: string) => CellValue]> = {
  id: ["utf8", (run) => run.id],
  name: ["utf8", (run) => run.name],
  number: ["float64", (run) => run.number],
  experiment: ["utf8", (_, experiment) => experiment],
  state: ["utf8", (run) => run.state],
  stalled: ["bool", (run) => run.stalled],
  started: ["timestamp", (run) => run.started],
  ended: ["timestamp", (run) => run.ended],
  /** seconds, up to now for a run that has not ended */
  duration: ["float64", (run) => ((run.ended ?? run.heartbeat) - run.started) / 1000],
  heartbeat: ["timestamp", (run) => run.heartbeat],
  points: ["float64", (run) => run.points],
  lines: ["float64", (run) => run.lines],
  parent: ["utf8", (run) => run.parent],
  source: ["utf8", (run) => run.source],
  error: ["utf8", (run) => run.error || null],
  note: ["utf8", (run) => run.note || null],
  archived: ["timestamp", (run) => run.archived],
  deleted: ["timestamp", (run) => run.deleted],
};

/** How to read each statistic of a summary. */
export const statisticReaders: Record<Statistic, (summary: Summary) => number> = {
  last: (s) => s.last,
  step: (s) => s.step,
  min: (s) => s.min,
  minStep: (s) => s.minStep,
  max: (s) => s.max,
  maxStep: (s) => s.maxStep,
  mean: meanOf,
  count: (s) => s.count,
  nan: (s) => s.nan,
};

/** Returns how to read a field of a run; undefined for a plain field that a run by itself does not tell. */
export function fieldReader(
  field: Field,
  experimentName: (id: string) => string = (id) => id,
): ((run: Run) => CellValue) | undefined {
  const { kind, key } = field;
  if (kind === "plain") {
    const read = own(plain, key)?.[1];
    return read && ((run) => read(run, experimentName(run.experiment)));
  }
  if (kind === "tags") return (run) => own(run.tags, key);
  if (kind === "params") return (run) => own(run.params, key);
  const other = statisticOf(field);
  return (run) => {
    const summary = own(run.metrics, key);
    if (summary) return summary.last;
    const base = other && own(run.metrics, other.key);
    return base && statisticReaders[other.of](base);
  };
}

const own = <T>(record: Record<string, T>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

/** The plain fields that a table of runs can have, and the types of their columns. */
export const plainColumns: Record<string, Column["type"]> = Object.fromEntries(
  Object.entries(plain).map(([key, [type]]) => [key, type]),
);
