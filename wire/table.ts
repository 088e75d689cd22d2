import {
  batchMessage,
  endOfStream,
  nullableColumn,
  schemaMessage,
  type ArrowType,
} from "./arrow.ts";
import { toJSON } from "./json.ts";

/** One column of an answer; null and undefined are missing values, NaN is a number. Times are ms since 1970. */
export interface Column {
  name: string;
  type: Exclude<ArrowType, "dictionary">;
  values: unknown[];
}

/** Returns a table as an Arrow IPC stream. */
export function tableToIPC(columns: Column[], metadata: Record<string, string> = {}): Uint8Array[] {
  const rows = columns[0]?.values.length ?? 0;
  return [
    schemaMessage(columns, metadata),
    batchMessage(
      rows,
      columns.map(({ type, values }) => nullableColumn(type, values)),
    ),
    endOfStream,
  ];
}

/** Returns a table as CSV (RFC 4180) with a header; times are ISO 8601, missing values are empty. */
export function tableToCSV(columns: Column[]): string {
  const lines = [columns.map(({ name }) => csvField(name)).join(",")];
  const rows = columns[0]?.values.length ?? 0;
  for (let i = 0; i < rows; i++)
    lines.push(columns.map(({ type, values }) => csvValue(type, values[i])).join(","));
  return lines.join("\r\n") + "\r\n";
}

function csvValue(type: Column["type"], value: unknown): string {
  if (value === null || value === undefined) return "";
  if (type === "timestamp") return new Date(value as number).toISOString();
  return typeof value === "number" ? csvNumber(value) : csvField(String(value));
}

/** A number as CSV readers take it; −0 keeps its sign. */
export const csvNumber = (value: number): string => (Object.is(value, -0) ? "-0.0" : String(value));

/** A text as a CSV field, quoted where it must be. */
export const csvField = (text: string): string =>
  /[",\r\n]/.test(text) || text === "" ? `"${text.replaceAll('"', '""')}"` : text;

/** Returns a table as a JSON array of rows; missing values are left out. */
export function tableToJSON(columns: Column[]): string {
  const rows = Array.from(columns[0]?.values ?? [], (_, i) =>
    toJSON(
      Object.fromEntries(
        columns
          .filter(({ values }) => (values[i] ?? null) !== null)
          .map(({ name, values }) => [name, values[i]]),
      ),
    ),
  );
  return `[${rows.join(",\n")}]\n`;
}
