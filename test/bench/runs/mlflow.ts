import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import { median, type Report } from "../report.ts";
import type { Load } from "./load.ts";
import { benchRun } from "./workload.ts";

const environment = join(import.meta.dirname, "../../../.cache/mlflow3");
const python = process.env["MLFLOW3"] || join(environment, "bin/python");
const rounds = 9;

/** How long MLflow's client waits for its server to find 50 of 10,000 runs, and the same Python for ours to find the same. */
export async function besideMLflow(report: Report, url: string, load: Load): Promise<void> {
  if (!isThere() && !install())
    return console.log(
      "skipped: measures beside MLflow (no python3 with venv, or no package index)",
    );
  const folder = mkdtempSync(join(tmpdir(), "assay-bench-mlflow-"));
  const server = await startMLflow(folder);
  try {
    await fill(server.url, join(folder, "mlflow.db"), load);
    const { stdout } = await promisify(execFile)(python, [
      join(import.meta.dirname, "search.py"),
      server.url,
      url,
      load.experiment,
      String(rounds),
    ]);
    const took = JSON.parse(stdout) as Record<"mlflow" | "assay", number[]>;
    const [mlflow, assay] = [median(took.mlflow), median(took.assay)];
    report.add("search 10,000 runs from Python, MLflow takes", mlflow / assay, "×", "", {
      ours: [assay, "ms"],
      against: [mlflow, "ms"],
    });
  } finally {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const isThere = (): boolean =>
  existsSync(python) && spawnSync(python, ["-c", "import mlflow, pyarrow"]).status === 0;

function install(): boolean {
  console.log("installing MLflow to measure beside it");
  const made = spawnSync("python3", ["-m", "venv", environment]);
  const pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "mlflow==3.17.2"];
  return made.status === 0 && spawnSync(python, pip).status === 0 && isThere();
}

async function startMLflow(folder: string): Promise<{ url: string; close(): Promise<void> }> {
  const port = await freePort();
  const store = `sqlite:///${join(folder, "mlflow.db")}`;
  const address = ["--host", "127.0.0.1", "--port", String(port), "--workers", "1"];
  const server = spawn(
    python,
    ["-m", "mlflow", "server", "--backend-store-uri", store, ...address],
    { cwd: folder, detached: true, stdio: "ignore" },
  );
  const exit = once(server, "exit");
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; !(await fetch(`${url}/health`).catch(() => undefined))?.ok; tries++) {
    if (server.exitCode !== null || tries > 300) throw new Error("mlflow server does not start");
    await new Promise((later) => setTimeout(later, 200));
  }
  return {
    url,
    async close() {
      process.kill(-server.pid!, "SIGTERM"); // it and its workers
      await exit;
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  await new Promise((closed) => probe.close(closed));
  return port;
}

/** Writes the bench's runs into MLflow's tables, as its client would have it do one by one in an hour. */
async function fill(url: string, path: string, { experiment, first, runs }: Load): Promise<void> {
  const created = await fetch(`${url}/api/2.0/mlflow/experiments/create`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: experiment }),
  });
  const { experiment_id } = (await created.json()) as { experiment_id: string };
  const database = new DatabaseSync(path);
  const insert = (table: string, columns: string) =>
    database.prepare(
      `INSERT INTO ${table} (${columns}) VALUES (${columns.replaceAll(/\w+/g, "?")})`,
    );
  const run = insert(
    "runs",
    "run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id",
  );
  const param = insert("params", "key, value, run_uuid");
  const tag = insert("tags", "key, value, run_uuid");
  const metric = ["latest_metrics", "metrics"].map((table) =>
    insert(table, "key, value, timestamp, step, is_nan, run_uuid"),
  );
  database.exec("BEGIN");
  for (let i = first; i < first + runs; i++) {
    const { id, name, state, started, ended, params, tags, metrics } = benchRun(i);
    const files = `mlflow-artifacts:/${experiment_id}/${id}/artifacts`;
    run.run(
      id,
      name,
      "UNKNOWN",
      "",
      "",
      "bench",
      state.toUpperCase(),
      started,
      ended,
      "",
      "active",
      files,
      Number(experiment_id),
    );
    for (const [key, value] of Object.entries(params)) param.run(key, String(value), id);
    for (const [key, value] of Object.entries({ ...tags, "mlflow.runName": name }))
      tag.run(key, value, id);
    for (const [key, { last, step, time }] of Object.entries(metrics))
      for (const table of metric)
        table.run(key, Number.isNaN(last) ? 0 : last, time, step, Number(Number.isNaN(last)), id);
  }
  database.exec("COMMIT");
  database.close();
}
