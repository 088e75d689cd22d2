import { build } from "esbuild";
import { openAsBlob, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { fixtures } from "../client/import/expected.ts";
import { closeBrowserAfter, executablePath, openPage } from "./browser.ts";
import { readDatabase, readFiles } from "./import-page.ts";
import { root, serverForTests } from "./server.ts";

/** The files of a store by path. */
const filesIn = (store: string): [string, Buffer][] =>
  readdirSync(join(fixtures, store), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => [relative(join(fixtures, store), path), readFileSync(path)]);

describe.runIf(executablePath)("a page reads in Chromium what Node reads", async () => {
  const server = await serverForTests();
  closeBrowserAfter();
  const bundle = await build({
    entryPoints: [join(import.meta.dirname, "import-page.ts")],
    bundle: true,
    format: "esm",
    write: false,
    conditions: ["browser"],
    logLevel: "error",
  });

  /** Opens a page that has the readers at hand; SQLite is fetched from its own origin. */
  async function pageWithReaders(files: Record<string, Buffer | string>) {
    const served: Record<string, [type: string, body: Buffer | string]> = {
      "/import.html": ["text/html", "<title>import</title>"],
      "/import.js": ["text/javascript", bundle.outputFiles[0]!.text],
      "/sqlite.wasm": [
        "application/wasm",
        readFileSync(join(root, "node_modules/sql.js/dist/sql-wasm-browser.wasm")),
      ],
    };
    for (const [path, body] of Object.entries(files)) served[path] = ["application/json", body];
    const { page, complaints, foreign } = await openPage("about:blank");
    for (const [path, [contentType, body]] of Object.entries(served))
      await page.route(`${server.url}${path}`, (route) => route.fulfill({ contentType, body }));
    foreign.length = 0;
    await page.goto(`${server.url}/import.html`);
    return {
      run: (script: string): Promise<unknown> =>
        page.evaluate(
          `(async () => { const { readFiles, readDatabase } = await import("/import.js"); ${script} })()`,
        ),
      complaints,
      requested: () =>
        page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)"),
    };
  }

  test("a dropped folder mlruns, without loading SQLite", { timeout: 120_000 }, async () => {
    const files = filesIn("mlruns-3");
    const body = JSON.stringify(files.map(([path, bytes]) => [path, bytes.toString("base64")]));
    const page = await pageWithReaders({ "/files.json": body });
    const found = await page.run(`
      const files = await (await fetch("/files.json")).json();
      return readFiles(files.map(([path, text]) => [path, new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))])]));
    `);
    expect(found).toEqual(
      await readFiles(files.map(([path, bytes]) => [path, new Blob([new Uint8Array(bytes)])])),
    );
    expect(page.complaints).toEqual([]);
    expect(await page.requested()).not.toContain(`${server.url}/sqlite.wasm`);
  });

  test("a database", { timeout: 120_000 }, async () => {
    const file = join(fixtures, "mlflow.db");
    const page = await pageWithReaders({ "/mlflow.db": readFileSync(file) });
    const found = await page.run(
      `return readDatabase(await (await fetch("/mlflow.db")).blob(), "/sqlite.wasm");`,
    );
    expect(found).toEqual(await readDatabase(await openAsBlob(file)));
    expect(page.complaints).toEqual([]);
  });
});
