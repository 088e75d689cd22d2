import { html, nothing, type TemplateResult } from "lit-html";
import { colourOf } from "./colour.ts";
import { formatCount, formatDuration, formatNumber } from "./format.ts";

/** A run as the runs table gives it: its columns by name, times in ms. */
export interface RunRow {
  id: string;
  name: string;
  experiment: string;
  number: number;
  state: string;
  stalled: boolean;
  started: number;
  duration: number;
  error?: string;
  archived?: number | null;
  deleted?: number | null;
  [column: string]: unknown;
}

/** How many runs are drawn until somebody chooses. */
export const firstShown = 10;

export interface Sort {
  field: string;
  descending: boolean;
}

/** The metric that decides, and the columns that hold a run's best value of it and its step. */
export interface Deciding {
  key: string;
  direction: "min" | "max";
  field: string;
  stepField?: string;
}

/** A column of the table on the page. */
export interface Column {
  field: string;
  label: string;
  isNumber: boolean;
  cell(run: RunRow): TemplateResult | string;
}

/** Where an experiment names no metric, the first one by name is put first, by its last value. */
export function firstMetric(runs: RunRow[]): Deciding | undefined {
  const [key] = metricsOf(runs, undefined);
  return key === undefined ? undefined : { key, direction: "min", field: `metrics.${key}` };
}

