import { workspace, type Env } from "../../worker/env.ts";
import { now } from "../../worker/db/events.ts";
import { benchRun } from "../bench/runs/workload.ts";

/** A statement's text ends at 2 MB; a run takes some 6.5 kB. */
const perStatement = 200;

/** Stores the runs of a range of the bench's in an experiment (id), as if they had been logged; returns how many. */
export async function insertBenchRuns(
  { DB }: Env,
  experiment: string,
  { from, to }: { from: number; to: number },
): Promise<number> {
  const insert = DB.prepare(
    `INSERT INTO runs (workspace, id, experiment, number, name, state, params, tags, note, source, metrics, points, started, ended, heartbeat, touched, digest)
     SELECT ?1, value ->> 'id', ?2, value ->> 'number', value ->> 'name', value ->> 'state',
       jsonb_extract(value, '$.params'), jsonb_extract(value, '$.tags'), '', 'train.py', jsonb_extract(value, '$.metrics'),
       value ->> 'points', value ->> 'started', value ->> 'ended', value ->> 'ended', ${now}, ''
     FROM json_each(?3)`,
  );
  const statements: D1PreparedStatement[] = [];
  for (let begin = from; begin < to; begin += perStatement) {
    const length = Math.min(perStatement, to - begin);
    // A run has no infinite value: what JSON has null for is NaN, as at rest.
    const runs = Array.from({ length }, (_, i) => benchRun(begin + i));
    statements.push(insert.bind(workspace, experiment, JSON.stringify(runs)));
  }
  const results = await DB.batch(statements);
  return results.reduce((count, { meta }) => count + meta.changes, 0);
}
