import { computed, effect, signal } from "@preact/signals-core";
import { html, nothing, render } from "lit-html";
import type { Experiment, Lab } from "../index.ts";
import { metricChart, type Line, type MetricChart } from "./chart.ts";
import { colourOf, dashOf } from "./colour.ts";
import { formatCount, formatDuration, formatNumber } from "./format.ts";
import { LiveExperiment } from "./live.ts";
import {
  firstShown,
  bestRun,
  columnsOf,
  defaultSort,
  dot,
  firstMetric,
  metricsOf,
  numberOf,
  shownRuns,
  sortRuns,
  stateOf,
  toggled,
  verdict,
  type Column,
  type Deciding,
  type RunRow,
  type Sort,
} from "./runs.ts";
import { bar, broken, firstRun } from "./shell.ts";

/** An experiment: its question, its runs in a table, and a chart for every metric, all of it live. Returns how to leave the page. */
export function experimentPage(lab: Lab, root: HTMLElement, name: string): () => void {
  document.title = `${name} · Assay`;
  let leave = () => {};
  let timer: ReturnType<typeof setTimeout>;
  const load = (): Promise<void> =>
    lab.experiment(name).then(
      (experiment) => {
        leave = showExperiment(lab, root, experiment);
      },
      (error: Error) => {
        render(
          [
            bar(crumbs(name), "Not connected", true),
            broken("This experiment cannot be shown", error.message),
          ],
          root,
        );
        timer = setTimeout(() => void load(), 3000);
      },
    );
  void load();
  return () => {
    clearTimeout(timer);
    leave();
  };
}

const crumbs = (name: string) =>
  html`<a class="muted hide-s" href="/">Experiments</a><span class="muted hide-s">/</span
    ><span class="strong crumb">${name}</span>`;

