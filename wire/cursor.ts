import { ApiError, shown } from "./error.ts";

/**
 * A place in the stream of changes: everything up to `at` (ms by the database's clock), and for each run that changed
 * shortly before, exactly how far. Clocks may step by less than `margin` between two commits without a change being
 * missed or told twice, because near `at` it is the runs' own counters that decide.
 */
export interface Cursor {
  at: number;
  /** run row number → the change last seen of it */
  seen: Map<number, number>;
}

const start: Cursor = { at: 0, seen: new Map() };
const margin = 60_000;

/**
 * Returns the cursor behind a set of changes, as text for a URL: `<at>.<run>-<change>.…`, all in base 36. `now`, the
 * database's clock when they were looked for, brings it up to then where nothing changed for long.
 */
export function formatCursor(
  changes: Iterable<[run: number, at: number]>,
  from: Cursor = start,
  now = 0,
): string {
  const seen = new Map(from.seen);
  for (const [run, at] of changes) seen.set(run, Math.max(at, seen.get(run) ?? 0));
  const at = Math.max(from.at, now, ...seen.values());
  const near = [...seen].filter(([, change]) => change > at - margin);
  return [
    at.toString(36),
    ...near.map(([run, change]) => `${run.toString(36)}-${(at - change).toString(36)}`),
  ].join(".");
}

/** Returns the cursor that a text stands for; undefined is the start. An error names it `name`. */
export function parseCursor(text: string | undefined, name = "since"): Cursor {
  if (text === undefined || text === "") return start;
  if (!/^[0-9a-z]{1,11}(\.[0-9a-z]{1,11}-[0-9a-z]{1,11})*$/.test(text))
    throw new ApiError("INVALID_PARAMETER_VALUE", `invalid ${name}: ${shown(text)}`);
  const [head, ...rest] = text.split(".");
  const at = parseInt(head!, 36);
  const seen = new Map(
    rest.map((pair) => {
      const [run, before] = pair.split("-");
      return [parseInt(run!, 36), at - parseInt(before!, 36)] as const;
    }),
  );
  return { at, seen };
}

/** Changes of a run after this are new to the holder of the cursor. */
export const seenUpTo = ({ at, seen }: Cursor, run: number): number =>
  seen.get(run) ?? Math.max(0, at - margin);
