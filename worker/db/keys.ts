import type { KeyKind, KnownKey } from "../../wire/key.ts";
import { workspace, type Stores } from "../env.ts";
import { contentsOf, type ColumnContents } from "../run-block.ts";
import { Block, selectBlocks, type BlockRow } from "./run-blocks.ts";

interface KeyRow extends ColumnContents {
  kind: KeyKind;
  key: string;
}

/**
 * Returns the params, tags and metrics of the runs of experiments that are not deleted, by kind and key: of blocks as their
 * directories tell, and counted anew where runs have left them, so that it is always just what a scan would find.
 */
export async function selectKeys(
  { DB, FILES }: Stores,
  experiments: string[],
  isWanted: (kind: KeyKind, key: string) => boolean = () => true,
): Promise<KnownKey[]> {
  const [found, changed, loose] = await DB.batch<BlockRow & KeyRow & { block: number }>([
    ...selectBlocks(DB, experiments),
    selectLooseKeys(DB, experiments),
  ]);
  const keys = new Map<string, KeyRow>();
  const add = (row: KeyRow) => {
    if (!isWanted(row.kind, row.key) || row.numbers + row.booleans + row.texts === 0) return;
    const name = `${row.kind}.${row.key}`;
    const known = keys.get(name);
    keys.set(name, known ? { ...row, ...merged(known, row) } : row);
  };
  for (const row of loose!.results) add(row);
  for (const row of found!.results) {
    const block = await Block.open(FILES, row, changed!.results);
    for (const one of await keysOfBlock(block, isWanted)) add(one);
  }
  return [...keys.values()]
    .map(({ kind, key, numbers, booleans, texts, min, max, seen }): KnownKey => ({
      kind,
      key,
      type: texts || (numbers && booleans) ? "text" : booleans ? "boolean" : "number",
      runs: numbers + booleans + texts,
      min,
      max,
      seen,
    }))
    .sort((a, b) =>
      a.kind === b.kind ? (a.key < b.key ? -1 : 1) : kinds.indexOf(a.kind) - kinds.indexOf(b.kind),
    );
}

const kinds: KeyKind[] = ["params", "metrics", "tags"];

function merged(a: ColumnContents, b: ColumnContents): ColumnContents {
  const pick = (of: (x: number, y: number) => number, x: number | null, y: number | null) =>
    x === null || y === null ? (x ?? y) : of(x, y);
  return {
    numbers: a.numbers + b.numbers,
    booleans: a.booleans + b.booleans,
    texts: a.texts + b.texts,
    min: pick(Math.min, a.min, b.min),
    max: pick(Math.max, a.max, b.max),
    seen: Math.max(a.seen, b.seen),
  };
}

async function keysOfBlock(
  block: Block,
  isWanted: (kind: KeyKind, key: string) => boolean,
): Promise<KeyRow[]> {
  const own = [...block.directory.columns].flatMap(([name, column]) => {
    const { kind, key } = keyOfColumn(name) ?? {};
    return kind && isWanted(kind, key!) ? [{ name, kind, key: key!, column }] : [];
  });
  if (!block.hasDead) return own.map(({ kind, key, column }) => ({ kind, key, ...column }));
  const { rows } = await block.alive();
  const heartbeats = (await block.read(["heartbeat"])).get("heartbeat")!;
  const rowsOfKeys: KeyRow[] = [];
  for (const { name, kind, key } of own) {
    const column = (await block.read([name])).get(name)!;
    rowsOfKeys.push({ kind, key, ...contentsOf(column, heartbeats, rows) });
  }
  return rowsOfKeys;
}

/** Returns the key that a block's column is of; of a metric's columns, only that of its last values stands for it. */
function keyOfColumn(name: string): { kind: KeyKind; key: string } | undefined {
  const dot = name.indexOf(".");
  const [kind, key] = [name.slice(0, Math.max(dot, 0)), name.slice(dot + 1)];
  if (kind === "params" || kind === "tags") return { kind, key };
  return kind === "metrics" && key.startsWith("last.") ? { kind, key: key.slice(5) } : undefined;
}

const isNumber = "j.type IN ('integer', 'real')";
const isOddNumber = "j.type = 'text' AND j.atom IN ('NaN', 'Infinity', '-Infinity')";
const finite = (value: string) => `CASE WHEN abs(${value}) < 9e999 THEN ${value} END`;

/** The statement that counts the keys of runs that are in no block. NaN and ±Infinity are texts as params, NaN is null as a metric. */
function selectLooseKeys(db: D1Database, experiments: string[]): D1PreparedStatement {
  const summaries = (from: string) => `
    SELECT 'metrics' AS kind, j.key AS key, count(*) AS numbers, 0 AS booleans, 0 AS texts,
      min(${finite("(j.value ->> '$.last')")}) AS min, max(${finite("(j.value ->> '$.last')")}) AS max, max(heartbeat) AS seen
    FROM ${from} GROUP BY j.key`;
  return db
    .prepare(
      `WITH own AS (SELECT no, params, tags, metrics, heartbeat FROM runs INDEXED BY runs_loose
         WHERE workspace = ?1 AND experiment IN (SELECT value FROM json_each(?2)) AND block <= 0 AND deleted IS NULL)
       SELECT 'params' AS kind, j.key AS key, sum(${isNumber} OR ${isOddNumber}) AS numbers, sum(j.type IN ('true', 'false')) AS booleans,
         sum(j.type = 'text' AND NOT (${isOddNumber})) AS texts,
         min(CASE WHEN ${isNumber} THEN j.atom END) AS min, max(CASE WHEN ${isNumber} THEN j.atom END) AS max,
         max(CASE WHEN j.type <> 'null' THEN heartbeat END) AS seen
       FROM own, json_each(own.params) AS j GROUP BY j.key
       UNION ALL SELECT 'tags', j.key, 0, 0, count(*), NULL, NULL, max(heartbeat) FROM own, json_each(own.tags) AS j GROUP BY j.key
       UNION ALL ${summaries("own, json_each(own.metrics) AS j")}
       UNION ALL ${summaries("own CROSS JOIN more_metrics AS m ON m.run = own.no, json_each(m.metrics) AS j")}`,
    )
    .bind(workspace, JSON.stringify(experiments));
}