function showExperiment(
  lab: Lab,
  root: HTMLElement,
  { name, hypothesis, metric, direction }: Experiment,
): () => void {
  const decides: Deciding | undefined =
    metric === null
      ? undefined
      : {
          key: metric,
          direction,
          field: `metrics.${metric}.${direction}`,
          stepField: `metrics.${metric}.${direction}Step`,
        };
  const live = new LiveExperiment(
    lab,
    name,
    decides ? ["*", decides.field, decides.stepField!] : ["*"],
  );
  const view = signal(viewFromURL());
  const lit = signal<string | undefined>(undefined);
  const charts = new Map<string, MetricChart>();

  const runs = computed(() => [...live.runs.value.values()]);
  const deciding = computed(() => decides ?? firstMetric(runs.value));
  const sorted = computed(() =>
    sortRuns(runs.value, view.value.sort ?? defaultSort(deciding.value)),
  );
  const shown = computed(() => shownRuns(sorted.value, view.value.show));
  const metrics = computed(() => metricsOf(runs.value, deciding.value));
  const setView = (change: Partial<View>) => {
    view.value = { ...view.value, ...change };
    history.replaceState(null, "", searchOf(view.value));
  };

  const stops = [
    effect(() => live.show(new Set(shown.value.map(({ id }) => id)))),
    effect(() => {
      const trouble = live.problem.value;
      const status = trouble ? `Not connected: ${trouble}` : live.updated.value ? "Live" : "";
      render(
        html`${bar(crumbs(name), status, !!trouble)}
          <main>${body()}</main>`,
        root,
      );
    }),
    effect(() => {
      void live.version.value; // points were appended
      placeCharts(live.loaded.value ? metrics.value : []);
    }),
    effect(() => {
      const id = lit.value;
      for (const chart of charts.values()) chart.light(id);
    }),
  ];

  function body() {
    if (!live.loaded.value) return nothing;
    const all = runs.value;
    return html`
      <section class="head">
        <div>
          <h1>${name}</h1>
          ${hypothesis ? html`<p class="question">${hypothesis}</p>` : nothing}
        </div>
        ${verdict(all, deciding.value)}
      </section>
      ${
        all.length === 0
          ? firstRun(name)
          : html`
              ${tools()}
              <div class="split">
                <div class="left">${table()}${cards()}</div>
                <div class="charts"></div>
              </div>
            `
      }
    `;
  }

  function tools() {
    const all = runs.value;
    const running = all.filter(({ state, stalled }) => state === "running" && !stalled).length;
    const isAll = shown.value.length === all.length;
    return html`
      <div class="tools">
        <span
          >${formatCount(all.length)} ${all.length === 1 ? "run" : "runs"},
          ${formatCount(shown.value.length)} drawn</span
        >
        ${all.length > firstShown ? html`<button @click=${() => setView({ show: isAll ? undefined : "all" })}>${isAll ? `Draw the first ${firstShown}` : "Draw all"}</button>` : nothing}
        ${running ? html`<span>${formatCount(running)} running</span>` : nothing}
      </div>
    `;
  }

  function table() {
    const columns = columnsOf(runs.value, deciding.value);
    const sort = view.value.sort ?? defaultSort(deciding.value);
    const best = deciding.value && bestRun(runs.value, deciding.value);
    const drawn = new Set(shown.value.map(({ id }) => id));
    const head = ({ field, label, isNumber }: Column) => html`
      <th
        class=${isNumber ? "num" : ""}
        aria-sort=${sort?.field === field ? (sort.descending ? "descending" : "ascending") : nothing}
        title=${field}
      >
        <button
          @click=${() => setView({ sort: { field, descending: sort?.field === field ? !sort.descending : isNumber } })}
        >
          ${label}${sort?.field === field ? (sort.descending ? " ↓" : " ↑") : ""}
        </button>
      </th>
    `;
    return html`
      <table>
        <thead>
          <tr>
            <th><span class="at">drawn</span></th>
            ${columns.map(head)}
          </tr>
        </thead>
        <tbody>
          ${sorted.value.map(
            (run) => html`
              <tr
                class=${[run === best ? "best" : "", lit.value === run.id ? "lit" : "", drawn.has(run.id) ? "" : "off"].join(" ")}
                @mouseenter=${() => (lit.value = run.id)}
                @mouseleave=${() => (lit.value = undefined)}
              >
                <td>${eye(run, drawn.has(run.id))}</td>
                ${columns.map(({ isNumber, cell }) => html`<td class=${isNumber ? "num" : ""}>${cell(run)}</td>`)}
              </tr>
            `,
          )}
        </tbody>
      </table>
    `;
  }

  function cards() {
    const drawn = new Set(shown.value.map(({ id }) => id));
    const metric = deciding.value;
    const others = metrics.value.filter((key) => key !== metric?.key).slice(0, 2);
    return html`
      <div class="cards">
        ${sorted.value.map(
          (run) => html`
            <div class="card">
              ${dot(run)}
              <span class="strong">${run.name} ${stateOf(run)}</span>
              <b class="strong">${metric ? formatNumber(numberOf(run, metric.field)) : ""}</b>
              ${eye(run, drawn.has(run.id))}
              <span class="sub"
                >${others.map((key) => `${key} ${formatNumber(numberOf(run, `metrics.${key}`))}`).join(" · ")}
                · ${formatDuration(run.duration)}</span
              >
            </div>
          `,
        )}
      </div>
    `;
  }

  const eye = (run: RunRow, isOn: boolean) => html`
    <button
      class="eye"
      aria-pressed=${isOn}
      aria-label="draw ${run.name}"
      @click=${() => setView({ show: toggled(shown.value, run) })}
    >
      <svg width="16" height="12" viewBox="0 0 14 10" aria-hidden="true">
        <path d="M1 5s2.2-4 6-4 6 4 6 4-2.2 4-6 4-6-4-6-4Z" />
        ${isOn ? html`<svg><circle cx="7" cy="5" r="1.7" fill="currentColor" /></svg>` : nothing}
      </svg>
    </button>
  `;

  /** Charts are uPlot's to draw: they are made once, and lit-html leaves their container alone. */
  function placeCharts(keys: string[]): void {
    const container = root.querySelector(".charts");
    if (!container) return;
    for (const [key, chart] of charts)
      if (!keys.includes(key)) {
        chart.destroy();
        chart.node.remove();
        charts.delete(key);
      }
    keys.forEach((key, i) => {
      let chart = charts.get(key);
      if (!chart) {
        const isFirst = decides?.key === key;
        const arrow = isFirst ? `${deciding.value!.direction === "max" ? "▲" : "▼"} decides` : "";
        charts.set(
          key,
          (chart = metricChart({
            key,
            caption: arrow,
            wide: i === 0,
            labels: i === 0,
            onLight: (id) => (lit.value = id),
          })),
        );
      }
      if (container.children[i] !== chart.node)
        container.insertBefore(chart.node, container.children[i] ?? null);
      chart.update(linesOf(key));
    });
  }

  function linesOf(key: string): Line[] {
    return shown.value.flatMap(({ id, name, number }) => {
      const series = live.series.get(id)?.get(key);
      return series ? [{ id, name, colour: colourOf(number), dash: dashOf(number), series }] : [];
    });
  }

  return () => {
    for (const stop of stops) stop();
    for (const chart of charts.values()) chart.destroy();
    live.close();
  };
}

/** The state of the page; all of it is in the URL. */
interface View {
  sort?: Sort | undefined;
  /** "all", or the numbers of the runs drawn; the first ten where it is left out */
  show?: string | undefined;
}

function viewFromURL(): View {
  const query = new URLSearchParams(location.search);
  const sort = query.get("sort");
  return {
    sort: sort ? { field: sort.replace(/^-/, ""), descending: sort.startsWith("-") } : undefined,
    show: query.get("show") ?? undefined,
  };
}

function searchOf({ sort, show }: View): string {
  const query = new URLSearchParams();
  if (sort) query.set("sort", `${sort.descending ? "-" : ""}${sort.field}`);
  if (show !== undefined) query.set("show", show);
  return query.size ? `?${query}` : location.pathname;
}
