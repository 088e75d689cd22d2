import {
  Bool,
  Dictionary,
  Float64,
  Int32,
  Table,
  tableFromIPC,
  TimestampMillisecond,
  TimestampNanosecond,
  Utf8,
  vectorFromArray,
  type DataType,
} from "apache-arrow";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { filterTable, sortTable } from "../../client/index.ts";
import { tableColumns } from "../../client/table-columns.ts";
import { batchMessage, endOfStream, nullableColumn, schemaMessage } from "../../wire/arrow.ts";
import type { Run } from "../../wire/run.ts";
import { rowsWhere } from "../../wire/predicate.ts";
import { parseOrder } from "../../wire/order.ts";
import { parseWhere } from "../../wire/query.ts";
import { runColumns } from "../../wire/run-columns.ts";
import { fieldFromName } from "../../wire/field.ts";
import { fieldReader, plainColumns } from "../../wire/runs-table.ts";
import { sortedRows } from "../../wire/sort.ts";

const types: Record<string, DataType> = {
  id: new Utf8(),
  name: new Utf8(),
  state: new Dictionary(new Utf8(), new Int32()),
  stalled: new Bool(),
  started: new TimestampMillisecond(),
  ended: new TimestampNanosecond(),
  "metrics.loss": new Float64(),
  points: new Int32(),
  "tags.team": new Dictionary(new Utf8(), new Int32()),
  "tags.empty": new Utf8(),
};
const tableOf = (columns: Record<string, unknown[]>) =>
  new Table(
    Object.fromEntries(
      Object.entries(columns).map(([name, values]) => [
        name,
        vectorFromArray(values, types[name]!),
      ]),
    ),
  );
const table = tableOf({
  id: ["0a", "0b", "0c", "0d"],
  name: ["otter", "Ötter", null, "😀"],
  state: ["finished", "running", "finished", null],
  stalled: [false, true, null, false],
  started: [1000, 2000, Date.UTC(2026, 10, 1), null],
  ended: [5, null, 7, 8],
  "metrics.loss": [NaN, 0.5, null, -Infinity],
  points: [1, 2, 3, null],
  "tags.team": ["a", "b", "a", null],
  "tags.empty": [null, null, null, null],
});
const halves = table.slice(0, 1).concat(table.slice(1));
const ids = (from: Table) => Array.from(from.getChild("id")!, String).join(" ");

test.for([
  ["metrics.loss < 1", "0b 0d"],
  ["metrics.loss != 0.5", "0a 0d"],
  ["metrics.loss IS NAN or metrics.loss IS NULL", "0a 0c"],
  ["state = 'finished'", "0a 0c"],
  ["state != 'finished'", "0b"],
  ["status:FINISHED", "0a 0c"],
  ["not state:finished", "0b 0d"],
  ["stalled = false", "0a 0d"],
  ["stalled != false", "0b"],
  ["started >= 2026-11-01", "0c"],
  ["ended >= 7", "0c 0d"],
  ["points IN (1, '3')", "0a 0c"],
  ["name >= '\uFFFD'", "0d"],
  ["name ~ 'tt'", "0a 0b"],
  ["TEAM", "0a 0b 0c"],
  ["0D", "0d"],
  ["tags.empty IS NULL", "0a 0b 0c 0d"],
  ["tags.empty != 'x'", ""],
])("of a table, %s finds %s", ([where, expected]) => {
  expect(ids(filterTable(table, where!))).toBe(expected);
  expect(ids(filterTable(halves, where!))).toBe(expected);
});

test.for([
  ["metrics.loss", "0d 0b 0a 0c"],
  ["metrics.loss desc", "0b 0d 0a 0c"],
  ["state, started desc", "0c 0a 0b 0d"],
  ["name desc", "0d 0b 0a 0c"],
  ["stalled desc, ended", "0b 0a 0d 0c"],
])("a table by %s is %s", ([order, expected]) => {
  expect(ids(sortTable(table, order!))).toBe(expected);
  expect(ids(sortTable(halves, order!))).toBe(expected);
});

