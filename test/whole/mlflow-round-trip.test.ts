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
import { formatCursor } from "../../wire/cursor.ts";
import { comparable } from "../client/import/comparable.ts";
import { expectAsExpected } from "../client/import/as-expected.ts";
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

test.for(Object.keys(stores))(
  "%s: imported, exported and imported again it is what it was",
  { timeout: 120_000 },
  async (store) => {
    const [first, second] = [await startServer(), await startServer()];
    try {
      const api = new Api(first.url);
      const report = await importFound(api, await stores[store]!());
      expect([report.problems, report.skipped]).toEqual([[], skippedOf(store)]);
      await expectAsExpected(store, readAssay(api));
      const { headers } = await api.request("GET", "/runs.json", {
        query: { since: formatCursor([]) },
      });
      const [since, models] = [headers.get("x-assay-cursor")!, await whole(api)];
      const repeated = await importFound(api, await stores[store]!());
      expect(repeated.problems).toEqual([]);
      for (const noun of ["runs", "points", "files", "loggedModels", "models", "traces"] as const)
        expect([noun, repeated[noun]]).toEqual([noun, { found: report[noun].found, added: 0 }]);
      expect(await api.json("GET", "/runs.json", { query: { since } })).toEqual([]);
      expect(await whole(api)).toEqual(models);

      const folder = temporaryFolder();
      await writeMlflowFiles(readAssay(api), folderSink(folder));
      const again = await importFound(new Api(second.url), readMlflowFiles(folderTree(folder)));
      expect(again.problems).toEqual([]);
      const original = await comparable(await stores[store]!());
      expect(kept(await comparable(readMlflowFiles(folderTree(folder))))).toEqual(kept(original));
      expect(kept(await comparable(readAssay(new Api(second.url))))).toEqual(kept(original));
    } finally {
      await Promise.all([first.stop(), second.stop()]);
    }
  },
);

/** What a server tells of models and traces, whole. */
const whole = (api: Api): Promise<unknown[]> =>
  Promise.all(
    ["/models", "/logged-models", "/traces", "/experiments"].map((path) => api.json("GET", path)),
  );

/** What an import passes over of a store: questions with expected answers have no counterpart here. */
const skippedOf = (store: string) =>
  store === "mlflow.db"
    ? [
        {
          what: "evaluation dataset",
          name: "qa set",
          why: "there is no such thing here: its 2 records stay there",
        },
      ]
    : [];

/** A file store of MLflow's has the place of a trace, which this export leaves out. */
const kept = ({ traces: _, ...rest }: Awaited<ReturnType<typeof comparable>>) => rest;

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
