import type { Table } from "apache-arrow";
import { toJSON } from "../../wire/json.ts";

/** Returns a table's rows as plain objects, missing values left out. */
export const rowsOf = (table: Table): Record<string, unknown>[] =>
  table
    .toArray()
    .map((row) =>
      Object.fromEntries(
        Object.entries(row!.toJSON() as Record<string, unknown>).filter(
          ([, value]) => value !== null,
        ),
      ),
    );

/** Prints rows as JSON, one array. */
export const printJSON = (rows: Record<string, unknown>[]): void => console.log(toJSON(rows));

/** Prints columns of a table aligned for reading: numbers to the right, with four significant digits. */
export function printTable(rows: Record<string, unknown>[], columns: string[]): void {
  const cells = [
    columns.map(headOf),
    ...rows.map((row) => columns.map((name) => cellOf(row[name]))),
  ];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]!.length)));
  const isNumber = columns.map((name) => rows.some((row) => typeof row[name] === "number"));
  for (const line of cells)
    console.log(
      line
        .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join("  ")
        .trimEnd(),
    );
}

const headOf = (name: string): string => name.replace(/^(params|metrics|tags)\./, "");

function cellOf(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) && Math.abs(value) < 1e6
    ? String(value)
    : Number(value.toPrecision(4)).toString();
}