test("every column keeps its values, its type and the table its metadata, whole or in batches", () => {
  table.schema.metadata.set("cursor", "5");
  for (const from of [table, halves]) {
    const taken = sortTable(from, "id desc");
    for (const { name, type } of table.schema.fields) {
      expect(String(taken.getChild(name)!.type), name).toBe(String(type));
      expect(taken.getChild(name)!.toJSON(), name).toEqual(
        table.getChild(name)!.toJSON().toReversed(),
      );
    }
  }
  expect(sortTable(table, "id").schema.metadata.get("cursor")).toBe("5");
  expect(filterTable(table, "id = 'none'").numRows).toBe(0);
});

test("a column that the table lacks is said", () => {
  expect(() => filterTable(table, "params.lr > 1")).toThrow("column not in the table: params.lr");
  expect(() => sortTable(table, "metrics.loss.min")).toThrow(
    "column not in the table: metrics.loss.min",
  );
  const nameless = table.select(["id", "state"]);
  expect(() => filterTable(nameless, "otter")).toThrow("column not in the table: name");
});

/** Returns columns of runs as a table, as a client gets it: a param whose values are of several types is text. */
function sent(runs: Run[], names: string[]) {
  const columns = names.map((name) => {
    const values = runs.map(fieldReader(fieldFromName(name)!)!);
    const types = [...new Set(values.flatMap((value) => (value == null ? [] : [typeof value])))];
    const one = types.length === 1 ? types[0] : undefined;
    const type =
      plainColumns[name] ?? (one === "number" ? "float64" : one === "boolean" ? "bool" : "utf8");
    const isText = type === "utf8";
    return {
      name,
      type,
      values: values.map((value) => (isText && value != null ? String(value) : value)),
    };
  });
  return tableFromIPC([
    schemaMessage(columns.map(({ name, type }) => ({ name, type }))),
    batchMessage(
      runs.length,
      columns.map(({ type, values }) => nullableColumn(type, values)),
    ),
    endOfStream,
  ]);
}

test("the table that is sent answers as the runs that it was made of", () => {
  const text = fc.constantFrom("a", "B", "0.1", "é", "😀", "true", "");
  const runs = fc.array(
    fc.record({
      name: text,
      lr: fc.option(fc.oneof(fc.double(), fc.constantFrom(0.1, 1)), { nil: undefined }),
      on: fc.option(fc.boolean(), { nil: undefined }),
      opt: fc.option(text, { nil: undefined }),
      team: fc.option(text, { nil: undefined }),
      loss: fc.option(fc.constantFrom(NaN, Infinity, 0.5, -0), { nil: undefined }),
      started: fc.integer({ min: 0, max: 3 }),
    }),
    { minLength: 1, maxLength: 20 },
  );
  const where = fc.constantFrom(
    "params.lr > 0.05 and metrics.loss < 1",
    "params.on = true",
    "params.opt = 0.1",
    "params.opt > 'B'",
    "params.opt like '%'",
    "a",
    "not tags.team = 'a'",
    "tags.team in ('a', 'é', 0.1)",
    "metrics.loss != 0.5 or params.lr is null",
    "params.lr = '1.0'",
    "started between 1 and 2",
    "status != 'RUNNING'",
    "metrics.loss is nan",
  );
  fc.assert(
    fc.property(runs, fc.array(where, { minLength: 5, maxLength: 5 }), (records, filters) => {
      const own = <T>(key: string, value: T) => (value === undefined ? {} : { [key]: value });
      const made = records.map(({ name, lr, on, opt, team, loss, started }, i) => ({
        id: String(i),
        experiment: "e",
        number: i,
        name,
        state: i % 2 ? "running" : "finished",
        started,
        ended: null,
        heartbeat: 9,
        stalled: false,
        params: { ...own("lr", lr), ...own("on", on), ...own("opt", opt) },
        tags: own("team", team),
        metrics: loss === undefined ? {} : { loss: { last: loss } },
      })) as unknown as Run[];
      const columns = [
        "id",
        "name",
        "state",
        "started",
        "params.lr",
        "params.on",
        "params.opt",
        "tags.team",
        "metrics.loss",
      ];
      const table = sent(made, columns);
      for (const filter of filters)
        expect(rowsWhere(parseWhere(filter), tableColumns(table)), filter).toEqual(
          rowsWhere(parseWhere(filter), runColumns(made)),
        );
      for (const order of [
        "params.opt desc, metrics.loss",
        "tags.team, params.on desc",
        "params.lr",
      ])
        expect(sortedRows(parseOrder(order), tableColumns(table)), order).toEqual(
          sortedRows(parseOrder(order), runColumns(made)),
        );
    }),
  );
});
