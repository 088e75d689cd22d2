import { Buffer } from "node:buffer";
import { isPresentAt, type ColumnTable, type ColumnView } from "../../wire/columns.ts";
import { ApiError, shown } from "../../wire/error.ts";
import { fieldFromName, type Field as RunField } from "../../wire/field.ts";
import type { Value } from "../../wire/filter.ts";
import type { KnownKey } from "../../wire/key.ts";
import { plainColumns } from "../../wire/runs-table.ts";
import { selectKeys } from "../db/keys.ts";
import type { FoundRuns, Place } from "../db/runs-table.ts";
import type { Stores } from "../env.ts";
import { valueAt, wordFromJSON, wordToJSON } from "../run-block.ts";
import type { Blocks, Field } from "./blocks.ts";

/** A column of an answer and the field it shows. */
interface RunColumn extends Field {
  type: "utf8" | "float64" | "timestamp" | "bool";
  field: RunField;
}

const defaultColumns = ["id", "name", "number", "state", "started", "ended", "duration"];

/**
 * Returns the columns of the given names; "*" stands for every plain one, and every param, metric's last value and tag that
 * the experiments' runs have. A param's type is that of all its values, whichever runs are asked for.
 */
export async function runFields(
  stores: Stores,
  experiments: { id: string }[],
  names: string[] = defaultColumns,
): Promise<RunColumn[]> {
  const fields = names.map((name) => ({ name, field: name === "*" ? undefined : named(name) }));
  const params = new Set(
    fields.flatMap(({ field }) => (field?.kind === "params" ? [field.key] : [])),
  );
  const isAll = names.includes("*");
  const keys =
    isAll || params.size
      ? await selectKeys(
          stores,
          experiments.map(({ id }) => id),
          (kind, key) => isAll || (kind === "params" && params.has(key)),
        )
      : [];
  const typeOf = new Map(
    keys.flatMap(({ kind, key, type }) => (kind === "params" ? [[key, type]] : [])),
  );
  return fields.flatMap(({ name, field }) =>
    field
      ? columnOf(name, field, typeOf)
      : allColumns(keys).map((one) => columnOf(one, named(one), typeOf)),
  );
}

function named(name: string): RunField {
  const field = fieldFromName(name);
  const isPlain = field?.kind === "plain";
  const isThere = isPlain
    ? Object.hasOwn(plainColumns, field.key) || field.key === "status"
    : field !== undefined && field.kind !== "datasets";
  if (!field || !isThere)
    throw new ApiError("INVALID_PARAMETER_VALUE", `unknown column: ${shown(name)}`);
  return field;
}

const allColumns = (keys: KnownKey[]): string[] => [
  ...Object.keys(plainColumns),
  ...keys.map(({ kind, key }) => `${kind}.${key}`),
];

function columnOf(name: string, field: RunField, typeOf: Map<string, KnownKey["type"]>): RunColumn {
  const { kind, key } = field;
  if (kind === "plain") return { name, field, type: plainColumns[key] ?? "utf8" };
  if (kind === "metrics") return { name, field, type: "float64" };
  const types = { number: "float64", boolean: "bool", text: "utf8" } as const;
  return { name, field, type: kind === "params" ? types[typeOf.get(key) ?? "text"] : "utf8" };
}

/** Blocks of so many cells are in memory at once. */
const blockCells = 150_000;

/** Returns runs as a table, some thousand at a time. */
export function runBlocks(found: FoundRuns, columns: RunColumn[]): Blocks {
  const rows = Math.min(8192, Math.max(64, Math.floor(blockCells / Math.max(1, columns.length))));
  return {
    fields: columns.map(({ name, type }) => ({ name, type })),
    blocks: (async function* () {
      const fields = columns.map(({ field }) => field);
      for (let begin = 0; begin < found.count; begin += rows) {
        const end = Math.min(begin + rows, found.count);
        const table = await found.cells(fields, begin, end);
        yield columns.map((column) => valuesOf(column, table));
      }
    })(),
  };
}

function valuesOf({ field, type }: RunColumn, table: ColumnTable): ArrayLike<unknown> {
  const column: ColumnView | undefined = table.column(field);
  if (column?.type === "number" && type !== "utf8" && hasAll(column, table.rows))
    return column.values;
  return Array.from({ length: table.rows }, (_, row) => {
    const value = column && valueAt(column, row);
    return value !== undefined && type === "utf8" ? String(value) : value;
  });
}

/** Whether no row of a column is without a value. */
function hasAll({ present }: ColumnView, rows: number): boolean {
  if (!present) return true;
  for (let row = 0; row < rows; row++) if (!isPresentAt(present, row)) return false;
  return true;
}

/** Returns the catalogue of keys as a table. */
export function keyBlocks(keys: KnownKey[]): Blocks {
  const fields = [
    { name: "kind", type: "utf8" },
    { name: "key", type: "utf8" },
    { name: "type", type: "utf8" },
    { name: "runs", type: "float64" },
    { name: "min", type: "float64" },
    { name: "max", type: "float64" },
    { name: "seen", type: "timestamp" },
  ] as const;
  return {
    fields: [...fields],
    blocks: (async function* () {
      yield fields.map(({ name }) => keys.map((key) => key[name]));
    })(),
  };
}

/** Returns a place in an order as text for a URL. */
export const formatPlace = ({ no, started, values }: Place): string =>
  Buffer.from(JSON.stringify([no, started, ...values.map(wordToJSON)])).toString("base64url");

/** Returns the place that a text stands for in an order of so many fields. */
export function parsePlace(text: string, fields: number): Place {
  const [no, started, ...values] = parts(text);
  const isPlace =
    Number.isSafeInteger(no) && Number.isSafeInteger(started) && values.length === fields;
  if (!isPlace)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `invalid after: ${shown(text)} (expected x-assay-next of a page in the same order)`,
    );
  return { no: no as number, started: started as number, values: values as (Value | null)[] };
}

function parts(text: string): unknown[] {
  try {
    const found: unknown = JSON.parse(Buffer.from(text, "base64url").toString());
    return Array.isArray(found) && found.every(isWord) ? found.map(wordFromJSON) : [];
  } catch {
    return [];
  }
}

/** Whether a part is what wordToJSON writes. */
const isWord = (part: unknown): boolean =>
  Array.isArray(part)
    ? part.length === 1 && typeof part[0] === "string"
    : typeof part !== "object" || part === null;
