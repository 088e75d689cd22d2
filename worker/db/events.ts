import { workspace } from "../env.ts";

/** Who did what to what: one line of the audit log. */
export interface Change {
  who: string;
  /** noun and verb, such as run.create */
  what: string;
  subject: string;
  digest: string;
}

/** The database's own clock in ms, inside a statement. */
export const now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/** The statement that logs a change, if the statement before it in the batch changed exactly one row. */
export function logChange(
  db: D1Database,
  { who, what, subject, digest }: Change,
): D1PreparedStatement {
  return db
    .prepare(
      `INSERT INTO events (workspace, at, who, what, subject, digest) SELECT ?, ${now}, ?, ?, ?, ? WHERE changes() = 1`,
    )
    .bind(workspace, who, what, subject, digest);
}

/** The statement that logs the same change of each of some runs, given by their numbers. */
export function logChanges(
  db: D1Database,
  { who, what, digest }: Omit<Change, "subject">,
  runs: number[],
): D1PreparedStatement {
  return db
    .prepare(
      `INSERT INTO events (workspace, at, who, what, subject, digest)
       SELECT ?, ${now}, ?, ?, runs.id, ? FROM json_each(?) AS each CROSS JOIN runs ON no = each.value ORDER BY each.key`,
    )
    .bind(workspace, who, what, digest, JSON.stringify(runs));
}

/** Returns the audit log after event number `after`, oldest first. */
export async function selectEvents(
  db: D1Database,
  { after = 0, limit = 1000 } = {},
): Promise<(Change & { no: number; at: number })[]> {
  const { results } = await db
    .prepare(
      "SELECT no, at, who, what, subject, digest FROM events WHERE workspace = ? AND no > ? ORDER BY no LIMIT ?",
    )
    .bind(workspace, after, limit)
    .all<Change & { no: number; at: number }>();
  return results;
}

/** Returns the SHA-256 of a value, in hex; text and JSON as UTF-8. */
export async function digestOf(value: unknown): Promise<string> {
  const bytes =
    value instanceof Uint8Array
      ? value
      : new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
  const hash = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(hash), (b) => b.toString(16).padStart(2, "0")).join("");
}
