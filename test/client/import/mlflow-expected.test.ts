import { openAsBlob } from "node:fs";
import { join } from "node:path";
import { describe, test } from "vitest";
import { folderTree } from "../../../client/cli/folder.ts";
import type { Found, Skip } from "../../../client/import/found.ts";
import { readMlflowDatabase } from "../../../client/import/mlflow-sqlite.ts";
import { readMlflowFiles } from "../../../client/import/mlflow-files.ts";
import { openSqlite } from "../../../client/import/sqlite.ts";
import { aspects } from "./as-expected.ts";
import { expectedOf, fixtures, gather } from "./expected.ts";

const read: Record<string, (onSkip: (skip: Skip) => void) => Promise<AsyncIterable<Found>>> = {
  mlruns: async (onSkip) => readMlflowFiles(folderTree(join(fixtures, "mlruns")), { onSkip }),
  "mlruns-3": async (onSkip) => readMlflowFiles(folderTree(join(fixtures, "mlruns-3")), { onSkip }),
  "mlflow.db": (onSkip) => database("mlflow.db", onSkip),
  "mlflow-2.db": (onSkip) => database("mlflow-2.db", onSkip),
};

const database = async (name: string, onSkip: (skip: Skip) => void) =>
  readMlflowDatabase(await openSqlite(await openAsBlob(join(fixtures, name))), {
    onSkip,
    artifacts: [folderTree(join(fixtures, `${name}.artifacts`))],
  });

describe.for(Object.keys(read))("%s", async (store) => {
  const expected = expectedOf(store);
  const skips: Skip[] = [];
  const found = await gather(await read[store]!((skip) => skips.push(skip)));

  test.for(Object.entries(aspects))("%s", async ([, look]) => {
    await look({ found, expected, isServer: false });
  });
});
