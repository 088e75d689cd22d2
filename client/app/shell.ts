import { html, type TemplateResult } from "lit-html";

/** One quiet line on top: where one is, and how fresh it is. */
export const bar = (
  crumbs: TemplateResult | string,
  end: TemplateResult | string,
  isLost = false,
): TemplateResult => html`
  <header class="bar">
    <a class="brand" href="/">
      <svg width="15" height="15" viewBox="0 0 15 15" aria-hidden="true">
        <path
          d="M7.5 1 14 7.5 7.5 14 1 7.5Z"
          fill="none"
          stroke="currentColor"
          stroke-width="1.6"
        />
        <circle cx="7.5" cy="7.5" r="2" fill="var(--accent)" />
      </svg>
      Assay
    </a>
    ${crumbs}
    <span class=${isLost ? "end lost" : "end"} role="status">${end}</span>
  </header>
`;

/** What stands where there is nothing yet: how to log the first run, with this server's own address. */
export const firstRun = (experiment: string): TemplateResult => html`
  <section class="empty">
    <h2>No runs yet</h2>
    <p>This page changes by itself when the first one arrives. From TypeScript:</p>
    <pre>
import { connect } from "assay";

const lab = await connect("${location.origin}");
const run = await lab.startRun({ experiment: "${experiment}", params: { lr: 0.1 } });
for (let step = 0; step &lt; 100; step++) run.log({ loss: 1 / (1 + step) }, { step });
await run.finish();</pre>
    <p></p>
    <p>Or from any program that prints JSON lines:</p>
    <pre>python train.py | npx assay log --experiment ${experiment} --url ${location.origin}</pre>
  </section>
`;

export const broken = (title: string, message: string): TemplateResult => html`
  <section class="empty">
    <h2>${title}</h2>
    <p>${message}</p>
  </section>
`;
