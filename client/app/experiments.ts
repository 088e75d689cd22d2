import { effect, signal } from "@preact/signals-core";
import { html, render } from "lit-html";
import type { Experiment, Lab } from "../index.ts";
import { formatAgo, formatCount } from "./format.ts";
import { bar, broken, firstRun } from "./shell.ts";

const pollEvery = 3000;

/** The list of experiments: each with its question. Returns how to leave the page. */
export function experimentsPage(lab: Lab, root: HTMLElement): () => void {
  document.title = "Experiments · Assay";
  const found = signal<Experiment[] | undefined>(undefined);
  const problem = signal<string | undefined>(undefined);
  let timer: ReturnType<typeof setTimeout>;
  const poll = async () => {
    try {
      const table = await lab.experiments();
      found.value = table.toArray().map((row) => row!.toJSON() as Experiment);
      problem.value = undefined;
    } catch (error) {
      problem.value = (error as Error).message;
    }
    timer = setTimeout(() => void poll(), pollEvery);
  };
  void poll();
  const stop = effect(() => {
    const experiments = found.value;
    render(
      html`
        ${bar(html`<span class="strong">Experiments</span>`, problem.value ? `Not connected: ${problem.value}` : "", !!problem.value)}
        <main>
          <section class="head">
            <div><h1>Experiments</h1></div>
          </section>
          ${
            experiments?.length
              ? html`<ul class="list">
                  ${experiments.map(row)}
                </ul>`
              : experiments
                ? firstRun("my-experiment")
                : problem.value
                  ? broken("The server does not answer", problem.value)
                  : ""
          }
        </main>
      `,
      root,
    );
  });
  return () => {
    clearTimeout(timer);
    stop();
  };
}

const row = ({ name, hypothesis, metric, direction, runs, created }: Experiment) => html`
  <li>
    <a href="/experiments/${encodeURIComponent(name)}">
      <span class="strong">${name}</span>
      <span class="muted hide-s"
        >${metric ? `${metric} ${direction === "max" ? "▲" : "▼"}` : ""}</span
      >
      <span class="num">${formatCount(runs)} ${runs === 1 ? "run" : "runs"}</span>
      <span class="muted num hide-s">${formatAgo(created, Date.now())}</span>
      ${hypothesis ? html`<span class="question">${hypothesis}</span>` : ""}
    </a>
  </li>
`;