/** The keys of all metrics: the deciding one first, losses next, the others by name. */
export function metricsOf(runs: RunRow[], first: Deciding | undefined): string[] {
  const keys = new Set<string>();
  for (const run of runs)
    for (const name in run)
      if (
        name.startsWith("metrics.") &&
        run[name] !== null &&
        (name === `metrics.${first?.key}` || (name !== first?.field && name !== first?.stepField))
      )
        keys.add(name.slice("metrics.".length));
  const rank = (key: string) => (key === first?.key ? 0 : /loss/i.test(key) ? 1 : 2);
  return [...keys].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** A run's value in a column of numbers. */
export const numberOf = (run: RunRow, field: string): number | undefined =>
  typeof run[field] === "number" ? run[field] : undefined;

export const defaultSort = (metric: Deciding | undefined): Sort | undefined =>
  metric && { field: metric.field, descending: metric.direction === "max" };

/** Sorts runs by a column; what is missing and NaN come last either way, equals by number. */
export function sortRuns(runs: RunRow[], sort: Sort | undefined): RunRow[] {
  const sign = sort?.descending ? -1 : 1;
  const rank = (value: unknown) =>
    value === null || value === undefined || Number.isNaN(value) ? 1 : 0;
  return runs.toSorted((a, b) => {
    const [x, y] = sort ? [a[sort.field], b[sort.field]] : [0, 0];
    const missing = rank(x) - rank(y);
    if (missing) return missing;
    if (rank(x) === 0 && x !== y) return ((x as number) < (y as number) ? -1 : 1) * sign;
    return a.number - b.number;
  });
}

/** The runs to draw: all, the chosen ones, or the first ten. */
export function shownRuns(sorted: RunRow[], show: string | undefined): RunRow[] {
  if (show === "all") return sorted;
  if (show === undefined) return sorted.slice(0, firstShown);
  const numbers = new Set(show.split(".").map(Number));
  return sorted.filter(({ number }) => numbers.has(number));
}

/** The choice that has one run more, or one less. */
export function toggled(shown: RunRow[], run: RunRow): string {
  const numbers = new Set(shown.map(({ number }) => number));
  if (!numbers.delete(run.number)) numbers.add(run.number);
  return [...numbers].sort((a, b) => a - b).join(".");
}

/** The best run by the deciding metric, of those that have a value. */
export function bestRun(runs: RunRow[], { field, direction }: Deciding): RunRow | undefined {
  const [best] = sortRuns(runs, { field, descending: direction === "max" });
  return best && Number.isFinite(numberOf(best, field)) ? best : undefined;
}

/** The columns: name, the deciding metric, params that vary, another metric, and how long it took. */
export function columnsOf(runs: RunRow[], metric: Deciding | undefined): Column[] {
  const arrow = metric?.direction === "max" ? "▲" : "▼";
  const others = metricsOf(runs, metric)
    .filter((key) => key !== metric?.key)
    .slice(0, 1);
  return [
    { field: "name", label: "Run", isNumber: false, cell: nameCell },
    ...(metric
      ? [
          {
            field: metric.field,
            label: metric.stepField ? `${metric.key} ${arrow} best` : metric.key,
            isNumber: true,
            cell: (run: RunRow) => metricCell(run, metric),
          },
        ]
      : []),
    ...varyingParams(runs).slice(0, 2).map(paramColumn(runs)),
    ...others.map((key) => ({
      field: `metrics.${key}`,
      label: key,
      isNumber: true,
      cell: (run: RunRow) => formatNumber(numberOf(run, `metrics.${key}`)),
    })),
    {
      field: "duration",
      label: "took",
      isNumber: true,
      cell: (run) => html`<span class="muted">${formatDuration(run.duration)}</span>`,
    },
  ];
}

/** The params in which runs differ; of several that divide the runs in the same way, one, text before numbers. */
function varyingParams(runs: RunRow[]): string[] {
  const names = [
    ...new Set(
      runs.flatMap((run) => Object.keys(run).filter((name) => name.startsWith("params."))),
    ),
  ];
  const byDivision = new Map<string, string>();
  for (const name of names) {
    const values = [...new Set(runs.map((run) => run[name]))];
    if (values.length < 2) continue;
    const division = runs.map((run) => values.indexOf(run[name])).join();
    if (!byDivision.has(division) || runs.some((run) => typeof run[name] === "string"))
      byDivision.set(division, name);
  }
  return [...byDivision.values()];
}

const paramColumn =
  (runs: RunRow[]) =>
  (field: string): Column => ({
    field,
    label: field.slice("params.".length),
    isNumber: runs.some((run) => typeof run[field] === "number"),
    cell: (run) => (typeof run[field] === "number" ? String(run[field]) : String(run[field] ?? "")),
  });

const nameCell = (run: RunRow) =>
  html`<span class="name">${dot(run)}<span>${run.name}</span>${stateOf(run)}</span>`;

export const dot = ({ number }: RunRow) =>
  html`<span class="dot" .style=${`background: ${colourOf(number)}`}></span>`;

/** What is worth saying of a run's state: nothing of one that finished. */
export function stateOf({ state, stalled, error }: RunRow): TemplateResult | typeof nothing {
  if (stalled)
    return html`<span class="state stalled" title="no word for a minute">◌ stalled</span>`;
  if (state === "finished") return nothing;
  const sign = { running: "●", failed: "✕", killed: "✕", scheduled: "○" }[state];
  return html`<span class="state ${state === "killed" ? "failed" : state}" title=${error ?? state}
    >${sign} ${state}</span
  >`;
}

function metricCell(run: RunRow, { field, stepField }: Deciding): TemplateResult {
  const value = numberOf(run, field);
  const step = stepField ? numberOf(run, stepField) : undefined;
  return html`${formatNumber(value)}
  ${step !== undefined && Number.isFinite(step) ? html`<span class="at">@ ${formatNumber(step)}</span>` : nothing}`;
}

/** Where the answer stands: the best run and the number it was picked from, and its lead. */
export function verdict(
  runs: RunRow[],
  metric: Deciding | undefined,
): TemplateResult | typeof nothing {
  const best = metric && bestRun(runs, metric);
  if (!metric || !best) return nothing;
  const ranked = sortRuns(runs, {
    field: metric.field,
    descending: metric.direction === "max",
  }).filter((run) => Number.isFinite(numberOf(run, metric.field)));
  const value = numberOf(best, metric.field)!;
  const next = ranked[1];
  const middle = numberOf(ranked[Math.floor((ranked.length - 1) / 2)]!, metric.field)!;
  return html`
    <dl class="verdict">
      <div>
        <dt>Best run, ${metric.key} ${metric.direction === "max" ? "▲" : "▼"}</dt>
        <dd class="value">${formatNumber(value)}</dd>
        <dd class="note">
          ${best.name}${ranked.length > 1 ? ` · best of ${formatCount(ranked.length)}: expect a little ${metric.direction === "max" ? "less" : "more"}` : ""}
        </dd>
      </div>
      ${
        next
          ? html`
              <div>
                <dt>Lead over next</dt>
                <dd class="value">${signed(Math.abs(value - numberOf(next, metric.field)!))}</dd>
                <dd class="note">${next.name}</dd>
              </div>
              <div class="hide-s">
                <dt>Middle run</dt>
                <dd class="value">${formatNumber(middle)}</dd>
                <dd class="note">median of ${formatCount(ranked.length)}</dd>
              </div>
            `
          : nothing
      }
    </dl>
  `;
}

const signed = (value: number): string =>
  value > 0 ? `+${formatNumber(value)}` : formatNumber(value);
