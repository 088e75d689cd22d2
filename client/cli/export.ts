import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { Api } from "../api.ts";
import { readAssay } from "../export/assay.ts";
import { emptyExportReport, writeMlflowFiles } from "../export/mlflow-files.ts";
import { platform } from "../platform/node.ts";
import { UsageError } from "./arguments.ts";
import { connection } from "./connection.ts";
import { folderSink } from "./folder.ts";
import { progressBar } from "./progress.ts";
import { listSkips } from "./skips.ts";

export const summary = "Export runs for another tracker";

export const help = `assay export mlflow FOLDER [--experiment NAME]… [--json] [--url URL] [--token TOKEN]

Writes experiments (all, or those named) with their runs, deleted ones too, as a file store that
MLflow opens: of version 2 as it is, of version 3 with MLFLOW_ALLOW_FILE_STORE=true. FOLDER must be
new or empty, and stay where it is, as MLflow's files refer to each other by full paths. What
MLflow has no place for, or takes no such name of, is listed.

Examples
  assay export mlflow ./mlruns
  assay export mlflow ./mlruns --experiment digits --experiment iris`;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...connection,
      experiment: { type: "string", multiple: true },
      json: { type: "boolean", default: false },
    },
  });
  const [tracker, folder, ...more] = positionals;
  if (tracker === undefined) throw new UsageError("missing tracker (expected mlflow)");
  if (tracker !== "mlflow") throw new UsageError(`unknown tracker: ${tracker} (expected mlflow)`);
  if (folder === undefined) throw new UsageError("missing folder");
  if (more.length) throw new UsageError(`one folder at a time: ${more[0]}`);
  const place = resolve(folder);
  if ((await readdir(place).catch(() => [])).length)
    throw new Error(`folder is not empty: ${place}`);
  const api = new Api(values.url ?? platform.url(), { token: values.token ?? platform.token() });
  const report = emptyExportReport();
  const onSkip = (skip: (typeof report.skipped)[number]): void => void report.skipped.push(skip);
  const bar = progressBar();
  const { experiment: experiments } = values;
  try {
    await writeMlflowFiles(
      readAssay(api, { onSkip, ...(experiments ? { experiments } : {}) }),
      folderSink(place),
      {
        report,
        onProgress: ({ runs, points }) => bar.count(`${runs} runs, ${points} points`),
      },
    );
  } finally {
    bar.end();
  }
  if (values.json) console.log(JSON.stringify(report));
  else {
    for (const noun of ["experiments", "runs", "points", "files"] as const)
      console.log(`${noun.padEnd(12)} ${String(report[noun]).padStart(10)}`);
    listSkips("skipped", report.skipped);
  }
  return 0;
}
