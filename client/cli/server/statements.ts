/** Splits a migration into statements; ours end in a semicolon at a line's end, and a trigger stands on one line. */
export const statementsOf = (sql: string): string[] =>
  sql
    .replace(/--.*$/gm, "")
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter(Boolean);
