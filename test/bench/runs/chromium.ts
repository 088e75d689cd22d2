import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser, type Page } from "playwright-core";
import { startCanned } from "../points/servers.ts";
import { median, type Report } from "../report.ts";
import type { Load } from "./load.ts";
import type * as runsPage from "./page.ts";
import type { Side } from "./page.ts";
import { columns } from "./search.ts";

const root = join(import.meta.dirname, "../../..");
const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const rounds = 9;

/** How long a cold page takes to load all runs, and one that has them to filter and sort them, beside other engines. */
export async function inChromium(report: Report, url: string, load: Load): Promise<void> {
  if (!existsSync(executablePath)) return console.log("skipped: measures in Chromium (none found)");
  const html = "text/html";
  const javascript = "text/javascript";
  const file = (path: string) => readFileSync(join(root, path));
  const duckdb = "node_modules/@duckdb/duckdb-wasm/dist";
  const pages = await startCanned(
    {
      "/cold": { type: html, plain: coldPage(load.experiment) },
      "/warm": { type: html, plain: '<!doctype html><meta charset="utf-8">' },
      "/client.js": { type: javascript, plain: file("dist/client/browser.js") },
      "/page.js": { type: javascript, plain: await bundle(join(import.meta.dirname, "page.ts")) },
      "/duckdb.js": { type: javascript, plain: file(`${duckdb}/duckdb-browser-eh.worker.js`) },
      "/duckdb.wasm": { type: "application/wasm", plain: file(`${duckdb}/duckdb-eh.wasm`) },
    },
    url,
  );
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-quic"],
  });
  await loading(report, browser, `${pages.url}/cold`, load.runs);
  const page = await browser.newPage();
  await page.goto(`${pages.url}/warm`);
  await racing(report, page, `${pages.url}/live`, load.experiment);
  await browser.close();
  pages.close();
}

/** Returns a page that loads the client and then all runs, and says how long that took from the start of the navigation. */
const coldPage = (
  experiment: string,
) => `<!doctype html><meta charset="utf-8"><script type="module">
import { connect } from "/client.js";
const lab = await connect(location.origin + "/live");
const table = await lab.runs(${JSON.stringify(experiment)}, { columns: ${JSON.stringify(columns)} });
globalThis.loaded = { rows: table.numRows, took: performance.now() };
</script>`;

declare const loaded: { rows: number; took: number } | undefined;

async function bundle(entry: string): Promise<Uint8Array> {
  const { build } = await import("esbuild");
  const { outputFiles } = await build({
    entryPoints: [entry],
    absWorkingDir: root,
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["browser"],
    write: false,
  });
  return outputFiles[0]!.contents;
}

async function loading(report: Report, browser: Browser, url: string, runs: number): Promise<void> {
  const times: number[] = [];
  for (let round = -1; round < rounds; round++) {
    const context = await browser.newContext(); // without what others have cached
    const page = await context.newPage();
    await page.goto(url);
    await page.waitForFunction(() => typeof loaded === "object", undefined, { polling: 100 });
    const { rows, took } = await page.evaluate(() => loaded!);
    if (rows !== runs) throw new Error(`wrong table: ${rows} rows`);
    if (round >= 0) times.push(took);
    await context.close();
  }
  report.add("load all with 12 columns, from a cold page", median(times), "ms", "≤ 1,000");
}

async function racing(report: Report, page: Page, server: string, experiment: string) {
  const query = `${new URLSearchParams({ experiment, columns: columns.join() })}`;
  const times = await page.evaluate(
    async ([server, query]) => {
      const { race } = (await import(`${location.origin}/page.js`)) as typeof runsPage;
      return race(server!, query!);
    },
    [server, query],
  );
  const others = {
    duckdb: "DuckDB",
    arquero: "arquero",
    arrays: "arquero on arrays",
  };
  const beside = (what: string, question: keyof typeof times, target: string, ratio: string) => {
    const of = (side: Side) => median(times[question][side]);
    report.add(what, of("assay"), "ms", target);
    for (const side of Object.keys(others) as (keyof typeof others)[])
      report.add(`${what}, ${others[side]} takes`, of(side) / of("assay"), "×", ratio, {
        ours: [of("assay"), "ms"],
        against: [of(side), "ms"],
      });
  };
  beside("find rows by 3 clauses", "rows", "≤ 1", "≥ 5");
  beside("filter by 3 clauses into a table", "filter", "", "");
  beside("sort by a metric into a table", "sort", "≤ 50", "");
}
