import {
  allRows,
  columnFromValues,
  type ColumnTable,
  type ColumnView,
} from "../../wire/columns.ts";
import { seenUpTo, formatCursor, type Cursor } from "../../wire/cursor.ts";
import { fieldsOf, type Filter, type Value } from "../../wire/filter.ts";
import type { Field } from "../../wire/field.ts";
import type { OrderTerm } from "../../wire/order.ts";
import { rowsWhere } from "../../wire/predicate.ts";
import { runColumns } from "../../wire/run-columns.ts";
import { sortedRows } from "../../wire/sort.ts";
import { workspace, type Stores } from "../env.ts";
import {
  blockTable,
  columnNames,
  concatTables,
  pickColumn,
  takeNumbers,
  takeRows,
  valueAt,
} from "../run-block.ts";
import { boundTo } from "./bound.ts";
import { rowNumber, withoutDatasets } from "./datasets.ts";
import { now } from "./events.ts";
import { Block, selectBlocks, type BlockRow } from "./run-blocks.ts";
import { readCells } from "./run-cells.ts";
import { pagesOfRuns } from "./runs.ts";
import { whereSQL } from "./where.ts";

/** Which runs a table holds, and in which order. */
export interface RunsQuestion {
  experiments: { id: string; name: string }[];
  filter?: Filter | undefined;
  /** defaults to the newest first, which also decides where this does not */
  order?: OrderTerm[] | undefined;
  limit?: number | undefined;
  /** the place of the last run before those asked for */
  after?: Place | undefined;
  archived?: boolean | undefined;
  deleted?: boolean | undefined;
  /** only runs that changed since, archived, deleted and moved ones included */
  since?: Cursor | undefined;
}

/** Where a run stands in an order. */
export interface Place {
  no: number;
  started: number;
  values: (Value | null)[];
}

/** The runs that were found, in their order. */
export interface FoundRuns {
  count: number;
  numbers: number[];
  cursor: string;
  /** what decides the cells of these runs: while it is the same, so are they */
  version: unknown[];
  /** how many runs are in no block of settled runs */
  loose: number;
  /** the place of the last run where the limit cut off others */
  next?: Place | undefined;
  /** returns fields of the runs from one place to another */
  cells(fields: Field[], begin: number, end: number): Promise<ColumnTable>;
}

/** What was found in a part of what is searched: a block of settled runs, or those that the database alone has. */
interface Source {
  /** of each run its place in the block, its row number, and the fields that the order asks for */
  rows: Uint32Array;
  numbers: Float64Array;
  table: ColumnTable;
  block?: Block;
}

const started: Field = { kind: "plain", key: "started" };

/**
 * Finds runs: the settled ones in blocks, by whole columns, and the others by SQL. It is all as it was at one moment, but
 * for the cells of a run that changes while they are read.
 */
export async function findRuns(stores: Stores, question: RunsQuestion): Promise<FoundRuns> {
  const { experiments, order = [], limit = Infinity, after, archived, since } = question;
  const { DB, FILES } = stores;
  const ids = experiments.map(({ id }) => id);
  const filter = question.filter && (await withoutDatasets(DB, ids, question.filter));
  const names = new Map(experiments.map(({ id, name }) => [id, name]));
  const experimentName = (id: string) => names.get(id) ?? id;
  const [found, changed, inDatabase, clock] = await DB.batch<
    BlockRow & LooseRow & { block: number; now: number }
  >([
    ...selectBlocks(DB, ids),
    selectLoose(DB, ids, { ...question, filter }),
    DB.prepare(`SELECT ${now} AS now`),
  ]);
  const blocks: Block[] = [];
  if (!since)
    for (const row of found!.results) blocks.push(await Block.open(FILES, row, changed!.results));
  const terms: OrderTerm[] = [...order, { field: started, descending: true }];
  const fields = terms.map(({ field }) => field);
  const sources: Source[] = [
    await looseSource(DB, inDatabase!.results, { filter, fields, experimentName }),
  ];
  for (const block of blocks)
    sources.push(
      await blockSource(block, {
        filter,
        fields,
        archived,
        experiment: experimentName(block.row.experiment),
      }),
    );
  if (after) sources.push(placeSource(after, fields));
  const places = arranged(sources, terms, after);
  const kept = places.length > limit ? places.subarray(0, limit) : places;
  const starts = startsOf(sources);
  const numberOf = (place: number): number => {
    const source = sourceAt(starts, place);
    return sources[source]!.numbers[place - starts[source]!]!;
  };
  const numbers = Array.from(kept, numberOf);
  const last = kept.at(-1);
  return {
    count: kept.length,
    numbers,
    // What has settled was quiet long enough to lie behind the clock.
    cursor: formatCursor(
      inDatabase!.results.map(({ no, touched }) => [no, touched]),
      since,
      clock!.results[0]!.now,
    ),
    version: [numbers, inDatabase!.results, blocks.map(({ row }) => row.object), [...names]],
    loose: inDatabase!.results.length,
    next:
      kept.length < places.length && last !== undefined
        ? placeOf(sources, starts, last, numberOf(last), order)
        : undefined,
    cells: async (wanted, begin, end) => {
      if (kept.length <= fewRuns || !blocks.length)
        return readCells(DB, numbers.slice(begin, end), wanted, experimentName);
      return gather(stores, { sources, starts, experimentName }, kept.subarray(begin, end), wanted);
    },
  };
}

