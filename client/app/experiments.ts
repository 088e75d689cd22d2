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
              ? html`<table class="list">
                  <thead>
                    <tr>
                      <th>Experiment</th>
                      <th class="hide-s">decides</th>
                      <th class="num">runs</th>
                      <th class="num hide-s">created</th>
                    </tr>
                  </thead>
                  <tbody>
                    ${experiments.map(row)}
                  </tbody>
                </table>`
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
  <tr>
    <td>
      <a href="/experiments/${encodeURIComponent(name)}">
        <span class="strong">${name}</span>
        ${hypothesis ? html`<span class="question">${hypothesis}</span>` : ""}
      </a>
    </td>
    <td class="muted hide-s">${metric ? `${metric} ${direction === "max" ? "▲" : "▼"}` : ""}</td>
    <td class="num">${formatCount(runs)}</td>
    <td class="muted num hide-s">${formatAgo(created, Date.now())}</td>
  </tr>
`;
