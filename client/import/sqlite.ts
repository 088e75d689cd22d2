import type { Database, SqlValue } from "sql.js";

/** A row by the names of its columns; those a schema does not have are undefined. */
export type Row = Record<string, SqlValue | undefined>;

/** The largest file that is held in memory, in bytes: one array can be no larger everywhere. */
const maxSize = 2_000_000_000;

/** A SQLite database that is only read. */
export interface Sqlite {
  /** Yields the rows of a query; none where a table it reads is missing. */
  rows(sql: string, values?: SqlValue[]): Generator<Row>;
  /** Whether there is such a table. */
  has(table: string): boolean;
  /** Makes the rows of a table quick to find by columns; the file itself stays as it is. */
  index(table: string, columns: string): void;
  close(): void;
}

/**
 * Opens a database file that is held in memory. SQLite itself, as WebAssembly, is loaded for it at this moment; `wasm`
 * is where a page finds it, Node finds it beside its package. Throws where the bytes are no database.
 */
export async function openSqlite(file: Blob, { wasm }: { wasm?: string } = {}): Promise<Sqlite> {
  if (file.size > maxSize)
    throw new Error(
      `database is too large to be held in memory: ${file.size} bytes, limit ${maxSize}; a running MLflow server on it can be asked instead`,
    );
  const { default: initSqlJs } = await import("sql.js");
  const { Database } = await initSqlJs(wasm === undefined ? {} : { locateFile: () => wasm });
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (new TextDecoder().decode(bytes.subarray(0, 15)) !== "SQLite format 3")
    throw new Error("not a SQLite database");
  // 2 says that a write-ahead log is needed beside the file, which memory has no room for: 1 reads what is in the file.
  bytes.fill(1, 18, 20);
  return readerOf(new Database(bytes));
}

function readerOf(database: Database): Sqlite {
  const tables = new Set(
    database
      .exec("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
      .flatMap(({ values }) => values.map(([name]) => String(name))),
  );
  return {
    *rows(sql, values = []) {
      const read = [...sql.matchAll(/\b(?:FROM|JOIN) (\w+)/g)].map(([, table]) => table!);
      if (read.some((table) => !tables.has(table))) return;
      const statement = database.prepare(sql, values);
      try {
        while (statement.step()) yield statement.getAsObject();
      } finally {
        statement.free();
      }
    },
    has: (table) => tables.has(table),
    index(table, columns) {
      if (tables.has(table)) database.run(`CREATE INDEX assay_${table} ON ${table} (${columns})`);
    },
    close: () => database.close(),
  };
}

/** Returns a column's text; null where it is NULL or not there. */
export const textIn = (row: Row, column: string): string | null => {
  const value = row[column];
  return value === null || value === undefined ? null : String(value);
};

/** Returns a column's number; null where it is NULL or not there. */
export const numberIn = (row: Row, column: string): number | null => {
  const value = row[column];
  return value === null || value === undefined ? null : Number(value);
};
