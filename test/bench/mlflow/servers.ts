import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const root = join(import.meta.dirname, "../../..");

/** Returns the Python that has mlflow 3.17.2, which `npm test` brings. */
export function pythonWithMlflow(): string {
  const python = process.env["MLFLOW3"] || join(root, ".cache/mlflow3/bin/python");
  if (!existsSync(python)) throw new Error(`no Python with mlflow: ${python} (npm test brings it)`);
  return python;
}

const quiet = {
  ...process.env,
  MLFLOW_DISABLE_TELEMETRY: "true",
  MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT: "true",
  GIT_PYTHON_REFRESH: "quiet",
};

/** Starts MLflow's own server as `mlflow server` does, on SQLite, its files in a folder of its own. */
export async function startMlflow(python: string) {
  const folder = mkdtempSync(join(tmpdir(), "mlflow-bench-"));
  const database = join(folder, "mlflow.db");
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const options = [
    ["--backend-store-uri", `sqlite:///${database}`],
    ["--artifacts-destination", join(folder, "files")],
    ["--port", `${port}`],
  ];
  const child = spawn(python, ["-m", "mlflow", "server", ...options.flat()], {
    cwd: folder,
    env: quiet,
    stdio: "ignore",
  });
  process.once("exit", () => child.kill());
  const deadline = Date.now() + 120_000;
  while (!(await answers(url))) {
    if (child.exitCode !== null || Date.now() > deadline)
      throw new Error(`mlflow server does not answer: ${url} (exit code ${child.exitCode})`);
    await new Promise((later) => setTimeout(later, 200));
  }
  return {
    url,
    database,
    async close() {
      child.kill("SIGTERM");
      await once(child, "exit");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health`)).ok;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** What a deed of client.py took, and what it found. */
export interface Done {
  seconds: number;
  found?: unknown;
  run?: string;
}

/** Starts the one client that speaks to both servers; deeds come one after the other. */
export function startClient(python: string) {
  const child = spawn(python, [join(import.meta.dirname, "client.py")], {
    env: quiet,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async deed(name: string, args: object): Promise<Done> {
      child.stdin.write(`${JSON.stringify({ do: name, ...args })}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`the client ended in ${name}`);
      return JSON.parse(value) as Done;
    },
    close: () => child.stdin.end(),
  };
}
