import { afterAll } from "vitest";
import { chromium, type Browser, type Page } from "playwright-core";

/** Chromium's path, or "" where there is none and the tests in a browser are left out. */
export const executablePath = process.env["CHROMIUM"] ?? "";

let browser: Browser | undefined;

/** A page that is watched: what it complained of, and whom it asked besides its own server. */
export interface Watched {
  page: Page;
  complaints: string[];
  foreign: string[];
}

/** Opens a page in a new context; errors on its console and requests to other origins are collected. */
export async function openPage(
  url: string,
  {
    width = 1440,
    height = 900,
    scheme = "light",
  }: { width?: number; height?: number; scheme?: "light" | "dark" } = {},
): Promise<Watched> {
  browser ??= await chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  const complaints: string[] = [];
  const foreign: string[] = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on(
    "request",
    (request) =>
      !request.url().startsWith(new URL(url).origin) &&
      !/^(data|blob):/.test(request.url()) &&
      foreign.push(request.url()),
  );
  await page.goto(url);
  return { page, complaints, foreign };
}

/** Closes the browser after a file's tests. */
export function closeBrowserAfter(): void {
  afterAll(async () => {
    await browser?.close();
    browser = undefined;
  });
}
