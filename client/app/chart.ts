import uPlot from "uplot";
import { formatCount, formatNumber } from "./format.ts";
import type { Series } from "./live.ts";
import { chooseRange, type ShownRange } from "./range.ts";

/** A line of a chart. */
export interface Line {
  id: string;
  name: string;
  colour: string;
  dash: number[];
  series: Series;
}

/** A chart of one metric, a line for each run; `update` gives it other lines or more points. */
export interface MetricChart {
  node: HTMLElement;
  update(lines: Line[]): void;
  /** Brings one line forward, or none. */
  light(id: string | undefined): void;
  destroy(): void;
}

/**
 * Draws a metric by step. The caption says how many points are drawn and how many lie outside the range shown; NaN breaks
 * a line. With `labels` the lines carry their names at the right, where there is room.
 */
export function metricChart({
  key,
  caption = "",
  wide = false,
  labels = false,
  onLight,
}: {
  key: string;
  caption?: string;
  wide?: boolean;
  labels?: boolean;
  onLight: (id: string | undefined) => void;
}): MetricChart {
  const node = document.createElement("figure");
  node.className = wide ? "wide" : "";
  node.innerHTML = `<figcaption><b></b><span class="muted"></span><span class="end"></span></figcaption><div class="plot" role="img"></div>`;
  const [title, about, note] = node.querySelector("figcaption")!.children as unknown as [
    HTMLElement,
    HTMLElement,
    HTMLElement,
  ];
  const plot = node.querySelector<HTMLElement>(".plot")!;
  const labelLayer = document.createElement("div");
  labelLayer.className = "labels";
  labelLayer.ariaHidden = "true";
  title.textContent = key;
  title.title = key;
  about.textContent = caption;
  const gutter = labels ? 140 : 28;
  let lines: Line[] = [];
  let range: ShownRange | undefined;
  let lit: string | undefined;
  let chart: uPlot | undefined;
  const observer = new ResizeObserver(() => resize());
  observer.observe(plot);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const restyle = () => build();
  dark.addEventListener("change", restyle);

  function height(): number {
    return plot.clientWidth < 480 ? 220 : wide ? 330 : 220;
  }

  function resize(): void {
    if (plot.clientWidth === 0) return;
    if (!chart) build();
    else if (chart.width !== plot.clientWidth)
      chart.setSize({ width: plot.clientWidth, height: height() });
  }

  function build(): void {
    chart?.destroy();
    chart = undefined;
    if (plot.clientWidth === 0 || lines.length === 0) return;
    const style = getComputedStyle(plot);
    // A canvas takes no light-dark(): the colours in force are read off an element that has them.
    const colour = (name: string) => {
      plot.style.color = `var(--${name})`;
      return style.color;
    };
    const [muted, hair, faint] = [colour("muted"), colour("hair"), colour("faint")];
    plot.style.color = "";
    const isNarrow = plot.clientWidth < 480;
    const isDense =
      Math.max(...lines.map(({ series }) => series.step.length)) > plot.clientWidth / 2;
    const axis = {
      stroke: muted,
      font: "11px Inter, system-ui, sans-serif",
      ticks: { show: false },
      gap: 6,
    };
    chart = new uPlot(
      {
        width: plot.clientWidth,
        height: height(),
        padding: [8, isNarrow ? 28 : gutter, 0, 0],
        legend: { show: false },
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: { size: 6 },
          focus: { prox: 24 },
        },
        focus: { alpha: 0.18 },
        scales: { x: { time: false }, y: { range: () => (range ? padded(range) : [0, 1]) } },
        axes: [
          {
            ...axis,
            size: 24,
            grid: { show: false },
            border: { show: true, stroke: faint, width: 1 },
            values: (_, ticks) =>
              ticks.map((tick, i) =>
                i === ticks.length - 1 ? `step ${formatNumber(tick)}` : formatNumber(tick),
              ),
          },
          {
            ...axis,
            size: 46,
            grid: { stroke: hair, width: 1 },
            values: (_, ticks) => ticks.map(formatTick(ticks)),
          },
        ],
        series: [
          {},
          ...lines.map(({ name, colour, dash }) => ({
            label: name,
            stroke: colour,
            width: isDense ? 1 : 1.4,
            dash,
            points: { show: false },
            spanGaps: false,
          })),
        ],
        hooks: {
          setSeries: [
            (_, index) => onLight(index === null || index === 0 ? undefined : lines[index - 1]?.id),
          ],
          draw: [() => placeLabels()],
        },
      },
      aligned(lines),
      plot,
    );
    plot.append(labelLayer);
  }

  function placeLabels(): void {
    labelLayer.replaceChildren();
    if (!chart || !labels || plot.clientWidth < 480) return;
    const { left, top, width, height } = chart.bbox;
    const ratio = devicePixelRatio;
    const room = Math.floor(height / ratio / 14);
    const ends = lines
      .map((line) => ({ line, value: line.series.value.findLast(Number.isFinite) }))
      .filter((end): end is { line: Line; value: number } => end.value !== undefined)
      .map(({ line, value }) => ({
        line,
        y: Math.min(Math.max(chart!.valToPos(value, "y"), 0), height / ratio),
      }))
      .slice(0, room)
      .sort((a, b) => a.y - b.y);
    spread(ends, 14, height / ratio);
    for (const { line, y } of ends) {
      const label = document.createElement("span");
      label.classList.toggle("lit", line.id === lit);
      const dot = document.createElement("span");
      dot.className = "dot";
      dot.style.position = "static";
      dot.style.background = line.colour;
      label.append(dot, line.name);
      label.style.left = `${(left + width) / ratio + 8}px`;
      label.style.top = `${top / ratio + y - 7}px`;
      labelLayer.append(label);
    }
  }

  function describe(): void {
    const drawn = lines.reduce((n, { series }) => n + series.value.length, 0);
    const nan = lines.reduce(
      (n, { series }) => n + series.value.filter((v) => !Number.isFinite(v)).length,
      0,
    );
    const outside = [
      range?.above ? `${formatCount(range.above)} above ${formatNumber(range.high)} ↑` : "",
      range?.below ? `${formatCount(range.below)} below ${formatNumber(range.low)} ↓` : "",
      nan ? `${formatCount(nan)} not finite` : "",
    ].filter(Boolean);
    note.textContent = [wide || !outside.length ? `${formatCount(drawn)} points` : "", ...outside]
      .filter(Boolean)
      .join(" · ");
    const said = range ? `, from ${formatNumber(range.low)} to ${formatNumber(range.high)}` : "";
    plot.ariaLabel = `${key} by step, ${lines.length} runs${said}`;
  }

  return {
    node,
    update(next) {
      const isSame =
        chart !== undefined &&
        next.length === lines.length &&
        next.every(({ id }, i) => id === lines[i]!.id);
      lines = next;
      range = chooseRange(lines.flatMap(({ series }) => series.value));
      describe();
      if (isSame) chart!.setData(aligned(lines));
      else build();
    },
    light(id) {
      if (id === lit || !chart) return;
      lit = id;
      const index = lines.findIndex((line) => line.id === id);
      chart.setSeries(index < 0 ? null : index + 1, { focus: true }, false);
      placeLabels();
    },
    destroy() {
      observer.disconnect();
      dark.removeEventListener("change", restyle);
      chart?.destroy();
    },
  };
}

