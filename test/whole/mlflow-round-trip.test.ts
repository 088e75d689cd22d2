import { openAsBlob } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Api } from "../../client/api.ts";
import { folderSink, folderTree } from "../../client/cli/folder.ts";
import { readAssay } from "../../client/export/assay.ts";
import { writeMlflowFiles } from "../../client/export/mlflow-files.ts";
import type { Found } from "../../client/import/found.ts";
import { importFound } from "../../client/import/import.ts";
import { readMlflowFiles } from "../../client/import/mlflow-files.ts";
import { readMlflowDatabase } from "../../client/import/mlflow-sqlite.ts";
import { openSqlite } from "../../client/import/sqlite.ts";
import { comparable } from "../client/import/comparable.ts";
import { fixtures } from "../client/import/expected.ts";
import { startServer, temporaryFolder } from "./server.ts";

const stores: Record<string, () => Promise<AsyncIterable<Found>>> = {
  mlruns: async () => readMlflowFiles(folderTree(join(fixtures, "mlruns"))),
  "mlruns-3": async () => readMlflowFiles(folderTree(join(fixtures, "mlruns-3"))),
  "mlflow.db": () => database("mlflow.db"),
  "mlflow-2.db": () => database("mlflow-2.db"),
};

const database = async (name: string) =>
  readMlflowDatabase(await openSqlite(await openAsBlob(join(fixtures, name))), {
    artifacts: [folderTree(join(fixtures, `${name}.artifacts`))],
  });

test.for(["mlruns", "mlflow.db"])(
  "%s: imported, exported and imported again it is what it was",
  async (store) => {
    const [first, second] = [await startServer(), await startServer()];
    try {
      const report = await importFound(new Api(first.url), await stores[store]!());
      expect(report.problems).toEqual([]);
      const folder = temporaryFolder();
      await writeMlflowFiles(readAssay(new Api(first.url)), folderSink(folder));
      const again = await importFound(new Api(second.url), readMlflowFiles(folderTree(folder)));
      expect(again.problems).toEqual([]);
      const original = kept(await comparable(await stores[store]!()));
      expect(kept(await comparable(readMlflowFiles(folderTree(folder))))).toEqual(original);
      expect(kept(await comparable(readAssay(new Api(second.url))))).toEqual(original);
    } finally {
      await Promise.all([first.stop(), second.stop()]);
    }
  },
);

/** What the server keeps: datasets, models and when an experiment was created have no place there yet. */
const kept = ({ experiments, runs }: Awaited<ReturnType<typeof comparable>>) => ({
  experiments: experiments.map(({ created: _, ...experiment }) => experiment),
  runs: runs.map(({ inputs: _, modelInputs: __, modelOutputs: ___, params, ...run }) => ({
    ...run,
    // The server keeps the number of a literal, not yet its text: 1.0 comes back as 1.
    params: Object.fromEntries(
      Object.entries(params).map(([key, value]) => [
        key,
        /^-?\d/.test(String(value)) && Number.isFinite(Number(value)) ? Number(value) : value,
      ]),
    ),
  })),
});

test.for(["mlruns", "mlruns-3"])(
  "%s: written as a file store directly it is what it was, models and datasets too",
  async (store) => {
    const folder = temporaryFolder();
    await writeMlflowFiles(await stores[store]!(), folderSink(folder));
    const { traces: _, ...original } = await comparable(await stores[store]!());
    const { traces: __, ...again } = await comparable(readMlflowFiles(folderTree(folder)));
    expect(again).toEqual(original);
  },
);
