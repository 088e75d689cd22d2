import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import { tableFromIPC } from "apache-arrow";
import type { Page } from "playwright-core";
import { connect } from "../../client/index.ts";
import { closeBrowserAfter, executablePath, openPage } from "./browser.ts";
import { serverForTests, temporaryFolder } from "./server.ts";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

describe.runIf(executablePath)("in Chromium", async () => {
  const server = await serverForTests();
  closeBrowserAfter();
  process.env["ASSAY_HOME"] = temporaryFolder();
  const lab = await connect(server.url);

  /** How many pixels of a chart have the colour of the first run. */
  const inked = (page: Page, chart = "figure") =>
    page
      .locator(`${chart} canvas`)
      .first()
      .evaluate((canvas: HTMLCanvasElement) => {
        const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let i = 0; i < data.length; i += 4)
          if (
            Math.abs(data[i]! - 0x2a) +
              Math.abs(data[i + 1]! - 0x69) +
              Math.abs(data[i + 2]! - 0xd7) <
              40 &&
            data[i + 3]! > 200
          )
            count++;
        return count;
      });

  test("the empty page shows how to log, and changes by itself when the first run arrives", async () => {
    const { page, complaints } = await openPage(server.url);
    await page.getByText("No runs yet").waitFor();
    expect(await page.locator("pre").first().textContent()).toContain(server.url);
    const run = await lab.startRun({ experiment: "first" });
    await page.getByRole("link", { name: /first/ }).click({ timeout: 8000 });
    await page.getByRole("heading", { name: "first" }).waitFor();
    await run.finish();
    expect(complaints).toEqual([]);
  });

  test("a link that MLflow's client prints leads to its run, the first time and from another", async () => {
    const [one, two] = await Promise.all(
      ["linked one", "linked two"].map((experiment) => lab.startRun({ experiment })),
    );
    const { page } = await openPage(`${server.url}/#/experiments/0/runs/${one!.id}`);
    await page.getByRole("heading", { name: "linked one" }).waitFor();
    expect(page.url()).toBe(`${server.url}/experiments/linked%20one?show=1`);
    await page.evaluate((hash) => (location.hash = hash), `#/experiments/0/runs/${two!.id}`);
    await page.getByRole("heading", { name: "linked two" }).waitFor();
    for (const run of [one!, two!]) await run.finish();
  });

  test("a point that a run logs is drawn within 3 seconds, and fetched alone", async () => {
    await lab.createExperiment({
      name: "live",
      hypothesis: "Is it drawn?",
      metric: "loss",
      direction: "min",
    });
    const run = await lab.startRun({ experiment: "live", name: "one", params: { lr: 0.1 } });
    for (let step = 0; step < 20; step++) run.log({ loss: Math.exp(-step / 10) }, { step });
    await run.flush();
    const { page, complaints, foreign } = await openPage(`${server.url}/experiments/live`);
    await page.getByText("20 points").waitFor();
    const before = await inked(page);
    expect(before).toBeGreaterThan(100);
    const fetched: Promise<number>[] = [];
    page.on("response", (response) => {
      if (response.url().includes("/points.arrow"))
        fetched.push(response.body().then((body) => tableFromIPC(body).numRows));
    });
    const began = performance.now();
    run.log({ loss: 0.01 }, { step: 40 });
    await page.getByText("21 points").waitFor({ timeout: 3000 });
    expect(performance.now() - began).toBeLessThan(3000);
    expect(await inked(page)).not.toBe(before);
    expect((await Promise.all(fetched)).reduce((sum, rows) => sum + rows, 0)).toBe(1);
    await run.finish();
    expect({ complaints, foreign }).toEqual({ complaints: [], foreign: [] });
  });

  test("a diverging run's NaN is said in the table and on the chart, and breaks the line", async () => {
    const run = await lab.startRun({ experiment: "diverging", name: "hot" });
    for (let step = 0; step < 10; step++)
      run.log({ loss: step < 6 ? 2 ** step : step < 8 ? Infinity : NaN }, { step });
    await run.finish("failed", { error: "loss is NaN" });
    const { page, complaints } = await openPage(`${server.url}/experiments/diverging`);
    await page.getByText("4 not finite").waitFor();
    expect(await page.locator("tbody tr").first().innerText()).toMatch(/hot.*✕ failed.*NaN/s);
    expect(complaints).toEqual([]);
  });

  test("sorting and choosing lines is kept in the URL, and another tab opened on it shows the same", async () => {
    for (let i = 0; i < 12; i++) {
      const run = await lab.startRun({ experiment: "many", name: `run ${i}`, params: { i } });
      run.log({ loss: (i * 7) % 12 }, { step: 0 });
      run.log({ loss: i }, { step: 1 });
      await run.finish();
    }
    const { page } = await openPage(`${server.url}/experiments/many`);
    await page.getByText("12 runs, 10 drawn").waitFor();
    await page.getByRole("button", { name: "draw run 11", exact: true }).click();
    await page.getByRole("button", { name: /^i$/ }).click();
    await page.getByText("12 runs, 11 drawn").waitFor();
    const rows = await page.locator("tbody tr").allInnerTexts();
    expect(rows[0]).toContain("run 11");
    const other = await openPage(page.url());
    await other.page.getByText("12 runs, 11 drawn").waitFor();
    expect(await other.page.locator("tbody tr").allInnerTexts()).toEqual(rows);
  });

  test("hovering a row lights its line, and leaving it lights all again", async () => {
    const { page } = await openPage(`${server.url}/experiments/many?show=1.2`);
    await page.getByText("2 drawn").waitFor();
    await page.locator("figure canvas").first().waitFor();
    const before = await inked(page);
    await page
      .locator("tbody tr")
      .filter({ has: page.getByText("run 1", { exact: true }) })
      .hover();
    await expect.poll(() => inked(page)).toBeLessThan(before);
  });

  test("points logged while their run is not drawn, or while the server does not answer, are drawn afterwards", async () => {
    const run = await lab.startRun({ experiment: "away", name: "one" });
    run.log({ loss: 1 }, { step: 0 });
    await run.flush();
    const { page } = await openPage(`${server.url}/experiments/away`);
    await page.getByText("1 points").waitFor();
    const draw = page.getByRole("button", { name: "draw one" });
    await draw.click();
    run.log({ loss: 2 }, { step: 1 });
    await run.flush();
    await page.waitForTimeout(2000); // the page hears of it, and needs no points
    await draw.click();
    await page.getByText("2 points").waitFor();
    await page.route("**/points.arrow*", (route) => route.abort());
    run.log({ loss: 3 }, { step: 2 });
    await run.finish();
    await page.getByText("Not connected").waitFor();
    await page.unroute("**/points.arrow*");
    await page.getByText("3 points").waitFor();
  });

  test("a run's address leads to it in its experiment", async () => {
    const run = await lab.startRun({ experiment: "addressed", name: "this one" });
    run.log({ loss: 1 });
    await run.finish();
    const { page } = await openPage(run.url);
    await page.getByRole("heading", { name: "addressed" }).waitFor();
    await page.getByText("1 run, 1 drawn").waitFor();
    expect(new URL(page.url()).pathname).toBe("/experiments/addressed");
  });

  test("a name that is markup is shown as text", async () => {
    const name = `<img src=x onerror="document.title='pwned'">`;
    const run = await lab.startRun({
      experiment: name,
      name,
      tags: { "<b>": "<script>alert(1)</script>" },
    });
    run.log({ "<i>loss</i>": 1 });
    await run.finish();
    const { page, complaints } = await openPage(
      `${server.url}/experiments/${encodeURIComponent(name)}`,
    );
    await page.getByRole("heading", { name }).waitFor();
    await page.getByText("<i>loss</i>").first().waitFor();
    expect(await page.title()).not.toBe("pwned");
    expect(complaints).toEqual([]);
  });

  test("an experiment that is not there, and a page that is not there, are said so", async () => {
    const { page } = await openPage(`${server.url}/experiments/nowhere`);
    await page.getByText("experiment not found: nowhere").waitFor();
    await page.goto(`${server.url}/nowhere`);
    await page.getByText("There is no such page").waitFor();
  });

  test.for([
    ["light", 1440],
    ["light", 390],
    ["dark", 1440],
    ["dark", 1024],
    ["dark", 390],
  ] as const)(
    "in %s at %i px nothing serious is inaccessible and nothing overflows",
    async ([scheme, width]) => {
      for (const path of ["/", "/experiments/many", "/experiments/first"]) {
        const { page, complaints } = await openPage(server.url + path, {
          scheme,
          width,
          height: 844,
        });
        await page.locator("h1").waitFor();
        await page.waitForTimeout(500);
        await page.evaluate(axe);
        const violations = await page.evaluate(
          async () => (await (globalThis as any).axe.run()).violations,
        );
        expect(
          violations
            .filter(({ impact }: any) => ["serious", "critical"].includes(impact))
            .map(({ id, nodes }: any) => [id, nodes[0].html]),
        ).toEqual([]);
        expect(
          await page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
        ).toBeLessThanOrEqual(0);
        expect(complaints).toEqual([]);
      }
    },
  );
});
