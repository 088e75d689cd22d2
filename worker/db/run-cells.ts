import { columnFromValues, type ColumnTable, type ColumnView } from "../../wire/columns.ts";
import { formatField, type Field } from "../../wire/field.ts";
import type { Value } from "../../wire/filter.ts";
import { runColumns } from "../../wire/run-columns.ts";
import { valueAt } from "../run-block.ts";
import { boundTo } from "./bound.ts";
import { sourceOf, valueFromJSON } from "./run-fields.ts";
import { selectRunsByNumber } from "./runs.ts";

/** More fields than this are sooner read from whole rows, and D1 ends at 100 columns and 100 KB of SQL. */
const mostFields = 60;
const mostSQL = 80_000;
/** So many rows are read at once. */
const windowRows = 1000;

/** Returns fields of the runs of the given row numbers, as a table in their order; a run that is gone has no values. */
export async function readCells(
  db: D1Database,
  numbers: ArrayLike<number>,
  fields: Field[],
  experimentName: (id: string) => string,
): Promise<ColumnTable> {
  const values = new Map(fields.map((field) => [nameOf(field), emptyCells(numbers.length)]));
  for (let begin = 0; begin < numbers.length; begin += windowRows) {
    const window = Array.from(numbers).slice(begin, begin + windowRows);
    const places = new Map(window.map((no, i) => [no, begin + i]));
    const statement = cellsSQL(fields);
    if (statement) {
      const { results } = await db
        .prepare(statement.sql)
        .bind(JSON.stringify(window), statement.bound)
        .all<{ no: number } & Record<string, string | null>>();
      for (const row of results)
        fields.forEach((field, i) => {
          values.get(nameOf(field))![places.get(row.no)!] = valueFromJSON(field, row[`c${i}`]!);
        });
    } else {
      const runs = await selectRunsByNumber(db, window);
      const table = runColumns(runs, { experimentName });
      for (const field of fields) {
        const column = table.column(field);
        if (!column) continue;
        runs.forEach(({ no }, row) => {
          values.get(nameOf(field))![places.get(no)!] = valueAt(column, row);
        });
      }
    }
  }
  return tableOf(numbers.length, values);
}

const emptyCells = (rows: number) => new Array<Value | undefined>(rows).fill(undefined);

/** A field's name, by which the two senses of a param are told apart. */
const nameOf = (field: Field): string => formatField(field) + (field.strict ? " strict" : "");

function cellsSQL(fields: Field[]): { sql: string; bound: string } | undefined {
  if (fields.length > mostFields) return undefined;
  const bound = boundTo("?2");
  const columns = fields.map((field, i) => `, ${sourceOf(field, bound).json} AS c${i}`).join("");
  const sql = `SELECT runs.no${columns} FROM json_each(?1) AS n CROSS JOIN runs ON runs.no = n.value WHERE ${bound.named}`;
  return sql.length > mostSQL ? undefined : { sql, bound: bound.text() };
}

/** Returns values, by the names of their fields, as a table. */
function tableOf(rows: number, values: Map<string, (Value | undefined)[]>): ColumnTable {
  const columns = new Map<string, ColumnView>();
  return {
    rows,
    tags: () => [],
    column(field) {
      const name = nameOf(field);
      const cells = values.get(name);
      let column = columns.get(name);
      if (cells && !column) columns.set(name, (column = columnFromValues(cells)));
      return column;
    },
  };
}
