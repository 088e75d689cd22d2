import { Buffer } from "node:buffer";
import type { ConsoleLine, NewLine } from "../../wire/console.ts";
import { ApiError } from "../../wire/error.ts";
import { workspace } from "../env.ts";
import { digestOf, now } from "./events.ts";
import { checkAppended } from "./tail.ts";
import { selectRun } from "./runs.ts";

const maxBody = 1_900_000;

/** Appends console lines to a run, exactly once by writer and sequence number; closed runs still take what they printed last. */
export async function appendLines(
  db: D1Database,
  run: string,
  writer: string,
  seq: number,
  lines: NewLine[],
  received = Date.now(),
): Promise<void> {
  const digest = await digestOf(lines);
  const body = JSON.stringify(
    lines.map(({ time = received, stream, text }) => [time, stream, text]),
  );
  const size = Buffer.byteLength(body);
  if (size > maxBody)
    throw new ApiError(
      "REQUEST_TOO_LARGE",
      `console lines are too large: ${size} bytes, limit ${maxBody}`,
    );
  const [, , outcome] = await db.batch<{
    state: string;
    deleted: number | null;
    digest: string | null;
  }>([
    db
      .prepare(
        `UPDATE runs SET lines = lines + ?1, heartbeat = ${now}, touched = max(${now}, touched + 1)
         WHERE workspace = ?2 AND id = ?3 AND deleted IS NULL
         AND NOT EXISTS (SELECT 1 FROM console WHERE run = runs.no AND writer = ?4 AND seq = ?5)`,
      )
      .bind(lines.length, workspace, run, writer, seq),
    db
      .prepare(
        `INSERT INTO console (workspace, run, first, count, writer, seq, digest, lines)
         SELECT workspace, no, lines - ?1 + 1, ?1, ?2, ?3, ?4, ?5 FROM runs WHERE id = ?6 AND changes() = 1`,
      )
      .bind(lines.length, writer, seq, digest, body, run),
    db
      .prepare(
        "SELECT state, deleted, console.digest FROM runs LEFT JOIN console ON run = no AND writer = ? AND seq = ? WHERE runs.workspace = ? AND id = ?",
      )
      .bind(writer, seq, workspace, run),
  ]);
  checkAppended(outcome!.results[0], { run, writer, seq, digest });
}

/** Returns up to `limit` lines of a run after line number `after`; with `tail`, its last lines instead. */
export async function selectLines(
  db: D1Database,
  run: string,
  {
    after = 0,
    limit = 1000,
    tail,
  }: { after?: number | undefined; limit?: number | undefined; tail?: number | undefined },
): Promise<{ lines: ConsoleLine[]; total: number }> {
  const { no, lines: total } = await selectRun(db, run);
  const from = tail === undefined ? after : Math.max(0, total - tail);
  const most = tail ?? limit;
  const { results } = await db
    .prepare(
      "SELECT first, lines FROM console WHERE run = ?1 AND first + count > ?2 + 1 AND first <= ?2 + ?3 ORDER BY first",
    )
    .bind(no, from, most)
    .all<{ first: number; lines: string }>();
  const lines = results.flatMap(({ first, lines }) =>
    (JSON.parse(lines) as [number, "out" | "err", string][]).map(([time, stream, text], i) => ({
      n: first + i,
      time,
      stream,
      text,
    })),
  );
  return { lines: lines.filter(({ n }) => n > from && n <= from + most), total };
}