/** So few runs are sooner read from the database, by their numbers, than from columns of all. */
const fewRuns = 300;

interface LooseRow {
  no: number;
  touched: number;
  /** when it was last heard of, which its duration is told by: a minute more or less is the same */
  minute: number;
  isWide: number;
}

/** The statement that selects the runs that no block has, or those that changed, as far as SQL can tell. */
function selectLoose(
  db: D1Database,
  experiments: string[],
  { filter, archived = false, deleted = false, since }: RunsQuestion,
): D1PreparedStatement {
  const bound = boundTo(since ? "?5" : "?3");
  const where = filter && whereSQL(filter, bound);
  const columns = `no, touched, started, heartbeat / 60000 AS minute, ${where && !where.isExact ? 1 : 0} AS isWide`;
  const asked = where?.sql ?? bound.named;
  const own = "experiment IN (SELECT value FROM json_each(?2))";
  if (!since)
    return db
      .prepare(
        `SELECT ${columns} FROM runs WHERE workspace = ?1 AND ${own} AND block <= 0
         ${deleted ? "" : "AND deleted IS NULL"} ${archived ? "" : "AND archived IS NULL"} AND ${asked}
         ORDER BY started DESC, no DESC`,
      )
      .bind(workspace, JSON.stringify(experiments), bound.text());
  const changed = `workspace = ?1 AND (${own}
      OR moved_from IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(moved_from) AS old WHERE old.value IN (SELECT value FROM json_each(?2))))
    AND touched > coalesce((SELECT value ->> 1 FROM json_each(?4) WHERE value ->> 0 = no), ?3) AND ${asked}`;
  // What has settled has not changed for long: only of an old cursor all runs are looked at.
  return db
    .prepare(
      `SELECT ${columns} FROM runs INDEXED BY runs_loose WHERE block <= 0 AND ${changed}
       UNION ALL SELECT ${columns} FROM runs WHERE (SELECT max(touched) FROM run_blocks WHERE workspace = ?1) > ?3
         AND block > 0 AND ${changed}
       ORDER BY started DESC, no DESC`,
    )
    .bind(
      workspace,
      JSON.stringify(experiments),
      seenUpTo(since, -1),
      JSON.stringify([...since.seen]),
      bound.text(),
    );
}

async function looseSource(
  db: D1Database,
  found: LooseRow[],
  {
    filter,
    fields,
    experimentName,
  }: { filter: Filter | undefined; fields: Field[]; experimentName: (id: string) => string },
): Promise<Source> {
  const all = found.map(({ no }) => no);
  const numbers =
    filter && found[0]?.isWide ? await finished(db, all, filter, experimentName) : all;
  return {
    rows: allRows(numbers.length),
    numbers: Float64Array.from(numbers),
    table: await readCells(db, numbers, fields, experimentName),
  };
}

/** Returns those of some runs that a filter holds of, where SQL could not say it all. */
async function finished(
  db: D1Database,
  numbers: number[],
  filter: Filter,
  experimentName: (id: string) => string,
): Promise<number[]> {
  const held = new Set<number>();
  for await (const runs of pagesOfRuns(db, numbers)) {
    const table = runColumns(runs, { experimentName });
    const numbers = columnFromValues(runs.map(({ no }) => no));
    const column = (field: Field) => (field === rowNumber ? numbers : table.column(field));
    for (const row of rowsWhere(filter, { ...table, column })) held.add(runs[row]!.no);
  }
  return numbers.filter((no) => held.has(no));
}

