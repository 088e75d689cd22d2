// Builds everything into dist/, unless it is built already: node build.ts [--force] [--watch]
import type { BuildOptions, PluginBuild } from "esbuild";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { isBuilt, stamp, stampFile } from "./run.mjs";

const root = import.meta.dirname;
const dist = join(root, "dist");

const shared: BuildOptions = {
  absWorkingDir: root,
  bundle: true,
  format: "esm",
  target: "es2024",
  sourcemap: "linked",
  logLevel: "warning",
};

/** The Worker, as the embedded server runs it; `wrangler deploy` bundles the same source by itself. */
const worker: BuildOptions = {
  ...shared,
  entryPoints: { index: "worker/index.ts" },
  outdir: "dist/worker",
  conditions: ["workerd", "worker", "browser"],
  external: ["node:*", "cloudflare:*"],
  minify: true,
};

/** What users of the package install beside it; all else is bundled. */
const installed = Object.keys(
  JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies,
);

/** The client library, for Node and for browsers; `#platform` in package.json is what differs. */
const library: BuildOptions = {
  ...shared,
  entryPoints: { node: "client/index.ts" },
  outdir: "dist/client",
  platform: "node",
  external: installed,
};
const browser: BuildOptions = {
  ...shared,
  entryPoints: { browser: "client/index.ts" },
  outdir: "dist/client",
  conditions: ["browser"],
  minify: true,
};

const cli: BuildOptions = {
  ...shared,
  entryPoints: { assay: "client/cli/assay.ts" },
  outdir: "dist/cli",
  platform: "node",
  external: installed,
  splitting: true,
};

/** The pages. Names carry hashes, so that browsers may keep all but index.html for good. */
const app: BuildOptions = {
  ...shared,
  entryPoints: { app: "client/app/main.ts", style: "client/app/style.css" },
  outdir: "dist/app/assets",
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  conditions: ["browser"],
  loader: { ".woff2": "file" },
  minify: true,
  metafile: true,
};

if (process.argv.includes("--watch")) await watch();
else if (process.argv.includes("--force") || !isBuilt()) await buildAll();

async function buildAll(): Promise<void> {
  const { build } = await import("esbuild");
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  const [, , , , pages] = await Promise.all([
    build(worker),
    build(library),
    build(browser),
    build(cli),
    build(app),
  ]);
  writeShell(Object.keys(pages.metafile!.outputs));
  cpSync(join(root, "worker/migrations"), join(dist, "worker/migrations"), { recursive: true });
  writeFileSync(join(dist, "worker/options.json"), JSON.stringify(await workerOptions()));
  declareTypes();
  writeFileSync(stampFile, stamp());
}

/** Rebuilds the pages as they change; the Worker is wrangler dev's to rebuild. */
async function watch(): Promise<void> {
  const { context } = await import("esbuild");
  const plugin = {
    name: "shell",
    setup: (b: PluginBuild) =>
      b.onEnd(({ metafile }) => metafile && writeShell(Object.keys(metafile.outputs))),
  };
  const pages = await context({ ...app, plugins: [plugin] });
  await pages.watch();
}

/** Writes index.html around the hashed names. */
function writeShell(outputs: string[]): void {
  const href = (name: RegExp) =>
    `/${outputs.find((path) => name.test(path))!.replace("dist/app/", "")}`;
  const html = readFileSync(join(root, "client/app/index.html"), "utf8");
  mkdirSync(join(dist, "app"), { recursive: true });
  writeFileSync(
    join(dist, "app/index.html"),
    html.replace("/app.js", href(/app-\w+\.js$/)).replace("/style.css", href(/style-\w+\.css$/)),
  );
  writeFileSync(
    join(dist, "app/_headers"),
    "/assets/*\n  Cache-Control: public, max-age=31536000, immutable\n",
  );
}

/** What wrangler.toml says of the Worker, as Miniflare takes it, so that the server need not load wrangler at its start. */
async function workerOptions(): Promise<object> {
  const { unstable_getMiniflareWorkerOptions } = await import("wrangler");
  const { workerOptions } = unstable_getMiniflareWorkerOptions(join(root, "wrangler.toml"));
  const { compatibilityDate, compatibilityFlags, cronTriggers, assets } = workerOptions;
  return {
    compatibilityDate,
    compatibilityFlags,
    cronTriggers,
    assets: { ...(assets as object), directory: undefined },
  };
}

function declareTypes(): void {
  const tsc = spawnSync(
    process.execPath,
    [join(root, "node_modules/typescript/bin/tsc"), "-p", "client/tsconfig.types.json"],
    { cwd: root, encoding: "utf8" },
  );
  if (tsc.status !== 0) throw new Error(`types of the client: ${tsc.stdout}${tsc.stderr}`);
}
