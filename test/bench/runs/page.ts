import * as duckdb from "@duckdb/duckdb-wasm";
import type { Table } from "apache-arrow";
import * as aq from "arquero";
import { connect, filterTable, sortTable } from "../../../client/index.ts";
import { tableColumns } from "../../../client/table-columns.ts";
import { rowsWhere } from "../../../wire/predicate.ts";
import { parseWhere } from "../../../wire/query.ts";

/** Ways to the same runs; arquero has them as Arrow columns, and as arrays. */
export type Side = "assay" | "duckdb" | "arquero" | "arrays";
/** What is asked: which rows a filter holds of, these as a table, and all rows in an order as a table. */
export type Question = "rows" | "filter" | "sort";
/** How many ms each side took, by question, round by round. */
export type Times = Record<Question, Record<Side, number[]>>;

const where = "metrics.val/loss < 2 and params.lr < 0.001 and params.optimizer = 'adamw'";
const sql = `"metrics.val/loss" < 2 AND "params.lr" < 0.001 AND "params.optimizer" = 'adamw'`;
const order = "metrics.val/loss";

interface Engine {
  ask: Record<Question, () => unknown>;
  /** the ids of an answer to "filter" or "sort" */
  ids(answer: unknown): string[];
}

/** Asks each question of each side in turn, all having the same runs in memory. Throws where they find different runs. */
export async function race(server: string, runs: string, rounds = 15): Promise<Times> {
  const address = new URL(`${server}/api/v1/runs.arrow?${runs}`);
  const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
  const table = await (
    await connect(server)
  ).runs(address.searchParams.get("experiment")!, {
    columns: address.searchParams.get("columns")!.split(","),
  });
  const engines: Record<Side, Engine> = {
    assay: assay(table),
    duckdb: await duckDB(bytes.slice()),
    arquero: arqueroOverArrow(bytes),
    arrays: arqueroOverArrays(table),
  };
  for (const question of ["filter", "sort"] as const) await compare(engines, question, table);
  const times: Times = { rows: none(), filter: none(), sort: none() };
  for (const question of Object.keys(times) as Question[])
    for (let round = -3; round < rounds; round++)
      for (const side of Object.keys(engines) as Side[]) {
        const ask = engines[side].ask[question];
        // A page's clock counts tenths of a ms: several answers a measurement.
        const repeats = question === "sort" ? 1 : 10;
        const began = performance.now();
        for (let i = 0; i < repeats; i++) await ask();
        const took = (performance.now() - began) / repeats;
        if (round >= 0) times[question][side].push(took);
      }
  return times;
}

const none = (): Record<Side, number[]> => ({ assay: [], duckdb: [], arquero: [], arrays: [] });

/** Each side has its own place for runs whose number is missing or NaN: in orders the others are compared. */
async function compare(
  engines: Record<Side, Engine>,
  question: "filter" | "sort",
  table: Table,
): Promise<void> {
  const [id, loss] = [table.getChild("id")!, table.getChild(order)!];
  const rows = Array.from({ length: table.numRows }, (_, row) => row);
  const withNumber = new Set(
    rows.filter((row) => Number.isFinite(loss.get(row))).map((row) => id.get(row) as string),
  );
  const answers: string[] = [];
  for (const { ask, ids } of Object.values(engines)) {
    const found = ids(await ask[question]()).filter((one) => withNumber.has(one));
    answers.push((question === "filter" ? found.toSorted() : found).join());
  }
  if (answers.some((answer) => answer !== answers[0] || answer === ""))
    throw new Error(
      `different runs: ${question} ${answers.map((text) => text.slice(0, 80)).join(" | ")}`,
    );
}

function assay(table: Table): Engine {
  return {
    ask: {
      rows: () => rowsWhere(parseWhere(where), tableColumns(table)),
      filter: () => filterTable(table, where),
      sort: () => sortTable(table, order),
    },
    ids: (answer) => Array.from((answer as Table).getChild("id")!) as string[],
  };
}

/** DuckDB in a worker of its own, the runs in a table of its own, its statements prepared; answers come as Arrow. */
async function duckDB(bytes: Uint8Array): Promise<Engine> {
  const database = new duckdb.AsyncDuckDB(new duckdb.VoidLogger(), new Worker("/duckdb.js"));
  await database.instantiate(new URL("/duckdb.wasm", location.href).href);
  const connection = await database.connect();
  await connection.insertArrowFromIPCStream(bytes, { name: "runs", create: true });
  const [rows, filter, sort] = await Promise.all(
    [
      `SELECT rowid FROM runs WHERE ${sql}`,
      `SELECT * FROM runs WHERE ${sql}`,
      `SELECT * FROM runs ORDER BY "${order}" NULLS LAST`,
    ].map((statement) => connection.prepare(statement)),
  );
  return {
    ask: { rows: () => rows!.query(), filter: () => filter!.query(), sort: () => sort!.query() },
    ids: (answer) => Array.from((answer as Table).getChild("id")!) as string[],
  };
}

/** Arquero over the columns of the Arrow answer, as its documentation has it. */
const arqueroOverArrow = (bytes: Uint8Array): Engine => arquero(aq.fromArrow(bytes));

/** Arquero over arrays, which it reads faster; NaN stands for missing numbers, as no comparison holds of it. */
function arqueroOverArrays(table: Table): Engine {
  const columns = table.schema.fields.map(({ name }): [string, ArrayLike<unknown>] => {
    const values = Array.from(table.getChild(name)!) as unknown[];
    const isNumber = values.some((value) => typeof value === "number");
    return [
      name,
      isNumber ? Float64Array.from(values, (value) => (value as number | null) ?? NaN) : values,
    ];
  });
  return arquero(aq.table(columns as Parameters<typeof aq.table>[0]));
}

function arquero(runs: aq.ColumnTable): Engine {
  // Of a missing number it would hold that it is less, as of 0.
  const found = () =>
    runs.filter(
      (run: Record<string, number & string>) =>
        run["metrics.val/loss"]! < 2 &&
        run["params.lr"]! < 0.001 &&
        run["params.optimizer"] === "adamw" &&
        run["metrics.val/loss"] !== null,
    );
  return {
    ask: {
      rows: found,
      filter: () => found().reify(),
      sort: () => runs.orderby(order).reify(),
    },
    ids: (answer) => (answer as aq.ColumnTable).array("id") as string[],
  };
}
