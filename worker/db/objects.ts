import { newId } from "../../wire/id.ts";
import { workspace, type Stores } from "../env.ts";
import { joinBytes } from "../gzip.ts";
import { now } from "./events.ts";

/** R2 takes parts of 5 MiB or more, all of one size but the last; two of them are in memory. */
const partSize = 5 * 1024 * 1024;

/** Stores pieces as an object as they come, and returns its size. It is there when all of it is. */
export async function putPieces(
  bucket: R2Bucket,
  key: string,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<number> {
  let upload: R2MultipartUpload | undefined;
  const parts: R2UploadedPart[] = [];
  let [waiting, size, total]: [Uint8Array[], number, number] = [[], 0, 0];
  try {
    for await (const piece of pieces)
      for (let at = 0; at < piece.length;) {
        const own = piece.subarray(at, at + partSize - size);
        waiting.push(own);
        at += own.length;
        size += own.length;
        total += own.length;
        if (size < partSize) continue;
        upload ??= await bucket.createMultipartUpload(key);
        parts.push(await upload.uploadPart(parts.length + 1, joinBytes(waiting, size)));
        [waiting, size] = [[], 0];
      }
    const rest = joinBytes(waiting, size);
    if (!upload) await bucket.put(key, rest);
    else {
      if (size) parts.push(await upload.uploadPart(parts.length + 1, rest));
      await upload.complete(parts);
    }
  } catch (error) {
    await upload?.abort().catch(() => {}); // what stopped the upload is told, not that this failed, too
    throw error;
  }
  return total;
}

/** Returns bytes of an object; throws where they are not all there. */
export async function readBytes(
  bucket: R2Bucket,
  object: string,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const found = await bucket.get(object, { range: { offset, length } });
  if (!found) throw new Error(`object is gone: ${object}`);
  const bytes = new Uint8Array(await found.arrayBuffer());
  if (bytes.length !== length)
    throw new Error(`object is cut off: ${object} has ${offset + bytes.length} bytes`);
  return bytes;
}

/** The statement that remembers objects, given as a JSON array, as no longer needed; readers may still be at them. */
export const retire = (db: D1Database, objects: string): D1PreparedStatement =>
  db
    .prepare(`INSERT INTO retired (object, at) SELECT value, ${now} FROM json_each(?)`)
    .bind(objects);

/** Takes back objects that no row has come to refer to. */
export const takeBack = (bucket: R2Bucket, rows: { object: string }[]): Promise<void> =>
  bucket.delete(rows.map(({ object }) => object));

/** Where objects of a table's rows lie. */
const prefixes = { segments: "points/", run_blocks: "runs/", spans: "spans/" } as const;
type Table = keyof typeof prefixes;

/** Returns the key of a new object for a row of a table: random, so that no two are ever the same. */
export const newObject = (table: Table): string => `${prefixes[table]}${workspace}/${newId()}`;

/**
 * Collects objects that are not needed: those retired more than `grace` ms ago, and those as old that no row has ever
 * referred to, as what stored them ended before its row was written. Returns how many went.
 */
export async function collectObjects(stores: Stores, { grace = 86_400_000 } = {}): Promise<number> {
  let collected = await collectRetired(stores, grace);
  for (const table of Object.keys(prefixes) as Table[])
    collected += await collectUnreferenced(stores, table, grace);
  return collected;
}

async function collectRetired({ DB, FILES }: Stores, grace: number): Promise<number> {
  let collected = 0;
  for (;;) {
    const { results } = await DB.prepare(
      `SELECT object FROM retired WHERE at < ${now} - ? LIMIT 1000`,
    )
      .bind(grace)
      .all<{ object: string }>();
    if (!results.length) return collected;
    const objects = results.map(({ object }) => object);
    // The object goes before its row: in between nothing is forgotten.
    await FILES.delete(objects);
    await DB.prepare("DELETE FROM retired WHERE object IN (SELECT value FROM json_each(?))")
      .bind(JSON.stringify(objects))
      .run();
    collected += objects.length;
  }
}

async function collectUnreferenced(
  { DB, FILES }: Stores,
  table: Table,
  grace: number,
): Promise<number> {
  let collected = 0;
  for (let cursor: string | undefined; ;) {
    const page = await FILES.list({ prefix: prefixes[table], ...(cursor ? { cursor } : {}) });
    const old = page.objects
      .filter(({ uploaded }) => uploaded.getTime() < Date.now() - grace)
      .map(({ key }) => key);
    const { results } = await DB.prepare(
      `SELECT value AS object FROM json_each(?)
       WHERE value NOT IN (SELECT object FROM ${table} WHERE object IS NOT NULL) AND value NOT IN (SELECT object FROM retired)`,
    )
      .bind(JSON.stringify(old))
      .all<{ object: string }>();
    if (results.length) await takeBack(FILES, results);
    collected += results.length;
    if (!page.truncated) return collected;
    cursor = page.cursor;
  }
}