function padded({ low, high }: ShownRange): [number, number] {
  const room = (high - low || Math.abs(high) || 1) * 0.04;
  return [low - room, high + room];
}

/** Tick labels with just the decimals that tell neighbours apart. */
function formatTick(ticks: number[]): (tick: number) => string {
  const step = Math.abs((ticks[1] ?? 1) - (ticks[0] ?? 0)) || 1;
  const decimals = Math.max(0, Math.min(8, -Math.floor(Math.log10(step) + 1e-9)));
  const isLong = ticks.some((tick) => Math.abs(tick) >= 1e5) || decimals > 5;
  return (tick) =>
    (tick === 0
      ? "0"
      : isLong
        ? tick.toExponential(1).replace("e+", "e")
        : tick.toFixed(decimals)
    ).replace("-", "−");
}

/** uPlot wants one x for all lines: the union of their steps. A step a line lacks is undefined and drawn through; NaN is null, a gap. */
function aligned(lines: Line[]): uPlot.AlignedData {
  const steps = new Set<number>();
  for (const { series } of lines) for (const step of series.step) steps.add(step);
  const x = Float64Array.from(steps).sort();
  const place = new Map<number, number>();
  x.forEach((step, i) => place.set(step, i));
  const columns = lines.map(({ series }) => {
    const column = new Array<number | null | undefined>(x.length).fill(undefined);
    series.step.forEach(
      (step, i) =>
        (column[place.get(step)!] = Number.isFinite(series.value[i]!) ? series.value[i]! : null),
    );
    return column;
  });
  return [x, ...columns];
}

/** Moves labels apart that would overlap, the lowest kept above the bottom. */
function spread(ends: { y: number }[], gap: number, bottom: number): void {
  for (let i = 1; i < ends.length; i++) ends[i]!.y = Math.max(ends[i]!.y, ends[i - 1]!.y + gap);
  for (let i = ends.length - 1, limit = bottom; i >= 0; i--, limit -= gap)
    ends[i]!.y = Math.min(ends[i]!.y, limit);
}
