import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { closeBrowserAfter, executablePath, openPage } from "./browser.ts";
import { root, serverForTests } from "./server.ts";

const build = readFileSync(join(root, "dist/client/browser.js"), "utf8");

test("the browser build holds nothing of Node's", () => {
  expect(build).not.toMatch(/\bfrom\s*"(node:|fs|path|os)|require\(|process\.(env|on|argv)/);
});

describe.runIf(executablePath)("in Chromium", async () => {
  const server = await serverForTests();
  closeBrowserAfter();

  /** Runs a script in a page, with connect at hand. It is text, as vitest rewrites the imports of functions. */
  const inPage = (page: Page, script: string): Promise<unknown> =>
    page.evaluate(`(async () => { const { connect } = await import("/client.js"); ${script} })()`);

  /** Opens an empty page of the server's origin that can import the browser build. */
  async function pageWithClient() {
    const opened = await openPage(`${server.url}/nowhere`);
    await opened.page.route("**/client.js", (route) =>
      route.fulfill({ contentType: "text/javascript", body: build }),
    );
    return opened.page;
  }

  test("a run is logged from a page and read back there as an Arrow table", async () => {
    const page = await pageWithClient();
    const found = await inPage(
      page,
      `
      const lab = await connect();
      const run = await lab.startRun({ experiment: "page", params: { lr: 0.1 } });
      for (let step = 0; step < 100; step++) run.log({ loss: step === 99 ? NaN : step }, { step });
      run.artifact("notes/a.txt", new Blob(["hello"], { type: "text/plain" }));
      const { delivered } = await run.finish();
      const points = await lab.points({ run: run.id });
      const values = Array.from(points.getChild("value").toArray());
      return {
        delivered,
        count: values.length,
        isNaN: Number.isNaN(values[99]),
        state: (await lab.run(run.id)).state,
        file: await (await lab.file(run.id, "notes/a.txt")).text(),
      };
    `,
    );
    expect(found).toEqual({
      delivered: true,
      count: 100,
      isNaN: true,
      state: "finished",
      file: "hello",
    });
  });

  test("what a page could not send is kept in IndexedDB, and sent by the next one", async () => {
    const page = await pageWithClient();
    await page.route("**/api/**", (route) => route.abort());
    await inPage(
      page,
      `
      const lab = await connect();
      const run = await lab.startRun({ experiment: "lost" });
      for (let step = 0; step < 50; step++) run.log({ loss: step }, { step });
      await new Promise((resolve) => setTimeout(resolve, 300));
    `,
    );
    await page.unroute("**/api/**");
    await page.reload();
    const sent = await inPage(
      page,
      `
      const lab = await connect();
      const outcomes = await lab.sync();
      return {
        outcomes: outcomes.length,
        rows: (await lab.points("lost")).numRows,
        again: (await lab.sync()).length,
      };
    `,
    );
    expect(sent).toEqual({ outcomes: 1, rows: 50, again: 0 });
  });
});
