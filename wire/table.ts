import type { ArrowType } from "./arrow.ts";
import { toJSON } from "./json.ts";

/** One column of an answer; null and undefined are missing values, NaN is a number. Times are ms since 1970. */
export interface Column {
  name: string;
  type: Exclude<ArrowType, "dictionary">;
  /** whether whole numbers are written as 1.0 in CSV: readers tell a column's type by its first rows; defaults to no */
  decimal?: boolean | undefined;
  values: ArrayLike<unknown>;
}

/** Returns the rows of a table as CSV, a few thousand at a time. */
export function* csvLines(columns: Column[], most = 2048): Generator<string> {
  const rows = columns[0]?.values.length ?? 0;
  for (let begin = 0; begin < rows; begin += most) {
    const end = Math.min(begin + most, rows);
    const cells = columns.map((column) => csvCells(column, begin, end));
    let text = "";
    for (let i = 0; i < end - begin; i++) {
      for (let c = 0; c < cells.length; c++) text += c ? `,${cells[c]![i]}` : cells[c]![i];
      text += "\r\n";
    }
    yield text;
  }
}

/** Formats a column, each value that repeats once. */
function csvCells({ type, decimal, values }: Column, begin: number, end: number): string[] {
  const cells = new Array<string>(end - begin);
  for (let i = begin; i < end; i++)
    cells[i - begin] =
      i > begin && Object.is(values[i], values[i - 1])
        ? cells[i - begin - 1]!
        : csvValue(type, decimal, values[i]);
  return cells;
}

function csvValue(type: Column["type"], decimal: boolean | undefined, value: unknown): string {
  if (value === null || value === undefined) return "";
  if (type === "timestamp") return new Date(value as number).toISOString();
  return typeof value === "number" ? csvNumber(value, decimal) : csvField(String(value));
}

/** A number as CSV readers take it: polars knows inf, not Infinity; −0 keeps its sign. */
function csvNumber(value: number, decimal = false): string {
  if (Object.is(value, -0)) return "-0.0";
  if (decimal && Number.isInteger(value) && Math.abs(value) < 1e21) return `${value}.0`;
  return Number.isFinite(value) ? String(value) : String(value).replace("Infinity", "inf");
}

/** A text as a CSV field, quoted where it must be. */
export const csvField = (text: string): string =>
  /[",\r\n]/.test(text) || text === "" ? `"${text.replaceAll('"', '""')}"` : text;

/** Returns the rows of a table as JSON objects, joined by commas, a few thousand at a time. */
export function* jsonRows(columns: Column[], most = 2048): Generator<string> {
  const rows = columns[0]?.values.length ?? 0;
  const names = columns.map(({ name }) => `${JSON.stringify(name)}:`);
  for (let begin = 0; begin < rows; begin += most) {
    const lines: string[] = [];
    for (let i = begin; i < Math.min(begin + most, rows); i++) {
      let line = "";
      columns.forEach(({ values }, c) => {
        const value = values[i];
        if (value === null || value === undefined) return;
        line += `${line && ","}${names[c]}${typeof value === "string" ? JSON.stringify(value) : toJSON(value)}`;
      });
      lines.push(`{${line}}`);
    }
    yield lines.join(",\n");
  }
}
