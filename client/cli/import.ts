import { existsSync, openAsBlob } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Api } from "../api.ts";
import type { Found, OnSkip } from "../import/found.ts";
import { importFound } from "../import/import.ts";
import { emptyReport, type ImportReport } from "../import/report.ts";
import { platform } from "../platform/node.ts";
import { UsageError } from "./arguments.ts";
import { connection } from "./connection.ts";
import { folderTree } from "./folder.ts";
import { progressBar } from "./progress.ts";
import { listSkips } from "./skips.ts";

export const summary = "Import runs of another tracker";

export const help = `assay import mlflow SOURCE [--artifacts FOLDER] [--json] [--url URL] [--token TOKEN]

SOURCE is MLflow's folder mlruns, its database mlflow.db (SQLite), or the address of a running MLflow
server. Importing again adds what is new there and changes nothing else; an import that broke off
goes on where it was. At the end the counts and last values of all metrics are compared. What was
passed over is listed with its reason.

A database and a folder that was moved say where artifacts were written; they are looked for there,
beside SOURCE, and in --artifacts. A server is asked with the name and password in its address, or
with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.

Examples
  assay import mlflow ./mlruns
  assay import mlflow mlflow.db --artifacts ./mlartifacts
  assay import mlflow http://127.0.0.1:5000`;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...connection,
      artifacts: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const [tracker, source, ...more] = positionals;
  if (tracker === undefined) throw new UsageError("missing tracker (expected mlflow)");
  if (tracker !== "mlflow") throw new UsageError(`unknown tracker: ${tracker} (expected mlflow)`);
  if (source === undefined) throw new UsageError("missing source");
  if (more.length) throw new UsageError(`one source at a time: ${more[0]}`);
  const report = emptyReport();
  const bar = progressBar();
  const { found, close } = await openSource(source, {
    artifacts: values.artifacts,
    onSkip: (skip) => report.skipped.push(skip),
  });
  try {
    const token = values.token ?? platform.token();
    const api = new Api(values.url ?? platform.url(), { token });
    await importFound(api, found, { report, onProgress: (at) => bar.count(countsOf(at)) });
  } finally {
    bar.end();
    close();
  }
  if (report.experiments.found === 0) throw new Error(`no experiments found: ${source}`);
  if (values.json) console.log(JSON.stringify(report));
  else say(report);
  return report.problems.length ? 1 : 0;
}

interface Source {
  found: AsyncIterable<Found>;
  close(): void;
}

async function openSource(
  source: string,
  { artifacts, onSkip }: { artifacts: string | undefined; onSkip: OnSkip },
): Promise<Source> {
  // Each reader is loaded when it is needed: YAML and SQLite are large.
  const close = (): void => undefined;
  const { readMlflowServer } = await import("../import/mlflow-server.ts");
  if (/^https?:\/\//i.test(source))
    return { found: readMlflowServer(source, { onSkip, authorization: authorization() }), close };
  if (/^(postgres|mysql|mssql|oracle)\S*:\/\//i.test(source))
    throw new UsageError(
      `invalid source: ${source} (of other databases than SQLite, give the address of a running MLflow server)`,
    );
  const path = resolve(source.replace(/^sqlite:\/\/\/|^file:\/\//, ""));
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new Error(`source not found: ${path}`);
  const isFolder = found.isDirectory();
  const beside = (name: string): string => join(dirname(path), name);
  const known = [
    ...(artifacts === undefined ? [] : [resolve(artifacts)]),
    ...(isFolder ? [] : ["mlruns", "mlartifacts", `${basename(path)}.artifacts`].map(beside)),
  ].filter(existsSync);
  const options = {
    onSkip,
    artifacts: known.map(folderTree),
    elsewhere: [dirname(path), "/"].map(folderTree),
  };
  const { readMlflowFiles } = await import("../import/mlflow-files.ts");
  if (isFolder) return { found: readMlflowFiles(folderTree(path), options), close };
  const log = await stat(`${path}-wal`).catch(() => undefined);
  if (log?.size)
    onSkip({
      what: "write-ahead log",
      name: `${path}-wal`,
      why: "is not read: close what writes to the database, or ask its server",
    });
  const { openSqlite } = await import("../import/sqlite.ts");
  const { readMlflowDatabase } = await import("../import/mlflow-sqlite.ts");
  const sqlite = await openSqlite(await openAsBlob(path));
  return { found: readMlflowDatabase(sqlite, options), close: () => sqlite.close() };
}

function authorization(): string | undefined {
  const {
    MLFLOW_TRACKING_USERNAME: name,
    MLFLOW_TRACKING_PASSWORD: password = "",
    MLFLOW_TRACKING_TOKEN: token,
  } = process.env;
  if (name) return `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`;
  return token ? `Bearer ${token}` : undefined;
}

const countsOf = ({ experiments, runs, points, files }: ImportReport): string =>
  `${experiments.found} experiments, ${runs.found} runs, ${points.found} points, ${files.found} files`;

function say(report: ImportReport): void {
  for (const [noun, { found, added }] of [
    ["experiments", report.experiments],
    ["runs", report.runs],
    ["points", report.points],
    ["files", report.files],
    ["logged models", report.loggedModels],
    ["models", report.models],
    ["traces", report.traces],
  ] as const)
    console.log(`${noun.padEnd(13)} ${String(found).padStart(9)}  ${added} new`);
  listSkips("skipped", report.skipped);
  listSkips("not as it is there", report.problems);
}
