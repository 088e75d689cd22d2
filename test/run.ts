// npm test: brings what the tests need, runs them all, and ends with the line "N passed, N failed".
// Arguments go to vitest: npm test -- test/wire
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "..");
const cache = join(root, ".cache");
/** What tests need of Python, each in a folder of its own: the packages, and the modules by which they are told to be there. */
const environments = {
  PYTHON: {
    folder: "venv",
    packages: [
      "polars==2.1.0",
      "pyarrow==26.0.1",
      "pandas==3.1.1",
      "duckdb==2.0.0",
      "fsspec==2026.9.0",
      "aiohttp==3.14.5",
    ],
    names: "polars, pyarrow, pandas, duckdb, fsspec, aiohttp",
  },
  MLFLOW3: {
    folder: "mlflow3",
    packages: ["mlflow==3.17.2", "psutil==7.2.2"],
    names: "mlflow, sklearn, pandas, matplotlib, PIL, psutil",
  },
  MLFLOW2: {
    folder: "mlflow2",
    // MLflow 2 cannot end a span with later releases of OpenTelemetry.
    packages: ["mlflow-skinny==2.22.5", "opentelemetry-sdk==1.30.0"],
    names: "mlflow",
  },
};
type Environment = (typeof environments)[keyof typeof environments];
mkdirSync(cache, { recursive: true });

run(process.execPath, ["build.ts"]);
const chromium = findChromium() ?? installChromium();
const pythons = Object.fromEntries(
  await Promise.all(
    Object.entries(environments).map(async ([name, it]) => [
      name,
      isThere(it) || (await install(it)) ? pythonOf(it) : "",
    ]),
  ),
) as Record<keyof typeof environments, string>;
if (!chromium)
  console.log(
    "skipped: tests in Chromium (none found, and this user may not install it; set CHROMIUM to its path)",
  );
for (const [name, path] of Object.entries(pythons))
  if (!path) console.log(`skipped: tests with ${name} (no python3 with venv, or no package index)`);

const report = join(cache, "report.json");
const vitest = spawnSync(
  process.execPath,
  [
    "node_modules/vitest/vitest.mjs",
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  {
    cwd: root,
    stdio: "inherit",
    env: {
      ...process.env,
      CHROMIUM: chromium ?? "",
      ...pythons,
      WRANGLER_SEND_METRICS: "false",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_LOG_PATH: join(cache, "wrangler"),
    },
  },
);
const { numPassedTests, numFailedTests, testResults } = JSON.parse(
  readFileSync(report, "utf8"),
) as {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { status: string; assertionResults: unknown[] }[];
};
// A file that cannot even be loaded has no tests to count.
const broken = testResults.filter(
  ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
).length;
const failed =
  numFailedTests + broken + (vitest.status !== 0 && numFailedTests + broken === 0 ? 1 : 0);
console.log(`${numPassedTests} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;

function findChromium(): string | undefined {
  const known = [
    process.env["CHROMIUM"],
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  ];
  return known.find((path) => path && existsSync(path));
}

function installChromium(): string | undefined {
  if (!mayInstall()) return undefined;
  console.log("installing Chromium for the tests in a browser");
  run("apt-get", ["update", "-qq"], true);
  run("apt-get", ["install", "-y", "-qq", "chromium"], true);
  return findChromium();
}

function pythonOf({ folder }: Environment): string {
  return join(cache, folder, "bin/python");
}

function isThere(it: Environment): boolean {
  const python = pythonOf(it);
  // Found, not imported: that takes seconds.
  const find = `from importlib.util import find_spec as f; exit(not all(map(f, "${it.names}".split(", "))))`;
  return existsSync(python) && spawnSync(python, ["-c", find]).status === 0;
}

async function install(it: Environment): Promise<boolean> {
  const venv = () => run("python3", ["-m", "venv", join(cache, it.folder)], true);
  if (
    !venv() &&
    !(mayInstall() && run("apt-get", ["install", "-y", "-qq", "python3-venv"], true) && venv())
  )
    return false;
  const pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", ...it.packages];
  // Asynchronous: several are installed at once.
  return promisify(execFile)(pythonOf(it), pip).then(
    () => isThere(it),
    () => false,
  );
}

const mayInstall = (): boolean => process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");

function run(command: string, args: string[], mayFail = false): boolean {
  try {
    execFileSync(command, args, {
      cwd: root,
      stdio: mayFail ? "ignore" : "inherit",
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
    return true;
  } catch (error) {
    if (!mayFail) throw error;
    return false;
  }
}
