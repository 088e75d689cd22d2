import { columnFromValues, type ColumnView, type ColumnTable } from "./columns.ts";
import { formatField } from "./field.ts";
import type { Run } from "./run.ts";
import { fieldReader } from "./runs-table.ts";

/** Returns runs as the table that a filter goes over; a param or metric that none of them has is an empty column. */
export function runColumns(
  runs: Run[],
  { experimentName }: { experimentName?: (id: string) => string } = {},
): ColumnTable {
  const columns = new Map<string, ColumnView>();
  return {
    rows: runs.length,
    column(field) {
      const name = formatField(field);
      const known = columns.get(name);
      const read = known ? undefined : fieldReader(field, experimentName);
      if (!read) return known;
      const column = columnFromValues(runs.map(read));
      columns.set(name, column);
      return column;
    },
    tags: () => new Set(runs.flatMap(({ tags }) => Object.keys(tags))),
  };
}
