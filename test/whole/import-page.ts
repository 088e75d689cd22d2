import type { Found } from "../../client/import/found.ts";
import { readMlflowFiles } from "../../client/import/mlflow-files.ts";
import { readMlflowDatabase } from "../../client/import/mlflow-sqlite.ts";
import { openSqlite } from "../../client/import/sqlite.ts";
import { treeOfFiles } from "../../client/import/tree.ts";

/** Reads a store that was dropped on a page: its files by path. */
export const readFiles = (files: [string, Blob][]): Promise<unknown> =>
  outline(readMlflowFiles(treeOfFiles(files)));

/** Reads a database; `wasm` is where the page finds SQLite. */
export async function readDatabase(file: Blob, wasm?: string): Promise<unknown> {
  const sqlite = await openSqlite(file, wasm === undefined ? {} : { wasm });
  try {
    return await outline(readMlflowDatabase(sqlite));
  } finally {
    sqlite.close();
  }
}

/** What a reader finds, as JSON holds it: points and files as counts and sums. */
async function outline(found: AsyncIterable<Found>): Promise<unknown> {
  const all: unknown[] = [];
  for await (const one of found)
    if (one.kind === "run") {
      const { points, files, ...run } = one;
      let [count, sum] = [0, 0];
      for await (const { value, step } of points())
        for (let i = 0; i < value.length; i++) {
          count++;
          sum += Number.isFinite(value[i]!) ? value[i]! % 1000 : step[i]!;
        }
      let bytes = 0;
      for await (const { open } of files()) bytes += (await open()).size;
      all.push({ ...run, count, sum, bytes });
    } else if (one.kind === "loggedModel") all.push({ ...one, files: undefined });
    else all.push(one.kind === "trace" ? { ...one, spans: one.spans.length } : one);
  return JSON.parse(JSON.stringify(all));
}
