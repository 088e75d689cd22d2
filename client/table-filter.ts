import type { Table } from "apache-arrow";
import { parseOrder } from "../wire/order.ts";
import { rowsWhere } from "../wire/predicate.ts";
import { parseWhere } from "../wire/query.ts";
import { sortedRows } from "../wire/sort.ts";
import { tableColumns } from "./table-columns.ts";
import { tableFromRows } from "./table-rows.ts";

/**
 * Returns the runs of a table that a filter holds of, as the server would; a field that the table has no column of is an
 * error. Where a param has values of several types its column is text, and is compared as text.
 */
export function filterTable(table: Table, where: string): Table {
  return tableFromRows(table, rowsWhere(parseWhere(where), tableColumns(table)));
}

/** Returns the runs of a table in an order such as `metrics.loss, started desc`; missing values are last, NaN before them. */
export function sortTable(table: Table, order: string): Table {
  return tableFromRows(table, sortedRows(parseOrder(order), tableColumns(table)));
}
