import {
  Dictionary,
  Float64,
  Int32,
  Table,
  TimestampMillisecond,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { filterTable, sortTable } from "../../client/index.ts";
import { tableColumns } from "../../client/table-columns.ts";
import { parseOrder } from "../../wire/order.ts";
import { rowsWhere } from "../../wire/predicate.ts";
import { parseWhere } from "../../wire/query.ts";
import { sortedRows } from "../../wire/sort.ts";
import { median, say } from "./report.ts";

const rows = 100_000;
const rounds = 31;

/** How long a filter and an order over a table of 100,000 runs take. */
export function filter(): void {
  const table = runs();
  const columns = tableColumns(table);
  const where = "metrics.val/acc > 0.9 and params.lr < 0.05 and state = 'finished'";
  const three = parseWhere(where);
  const ordered = parseOrder("metrics.val/acc desc");
  const sides: [string, () => unknown, string][] = [
    ["a filter of 3 clauses", () => rowsWhere(three, columns), "(target ≤ 1)"],
    ["the same as a table", () => filterTable(table, where), ""],
    ["a regular expression over names", regex(columns), ""],
    ["a word", word(columns), ""],
    ["an order by a metric", () => sortedRows(ordered, columns), "(target ≤ 50)"],
    ["the same as a table", () => sortTable(table, "metrics.val/acc desc"), "(target ≤ 50)"],
    ["an order by 2 fields", twoFields(columns), ""],
  ];
  for (const [what, run, against] of sides) {
    const times: number[] = [];
    const begin = performance.now();
    run();
    const first = performance.now() - begin;
    for (let round = 0; round < rounds; round++) {
      const began = performance.now();
      run();
      times.push(performance.now() - began);
    }
    say("filter", what, median(times), "ms", `${against} first ${first.toFixed(1)} ms`);
  }
}

const regex = (columns: ReturnType<typeof tableColumns>) => {
  const tree = parseWhere("name ~ '^run-[0-9]*7$'");
  return () => rowsWhere(tree, columns);
};
const word = (columns: ReturnType<typeof tableColumns>) => {
  const tree = parseWhere("77 or vision");
  return () => rowsWhere(tree, columns);
};
const twoFields = (columns: ReturnType<typeof tableColumns>) => {
  const order = parseOrder("tags.team, metrics.val/acc desc");
  return () => sortedRows(order, columns);
};

function runs(): Table {
  const some = <T>(value: (i: number) => T) =>
    Array.from({ length: rows }, (_, i) => (i % 11 === 3 ? null : value(i)));
  const noise = (i: number) => (Math.sin(i * 12.9898) * 43_758.5453) % 1;
  const words = new Dictionary(new Utf8(), new Int32());
  return new Table({
    id: vectorFromArray(
      Array.from({ length: rows }, (_, i) => i.toString(16).padStart(32, "0")),
      new Utf8(),
    ),
    name: vectorFromArray(
      Array.from({ length: rows }, (_, i) => `run-${i}`),
      new Utf8(),
    ),
    state: vectorFromArray(
      some((i) => ["finished", "failed", "running"][i % 3]),
      words,
    ),
    started: vectorFromArray(
      some((i) => 1_795_432_000_000 + i),
      new TimestampMillisecond(),
    ),
    "params.lr": vectorFromArray(
      some((i) => Math.abs(noise(i)) / 10),
      new Float64(),
    ),
    "metrics.val/acc": vectorFromArray(
      some((i) => (i % 1000 ? Math.abs(noise(i + 7)) : NaN)),
      new Float64(),
    ),
    "tags.team": vectorFromArray(
      some((i) => ["vision", "text", "audio"][i % 7] ?? null),
      words,
    ),
  });
}
