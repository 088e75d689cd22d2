import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { statementsOf } from "./statements.ts";

type Database = Awaited<ReturnType<Miniflare["getD1Database"]>>;

/** Returns the names of the numbered migrations in a folder, in order. */
export const migrationsIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => /^\d{4}_\w+\.sql$/.test(name))
    .sort();

/**
 * Applies the migrations that a database has not had, each as one transaction. It keeps the same table as wrangler's
 * `d1 migrations apply`, so that a database can move between the two. Returns the names applied.
 */
export async function migrate(db: Database, folder: string): Promise<string[]> {
  await db
    .prepare(
      "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
    )
    .run();
  const { results } = await db.prepare("SELECT name FROM d1_migrations").all<{ name: string }>();
  const had = new Set(results.map(({ name }) => name));
  const missing = migrationsIn(folder).filter((name) => !had.has(name));
  for (const name of missing) {
    const statements = statementsOf(readFileSync(join(folder, name), "utf8")).map((sql) =>
      db.prepare(sql),
    );
    await db.batch([
      ...statements,
      db.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name),
    ]);
  }
  return missing;
}
