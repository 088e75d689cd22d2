import { allRows, columnFromValues, type ColumnView } from "../../wire/columns.ts";
import { workspace, type Stores } from "../env.ts";
import {
  BlockWriter,
  columnFromCells,
  columnsOfRuns,
  contentsOf,
  numberColumn,
  readColumn,
  readDirectory,
  valueAt,
  type Directory,
} from "../run-block.ts";
import { now } from "./events.ts";
import { newObject, putPieces, readBytes, retire, takeBack } from "./objects.ts";
import { pagesOfRuns, type FoundRun } from "./runs.ts";
import { expectChanges, isOvertaken } from "./segments.ts";

/** A block's row. */
export interface BlockRow {
  no: number;
  experiment: string;
  object: string;
  size: number;
  directory: number;
  rows: number;
  widest: number;
  touched: number;
  covers: string;
  dead: string;
}

const columns = "no, experiment, object, size, directory, rows, widest, touched, covers, dead";

/** So many settled runs that no block has are worth one. */
export const enough = 2048;
/** A block is made, in memory, of at most so many runs, and of about so many bytes of them. */
const [mostRuns, mostBytes] = [4096, 8_000_000];
/** So many blocks of about one size are merged into one, unless it grew larger than this, or a column of it so wide. */
const fan = 8;
const mostMerged = { rows: 65_536, widest: 6_000_000 };

/** The statements that read the blocks of experiments, and the runs that stand in them no longer. */
export function selectBlocks(db: D1Database, experiments: string[]): D1PreparedStatement[] {
  const bound = [workspace, JSON.stringify(experiments)];
  const own = "workspace = ?1 AND experiment IN (SELECT value FROM json_each(?2))";
  return [
    db.prepare(`SELECT ${columns} FROM run_blocks WHERE ${own} ORDER BY no DESC`).bind(...bound),
    db
      .prepare(
        `SELECT no, -block AS block FROM runs INDEXED BY runs_dead WHERE block < 0 AND block IN (
           SELECT -no FROM run_blocks WHERE ${own}
           UNION SELECT -c.value FROM run_blocks, json_each(covers) AS c WHERE ${own})`,
      )
      .bind(...bound),
  ];
}

/** A block whose directory is read; its columns are as they are asked for. */
export class Block {
  readonly row: BlockRow;
  readonly directory: Directory;
  readonly #bucket: R2Bucket;
  readonly #dead: Set<number>;

  /** `changed` are the runs that have changed since, and the block each was in. */
  static async open(
    bucket: R2Bucket,
    row: BlockRow,
    changed: { no: number; block: number }[] = [],
  ): Promise<Block> {
    let directory = directories.get(row.object);
    if (!directory) {
      const bytes = await readBytes(bucket, row.object, row.directory, row.size - row.directory);
      directory = readDirectory(bytes);
      if (directories.size === mostDirectories)
        directories.delete(directories.keys().next().value!);
      directories.set(row.object, directory);
    }
    const covered = new Set([row.no, ...(JSON.parse(row.covers) as number[])]);
    const dead = new Set([
      ...(JSON.parse(row.dead) as number[]),
      ...changed.filter(({ block }) => covered.has(block)).map(({ no }) => no),
    ]);
    return new Block(bucket, row, directory, dead);
  }

  private constructor(bucket: R2Bucket, row: BlockRow, directory: Directory, dead: Set<number>) {
    this.#bucket = bucket;
    this.row = row;
    this.directory = directory;
    this.#dead = dead;
  }

  /** Whether some of its runs are elsewhere by now. */
  get hasDead(): boolean {
    return this.#dead.size > 0;
  }

