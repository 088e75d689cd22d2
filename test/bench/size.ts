import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { say } from "./report.ts";

const dist = join(import.meta.dirname, "../../dist");
const kB = (path: string): number =>
  gzipSync(readFileSync(join(dist, path)), { level: 9 }).length / 1000;

/** What has to be loaded: gzipped sizes of the builds. */
export function sizes(): void {
  const app = readdirSync(join(dist, "app/assets")).find((name) => /^app-\w+\.js$/.test(name))!;
  say("size", "Worker", kB("worker/index.js"), "kB gzip", "(target < 250)");
  say("size", "pages", kB(`app/assets/${app}`), "kB gzip");
  say("size", "client for browsers, Arrow included", kB("client/browser.js"), "kB gzip");
}
