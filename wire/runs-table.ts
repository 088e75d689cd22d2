import { ApiError, shown } from "./error.ts";
import { fieldFromName, statisticOf, type Field, type Statistic } from "./field.ts";
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
  deleted: ["timestamp", (run) => run.deleted],
};

const statistics: Record<Statistic, (summary: Summary) => number> = {
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
    return base && statistics[other.of](base);
  };
}

const own = <T>(record: Record<string, T>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

/** Returns the table of runs: the named columns, of which "*" stands for every plain one, param, metric's last value and tag that occurs. */
export function runsTable(
  runs: Run[],
  {
    columns,
    experimentName,
  }: { columns?: string[] | undefined; experimentName?: (id: string) => string } = {},
): Column[] {
  return (columns ?? ["*"])
    .flatMap((name) => (name === "*" ? allColumns(runs) : name))
    .map((name) => {
      const field = fieldFromName(name);
      const read = field && fieldReader(field, experimentName);
      if (!read) throw new ApiError("INVALID_PARAMETER_VALUE", `unknown column: ${shown(name)}`);
      const values = runs.map(read);
      if (field.kind === "plain") return { name, type: plain[field.key]![0], values };
      if (field.kind === "metrics") return { name, type: "float64", values };
      return typed(name, values);
    });
}

function allColumns(runs: Run[]): string[] {
  const keys = (kind: "params" | "metrics" | "tags") =>
    [...new Set(runs.flatMap((run) => Object.keys(run[kind])))]
      .sort()
      .map((key) => `${kind}.${key}`);
  return [...Object.keys(plain), ...keys("params"), ...keys("metrics"), ...keys("tags")];
}

/** A column has the type that all its values share; where they share none, it is text. */
function typed(name: string, values: CellValue[]): Column {
  const types = new Set(
    values.filter((value) => value !== null && value !== undefined).map((value) => typeof value),
  );
  const [type] = types;
  if (types.size === 1 && type === "number") return { name, type: "float64", values };
  if (types.size === 1 && type === "boolean") return { name, type: "bool", values };
  return {
    name,
    type: "utf8",
    values: values
      .map((value) => value ?? null)
      .map((value) => (value === null ? null : String(value))),
  };
}
