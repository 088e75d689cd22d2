import type { Table } from "apache-arrow";
import { ApiError, shown } from "../../wire/error.ts";
import { codesOf, columnOf, valueAt, type Value } from "./column.ts";

/** What tells some runs apart, and what they share. */
export interface Difference {
  /** the ids, as asked for */
  ids: string[];
  /** the fields in which they differ, in the table's order, each with a value per run, in the order of the ids */
  differing: { field: string; values: Value[] }[];
  /** the other fields, with the value that all of them have */
  same: { field: string; value: Value }[];
}

/**
 * Returns the names of the columns whose values differ between rows, in the table's order. Missing counts as a value,
 * NaN equals NaN, and −0 equals 0.
 */
export const varying = (table: Table): string[] =>
  table.schema.fields
    .map(({ name }) => name)
    .filter((name) => codesOf(table, name, { most: 1 }).values.length > 1);

/** Compares 2 to 50 runs by their ids, over all columns but `id`; equality is that of `varying`. */
export function diff(table: Table, ids: string[]): Difference {
  if (ids.length < 2 || ids.length > 50)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `invalid number of runs to compare: ${ids.length} (2 to 50 are possible)`,
    );
  const rows = rowsOf(table, ids);
  const differing: Difference["differing"] = [];
  const same: Difference["same"] = [];
  for (const { name: field } of table.schema.fields) {
    if (field === "id") continue;
    const column = columnOf(table, field);
    const values = rows.map((row) => valueAt(column, row));
    // Of a set, NaN equals NaN.
    if (new Set(values).size > 1) differing.push({ field, values });
    else same.push({ field, value: values[0]! });
  }
  return { ids, differing, same };
}

function rowsOf(table: Table, ids: string[]): number[] {
  const column = columnOf(table, "id");
  const rows = new Map<string, number | undefined>(ids.map((id) => [id, undefined]));
  for (let row = 0, left = rows.size; row < column.length && left > 0; row++) {
    const id = column.get(row) as string;
    if (!rows.has(id) || rows.get(id) !== undefined) continue;
    rows.set(id, row);
    left--;
  }
  return ids.map((id) => {
    const row = rows.get(id);
    if (row === undefined)
      throw new ApiError("RESOURCE_DOES_NOT_EXIST", `run not found: ${shown(id)}`);
    return row;
  });
}
