// @ts-check
// Runs the command line of this checkout, built first where it is not: node run.mjs start --port 9000
// Plain JavaScript, as this is most of the start that is ours: stripping types would take longer than all it does.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const root = import.meta.dirname;
const sources = [
  "wire",
  "worker",
  "client",
  "notebooks",
  "build.ts",
  "package.json",
  "package-lock.json",
  "wrangler.toml",
  "tsconfig.json",
];

/** Where a build notes what it was made of. */
export const stampFile = join(root, "dist/stamp");

/** Returns a digest of the sources' names, sizes and times. */
export function stamp() {
  const hash = createHash("sha256");
  for (const source of sources) visit(join(root, source));
  return hash.digest("hex");

  /** @param {string} path */
  function visit(path) {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat) return;
    if (stat.isDirectory()) for (const name of readdirSync(path).sort()) visit(join(path, name));
    else hash.update(`${path} ${stat.size} ${stat.mtimeMs}\n`);
  }
}

/** Whether dist/ is made of the sources as they are. */
export function isBuilt() {
  try {
    return readFileSync(stampFile, "utf8") === stamp();
  } catch {
    return false;
  }
}

if (import.meta.main) {
  if (!isBuilt()) {
    console.error("assay: building, a few seconds");
    const { status } = spawnSync(process.execPath, [join(root, "build.ts")], { stdio: "inherit" });
    if (status !== 0) process.exit(status ?? 1);
  }
  const cli = join(root, "dist/cli/assay.js");
  process.argv[1] = cli;
  await import(cli);
}