async function blockSource(
  block: Block,
  {
    filter,
    fields,
    archived,
    experiment,
  }: {
    filter: Filter | undefined;
    fields: Field[];
    archived: boolean | undefined;
    experiment: string;
  },
): Promise<Source> {
  const asked = filter ? fieldsOf(filter) : { fields: [], isSearch: false };
  const tags = [...block.directory.columns.keys()].filter((name) => name.startsWith("tags."));
  const columns = await block.read([
    ...[...asked.fields, ...fields].flatMap(columnNames),
    ...(asked.isSearch ? ["name", "id", ...tags] : []),
    "archived",
  ]);
  const table = blockTable(block.directory.rows, columns, {
    experiment,
    tags: tags.map((name) => name.slice(5)),
  });
  const { rows: alive, numbers } = await block.alive(filter && rowsWhere(filter, table));
  const hidden = archived ? undefined : columns.get("archived");
  const rows = hidden ? alive.filter((row) => valueAt(hidden, row) === undefined) : alive;
  return {
    block,
    rows,
    numbers: takeNumbers(numbers, rows),
    table: takeRows(table, rows),
  };
}

/** The place that a page ended at, as a run like others. */
function placeSource({ no, started, values }: Place, fields: Field[]): Source {
  const columns = [...values, started].map((value) => columnFromValues([value ?? undefined]));
  return {
    rows: Uint32Array.of(0),
    numbers: Float64Array.of(no),
    table: { rows: 1, tags: () => [], column: (field) => columns[fields.indexOf(field)] },
  };
}

/** Where the rows of each source begin when all stand one behind the other. */
function startsOf(sources: Source[]): number[] {
  let at = 0;
  return sources.map(({ table }) => {
    const start = at;
    at += table.rows;
    return start;
  });
}

function sourceAt(starts: number[], place: number): number {
  let source = starts.length - 1;
  while (starts[source]! > place) source--;
  return source;
}

/** Returns the places of the runs of all sources in their order, those behind a place. */
function arranged(sources: Source[], terms: OrderTerm[], after: Place | undefined): Uint32Array {
  const table = concatTables(sources.map((source) => source.table));
  const numbers = new Float64Array(table.rows);
  startsOf(sources).forEach((start, s) => numbers.set(sources[s]!.numbers, start));
  // Where all else is equal, the run that was created last comes first.
  const sorted = sortedRows([...terms, { field: rowNumber, descending: true }], {
    ...table,
    column: (field) =>
      field === rowNumber ? { type: "number", values: numbers } : table.column(field),
  });
  return after ? sorted.subarray(sorted.indexOf(table.rows - 1) + 1) : sorted;
}

function placeOf(
  sources: Source[],
  starts: number[],
  place: number,
  no: number,
  order: OrderTerm[],
): Place {
  const source = sourceAt(starts, place);
  const { table } = sources[source]!;
  const value = (field: Field) => valueAt(table.column(field)!, place - starts[source]!);
  return {
    no,
    started: value(started) as number,
    values: order.map(({ field }) => value(field) ?? null),
  };
}

interface Arrangement {
  sources: Source[];
  starts: number[];
  experimentName: (id: string) => string;
}

/** Returns fields of places in several sources, as a table in their order. */
async function gather(
  { DB }: Stores,
  { sources, starts, experimentName }: Arrangement,
  places: Uint32Array,
  fields: Field[],
): Promise<ColumnTable> {
  const sourceOf = Uint32Array.from(places, (place) => sourceAt(starts, place));
  const views: (ColumnTable | undefined)[] = sources.map(() => undefined);
  const rowOf = Uint32Array.from(places, (place, i) => {
    const source = sourceOf[i]!;
    return sources[source]!.rows[place - starts[source]!]!;
  });
  for (const source of new Set(sourceOf)) {
    const { block, numbers } = sources[source]!;
    if (block) continue;
    const own = Array.from(places.keys()).filter((i) => sourceOf[i] === source);
    const loose = own.map((i) => numbers[rowOf[i]!]!);
    own.forEach((i, at) => (rowOf[i] = at));
    views[source] = await readCells(DB, loose, fields, experimentName);
  }
  const columns = new Map<Field, ColumnView>();
  for (const field of fields) {
    for (const source of new Set(sourceOf)) {
      const { block } = sources[source]!;
      if (block)
        views[source] = blockTable(block.directory.rows, await block.read(columnNames(field)), {
          experiment: experimentName(block.row.experiment),
          tags: [],
        });
    }
    const parts = views.map((view) => view?.column(field));
    columns.set(field, pickColumn(parts, sourceOf, rowOf));
  }
  return { rows: places.length, tags: () => [], column: (field) => columns.get(field) };
}
