import { gzipSync } from "node:zlib";
import { ByteWriter, ParquetWriter, schemaFromColumnData } from "hyparquet-writer";
import {
  batchMessage,
  dictionaryMessage,
  endOfStream,
  float64Column,
  indexColumn,
  nullableColumn,
  schemaMessage,
  timestampColumn,
  type ArrowColumn,
} from "../../wire/arrow.ts";
import { csvField, csvLines, jsonRows, type Column } from "../../wire/table.ts";
import type { Format } from "./answer.ts";

/** A column of a table that is made block by block. */
export interface Field {
  name: string;
  type: Column["type"] | "dictionary";
  decimal?: boolean;
  /** what the values of a dictionary column are places in */
  words?: string[];
}

/** A table whose rows come in blocks: for each field the values, numbers where its type is float64, timestamp or dictionary; null is missing. */
export interface Blocks {
  fields: Field[];
  blocks: AsyncIterable<ArrayLike<unknown>[]>;
}

/** Returns a table that is here already as one block. */
export const blocksOf = (columns: Column[]): Blocks => ({
  fields: columns.map(({ name, type }) => ({ name, type })),
  blocks: (async function* () {
    yield columns.map(({ values }) => values);
  })(),
});

/** Encodes a table as its blocks come. Metadata travels with Arrow alone. */
export function encodeBlocks(
  format: Format,
  table: Blocks,
  metadata: Record<string, string>,
): AsyncIterable<Uint8Array> {
  return {
    arrow: () => arrowPieces(table, metadata),
    csv: () => csvPieces(table),
    json: () => jsonPieces(table),
    parquet: () => parquetPieces(table),
  }[format]();
}

async function* arrowPieces(
  { fields, blocks }: Blocks,
  metadata: Record<string, string>,
): AsyncGenerator<Uint8Array> {
  const dictionaries = fields.filter(({ type }) => type === "dictionary");
  yield schemaMessage(
    fields.map(({ name, type }, i) => ({
      name,
      type,
      ...(type === "dictionary" ? { dictionary: dictionaries.indexOf(fields[i]!) } : {}),
    })),
    metadata,
  );
  for (const [id, { words }] of dictionaries.entries()) yield dictionaryMessage(id, words!);
  let isEmpty = true;
  for await (const block of blocks) {
    isEmpty = false;
    yield arrowBatch(fields, block);
  }
  if (isEmpty)
    yield arrowBatch(
      fields,
      fields.map(() => []),
    ); // some readers fail on a stream without any
  yield endOfStream;
}

const arrowBatch = (fields: Field[], block: ArrayLike<unknown>[]): Uint8Array =>
  batchMessage(
    block[0]?.length ?? 0,
    fields.map(({ type }, i) => arrowColumn(type, block[i]!)),
  );

function arrowColumn(type: Field["type"], values: ArrayLike<unknown>): ArrowColumn {
  if (type === "dictionary") return indexColumn(Int32Array.from(values as ArrayLike<number>));
  if (values instanceof Float64Array)
    return type === "timestamp" ? timestampColumn(values) : float64Column(values);
  return nullableColumn(type, Array.from(values));
}

/** A block as columns that stand for themselves. */
const columnsOf = (fields: Field[], block: ArrayLike<unknown>[]): Column[] =>
  fields.map(({ name, type, decimal, words }, i) =>
    type === "dictionary"
      ? {
          name,
          type: "utf8",
          values: Array.from(block[i] as ArrayLike<number>, (at) => words![at]),
        }
      : { name, type, decimal, values: block[i]! },
  );

async function* csvPieces({ fields, blocks }: Blocks): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  yield encoder.encode(`${fields.map(({ name }) => csvField(name)).join(",")}\r\n`);
  for await (const block of blocks)
    for (const text of csvLines(columnsOf(fields, block))) yield encoder.encode(text);
}

async function* jsonPieces({ fields, blocks }: Blocks): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let before = "[";
  for await (const block of blocks)
    for (const text of jsonRows(columnsOf(fields, block))) {
      yield encoder.encode(before + text);
      before = ",\n";
    }
  yield encoder.encode(before === "[" ? "[]\n" : "]\n");
}

/** Parquet with a row group a block, its numbers split by byte and gzipped: codecs that every reader has. */
async function* parquetPieces({ fields, blocks }: Blocks): AsyncGenerator<Uint8Array> {
  const writer = new ByteWriter(65_536);
  const sources = (block: ArrayLike<unknown>[]) =>
    columnsOf(fields, block).map(({ name, type, values }) => ({
      name,
      ...parquetTypes[type],
      data: type === "timestamp" ? Array.from(values, timeToParquet) : (values as unknown[]),
      nullable: true,
    }));
  const schema = schemaFromColumnData({ columnData: sources(fields.map(() => [])) });
  const parquet = new ParquetWriter({
    writer,
    schema,
    codec: "GZIP",
    compressors: { GZIP: (bytes) => gzipSync(bytes, { level: 4 }) },
  });
  // Cut by count, not as the blocks come: the same rows are the same bytes.
  const rowGroupSize = Math.max(1, Math.floor(150_000 / fields.length));
  for await (const block of recut(blocks, rowGroupSize)) {
    await parquet.write({ columnData: sources(block), rowGroupSize });
    yield taken();
  }
  await parquet.finish();
  yield taken();

  function taken(): Uint8Array {
    const bytes = writer.getBytes().slice();
    writer.index = 0;
    return bytes;
  }
}

/** Returns the same rows in blocks of exactly `rows`, but for the last. */
async function* recut(
  blocks: AsyncIterable<ArrayLike<unknown>[]>,
  rows: number,
): AsyncGenerator<unknown[][]> {
  let waiting: unknown[][] = [];
  for await (const block of blocks) {
    const count = block[0]?.length ?? 0;
    for (let begin = 0; begin < count;) {
      const end = Math.min(count, begin + rows - (waiting[0]?.length ?? 0));
      waiting = block.map((values, c) => {
        const column = waiting[c] ?? [];
        for (let i = begin; i < end; i++) column.push(values[i]);
        return column;
      });
      begin = end;
      if (waiting[0]!.length < rows) continue;
      yield waiting;
      waiting = [];
    }
  }
  if (waiting.length) yield waiting;
}

const timeToParquet = (time: unknown): bigint | null =>
  time === null || time === undefined ? null : BigInt(time as number);

const parquetTypes = {
  utf8: { type: "STRING" },
  float64: { type: "DOUBLE", encoding: "BYTE_STREAM_SPLIT" },
  timestamp: { type: "TIMESTAMP" },
  bool: { type: "BOOLEAN" },
} as const;