  /** Returns the columns of the given names that it has. */
  async read(names: Iterable<string>): Promise<Map<string, ColumnView>> {
    const wanted = [...new Set(names)].filter((name) => this.directory.columns.has(name));
    const views = await Promise.all(wanted.map((name) => this.#column(name)));
    return new Map(wanted.map((name, i) => [name, views[i]!]));
  }

  async #column(name: string): Promise<ColumnView> {
    const key = `${this.row.object} ${name}`;
    const known = cache.get(key);
    if (known) {
      cache.delete(key);
      cache.set(key, known); // now it is the last to go
      return known.view;
    }
    const column = this.directory.columns.get(name)!;
    const bytes = await readBytes(this.#bucket, this.row.object, column.at, column.length);
    const view = readColumn(bytes, column);
    keep(key, { view, size: column.size });
    return view;
  }

  /** Returns the places of the runs that stand in it as they are, of those given or all, and the row numbers of all. */
  async alive(
    rows = allRows(this.directory.rows),
  ): Promise<{ rows: Uint32Array; numbers: Float64Array }> {
    const { values: numbers } = (await this.read([numberColumn])).get(numberColumn) as {
      values: Float64Array;
    };
    const isAlive = (row: number) => !this.#dead.has(numbers[row]!);
    return { rows: this.hasDead ? rows.filter(isAlive) : rows, numbers };
  }
}

/** Columns that were asked for before, about so many bytes of them; those asked for longest ago go first. */
const mostCached = 14_000_000;
const cache = new Map<string, { view: ColumnView; size: number }>();
let cached = 0;

function keep(key: string, column: { view: ColumnView; size: number }): void {
  cached += column.size - (cache.get(key)?.size ?? 0);
  cache.set(key, column);
  for (const [oldest, { size }] of cache) {
    if (cached <= mostCached) return;
    cache.delete(oldest);
    cached -= size;
  }
}

/** Directories of blocks that were asked for before; blocks never change. */
const directories = new Map<string, Directory>();
const mostDirectories = 32;

const loose = `workspace = ? AND experiment = ? AND block <= 0 AND deleted IS NULL`;
/** What has ended, is quiet, and has no more metrics than its row holds. */
const isSettled = `state NOT IN ('running', 'scheduled') AND touched < ${now} - ? AND heartbeat < ${now} - ?
  AND NOT EXISTS (SELECT 1 FROM more_metrics AS m WHERE m.run = runs.no)`;

/**
 * Puts the settled runs of an experiment into blocks, as long as there are `least` of them, and merges blocks where that
 * pays. A run has settled when it has ended and nothing was heard of it for `quiet` ms. Others may do the same at the same
 * time: who comes second looks again. Returns how many runs were settled.
 */
export async function settleRuns(
  stores: Stores,
  experiment: string,
  { quiet = 120_000, least = 1, most = mostRuns } = {},
): Promise<number> {
  let settled = 0;
  for (let overtaken = 0; ;) {
    try {
      const count = await settleSome(stores, experiment, { quiet, least, most });
      settled += count;
      if (!count && !(await mergeSome(stores, experiment))) return settled;
    } catch (error) {
      if (!isOvertaken(error) || ++overtaken === maxOvertaken) throw error;
    }
  }
}

const maxOvertaken = 20;

async function settleSome(
  stores: Stores,
  experiment: string,
  { quiet, least, most }: { quiet: number; least: number; most: number },
): Promise<number> {
  const { DB } = stores;
  const { results } = await DB.prepare(
    `SELECT no, touched, block, length(params) + length(tags) + length(metrics) + length(note) + length(error) AS size
     FROM runs INDEXED BY runs_loose WHERE ${loose} AND ${isSettled} ORDER BY started DESC, no DESC LIMIT ?`,
  )
    .bind(workspace, experiment, quiet, quiet, Math.max(least, most))
    .all<{ no: number; touched: number; block: number; size: number }>();
  if (results.length < least || !results.length) return 0;
  let bytes = 0;
  const chosen = results
    .slice(0, most)
    .filter(({ size }, i) => (bytes += size) <= mostBytes || i === 0);
  const runs: FoundRun[] = [];
  const numbers = chosen.map(({ no }) => no);
  for await (const page of pagesOfRuns(DB, numbers)) runs.push(...page);
  const touchedOf = new Map(chosen.map(({ no, touched }) => [no, touched]));
  // What has changed since it was chosen waits for the next time.
  const same = runs.filter(({ no, touched }) => touchedOf.get(no) === touched);
  if (!same.length) return 0;
  const cells = columnsOfRuns(same);
  const rows = same.length;
  const heartbeats = columnFromCells(cells.get("heartbeat")!, rows);
  const all = Array.from(same.keys());
  const writer = new BlockWriter(rows);
  const pieces = async function* () {
    for (const [name, own] of cells) {
      const column = columnFromCells(own, rows);
      yield writer.column(name, column, contentsOf(column, heartbeats, all));
    }
  };
  const stored = await putBlock(stores.FILES, writer, pieces());
  const pairs = JSON.stringify(same.map(({ no, touched }) => [no, touched]));
  await enter(stores, experiment, { ...stored, rows, covers: "[]", same }, [
    DB.prepare(
      `UPDATE run_blocks SET dead = (SELECT json_group_array(value) FROM (
         SELECT value FROM json_each(dead) UNION SELECT no FROM json_each(?1) AS p CROSS JOIN runs ON no = p.value ->> 0
         WHERE block = -run_blocks.no OR -block IN (SELECT c.value FROM json_each(covers) AS c)))
       WHERE EXISTS (SELECT 1 FROM json_each(?1) AS p CROSS JOIN runs ON no = p.value ->> 0
         WHERE block = -run_blocks.no OR -block IN (SELECT c.value FROM json_each(covers) AS c))`,
    ).bind(pairs),
    DB.prepare(
      `UPDATE runs SET block = (SELECT no FROM run_blocks WHERE object = ?2)
       FROM json_each(?1) AS p WHERE runs.no = p.value ->> 0 AND touched = p.value ->> 1 AND block <= 0`,
    ).bind(pairs, stored.object),
    expectChanges(DB, rows),
  ]);
  return rows;
}

/** Stores a block's columns and then its directory. Nothing refers to the object before its row is there. */
async function putBlock(
  bucket: R2Bucket,
  writer: BlockWriter,
  pieces: AsyncIterable<Uint8Array>,
): Promise<Pick<BlockRow, "object" | "size" | "directory" | "widest">> {
  const object = newObject("run_blocks");
  let directory = 0;
  const size = await putPieces(
    bucket,
    object,
    (async function* () {
      yield* pieces;
      const { at, bytes } = writer.directory();
      directory = at;
      yield bytes;
    })(),
  );
  return { object, size, directory, widest: writer.widest };
}

/** Makes a stored block count, with the statements that take away what it replaces. */
async function enter(
  { DB, FILES }: Stores,
  experiment: string,
  block: Pick<BlockRow, "object" | "size" | "directory" | "widest" | "rows" | "covers"> & {
    same: { touched: number }[];
  },
  statements: D1PreparedStatement[],
): Promise<void> {
  const { object, size, directory, widest, rows, covers, same } = block;
  const touched = same.reduce((last, run) => Math.max(last, run.touched), 0);
  const insert = DB.prepare(
    `INSERT INTO run_blocks (workspace, experiment, object, size, directory, rows, widest, touched, covers, dead)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '[]')`,
  ).bind(workspace, experiment, object, size, directory, rows, widest, touched, covers);
  try {
    await DB.batch([insert, ...statements]);
  } catch (error) {
    // Of any other failure it is not known whether it happened; what is not needed is collected later.
    if (isOvertaken(error)) await takeBack(FILES, [{ object }]);
    throw error;
  }
}

/** Merges some blocks of an experiment into one, as planned. Returns whether it did. */
async function mergeSome(stores: Stores, experiment: string): Promise<boolean> {
  const { DB, FILES } = stores;
  const [found, dead] = await DB.batch<BlockRow & { no: number; block: number }>(
    selectBlocks(DB, [experiment]),
  );
  const blocks: Block[] = [];
  for (const row of found!.results) blocks.push(await Block.open(FILES, row, dead!.results));
  const sizes = await Promise.all(
    blocks.map(async (block) => ({
      block,
      widest: block.row.widest,
      rows: block.row.rows,
      alive: block.hasDead ? (await block.alive()).rows.length : block.row.rows,
    })),
  );
  const chosen = planMerge(sizes);
  if (!chosen) return false;
  const sources = await Promise.all(
    chosen.map(async ({ block }) => ({ block, ...(await block.alive()) })),
  );
  const order = await newestFirst(sources);
  const names = new Set(sources.flatMap(({ block }) => [...block.directory.columns.keys()]));
  const writer = new BlockWriter(order.length);
  const gather = async (name: string): Promise<ColumnView> => {
    const views = await Promise.all(
      sources.map(async ({ block }) => (await block.read([name])).get(name)),
    );
    return columnFromValues(
      order.map(([source, row]) => views[source] && valueAt(views[source], row)),
    );
  };
  const all = Array.from(order.keys());
  const pieces = async function* () {
    if (!order.length) return;
    const heartbeats = await gather("heartbeat");
    for (const name of names) {
      const column = await gather(name);
      const contents = contentsOf(column, heartbeats, all);
      if (contents.numbers + contents.texts + contents.booleans > 0)
        yield writer.column(name, column, contents);
    }
  };
  const old = sources.map(({ block }) => block.row);
  const objects = JSON.stringify(old.map(({ object }) => object));
  // What is dead in these blocks is in none from now on; if something else died meanwhile, it is looked at anew.
  const gone = [
    retire(DB, objects),
    DB.prepare(
      `UPDATE runs SET block = 0 WHERE block < 0 AND block IN (
         SELECT -no FROM run_blocks WHERE object IN (SELECT value FROM json_each(?1))
         UNION SELECT -c.value FROM run_blocks, json_each(covers) AS c WHERE object IN (SELECT value FROM json_each(?1)))`,
    ).bind(objects),
    expectChanges(DB, countDead(old, dead!.results)),
    DB.prepare(
      `DELETE FROM run_blocks WHERE (object, dead) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))`,
    ).bind(JSON.stringify(old.map(({ object, dead }) => [object, dead]))),
    expectChanges(DB, old.length),
  ];
  if (!order.length) {
    await DB.batch(gone);
    return true;
  }
  const stored = await putBlock(FILES, writer, pieces());
  const covers = JSON.stringify(old.flatMap(({ no, covers }) => [no, ...JSON.parse(covers)]));
  await enter(stores, experiment, { ...stored, rows: order.length, covers, same: old }, gone);
  return true;
}

function countDead(rows: BlockRow[], changed: { block: number }[]): number {
  const covered = new Set(
    rows.flatMap(({ no, covers }) => [no, ...(JSON.parse(covers) as number[])]),
  );
  return changed.filter(({ block }) => covered.has(block)).length;
}

/** Returns places of runs, of which source and where in it, by start, the newest first. */
async function newestFirst(
  sources: { block: Block; rows: Uint32Array; numbers: Float64Array }[],
): Promise<[source: number, row: number][]> {
  const started = await Promise.all(
    sources.map(async ({ block }) => (await block.read(["started"])).get("started")!),
  );
  const places = sources.flatMap(({ rows }, source) =>
    Array.from(rows, (row): [number, number] => [source, row]),
  );
  const startOf = ([source, row]: [number, number]) => valueAt(started[source]!, row) as number;
  return places.sort(
    (a, b) =>
      startOf(b) - startOf(a) || sources[b[0]]!.numbers[b[1]]! - sources[a[0]]!.numbers[a[1]]!,
  );
}

interface Mergeable {
  rows: number;
  widest: number;
  alive: number;
}

/** Returns the blocks to merge: several of one size, or one that is largely dead. */
export function planMerge<B extends Mergeable>(blocks: B[]): B[] | undefined {
  const tier = ({ rows }: B) => Math.max(0, Math.floor(Math.log(rows / 512) / Math.log(fan)));
  for (const [, same] of [...Map.groupBy(blocks, tier)].sort(([a], [b]) => a - b)) {
    let [rows, widest] = [0, 0];
    const some = same.slice(0, fan).filter((block) => {
      rows += block.alive;
      widest += block.widest;
      return rows <= mostMerged.rows && widest <= mostMerged.widest;
    });
    if (some.length === fan) return some;
  }
  const sparse = blocks.find(({ rows, alive }) => alive < rows * 0.75);
  return sparse && [sparse];
}

/** Settles the runs of each experiment that has enough of them. Returns how many settled. */
export async function settleDue(stores: Stores): Promise<number> {
  const { results } = await stores.DB.prepare(
    "SELECT experiment FROM runs INDEXED BY runs_loose WHERE block <= 0 AND deleted IS NULL GROUP BY experiment HAVING count(*) >= ?",
  )
    .bind(enough)
    .all<{ experiment: string }>();
  let settled = 0;
  for (const { experiment } of results)
    settled += await settleRuns(stores, experiment, { least: enough });
  return settled;
}
