import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import * as client from "../../client/index.ts";

const root = join(import.meta.dirname, "../..");
const readme = readFileSync(join(root, "README.md"), "utf8");

/** Runs a tool of ours and returns what it complains of. */
function complaintsOf(tool: string, args: string[]): string {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, "node_modules", tool), ...args],
    { cwd: root, encoding: "utf8" },
  );
  return status === 0 ? "" : stdout + stderr;
}

test.for(["wire", "worker", "client", "client/cli", "test", "test/worker"])(
  "the types of %s hold",
  { timeout: 60_000 },
  (world) => {
    expect(complaintsOf("typescript/bin/tsc", ["-p", world])).toBe("");
  },
);

test("lint finds nothing, the walls between the rooms included", () => {
  expect(complaintsOf("oxlint/bin/oxlint", ["--type-aware", "--deny-warnings"])).toBe("");
}, 60_000);

test.for([
  ["wire", "../worker/env.ts"],
  ["worker", "../client/lab.ts"],
  ["client", "./app/live.ts"],
  ["client/stats", "../app/live.ts"],
  ["client/app", "../cli/table.ts"],
  ["client/cli", "../../worker/env.ts"],
])("a wall is noticed: %s may not import %s", ([room, path]) => {
  const file = join(root, room!, "breach.ts");
  writeFileSync(file, `import * as breach from "${path}";\nconsole.log(breach);\n`);
  const found = complaintsOf("oxlint/bin/oxlint", [file]);
  rmSync(file);
  expect(found).toContain("no-restricted-imports");
});

test("everything is formatted alike", () => {
  expect(complaintsOf("oxfmt/bin/oxfmt", ["--check", "."])).toBe("");
}, 60_000);

test("nothing is dead: no unused file, export or dependency", () => {
  expect(complaintsOf("knip/bin/knip.js", ["--no-progress"])).toBe("");
}, 60_000);

test.for(Object.keys(client))("the README documents %s", (name) => {
  expect(readme).toMatch(new RegExp(`^### ${name}\\b`, "m"));
});

test("the Worker is smaller than the README's promise", () => {
  expect(gzipSync(readFileSync(join(root, "dist/worker/index.js"))).length).toBeLessThan(250_000);
});

test(
  "wrangler takes the configuration and bundles the Worker for deployment",
  { timeout: 60_000 },
  () => {
    const args = ["deploy", "--dry-run", "--outdir", ".cache/deploy"];
    expect(complaintsOf("wrangler/bin/wrangler.js", args)).toBe("");
  },
);

test("every version is exact, and flechette is the one that installs", () => {
  const { dependencies, devDependencies, overrides } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  for (const version of Object.values({ ...dependencies, ...devDependencies }))
    expect(version).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/);
  expect(devDependencies["@uwdata/flechette"]).toBe("2.6.0");
  expect(overrides["@uwdata/flechette"]).toBe("$@uwdata/flechette");
});

test("migrations are numbered without gaps", () => {
  const numbers = readdirSync(join(root, "worker/migrations")).map((name) =>
    Number(/^(\d{4})_\w+\.sql$/.exec(name)?.[1]),
  );
  expect(numbers).toEqual(numbers.map((_, i) => i + 1));
});
