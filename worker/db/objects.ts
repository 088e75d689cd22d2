import type { Stores } from "../env.ts";
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

/** Collects objects that were retired more than `grace` ms ago. Returns how many went. */
export async function collectRetired(
  { DB, FILES }: Stores,
  { grace = 86_400_000 } = {},
): Promise<number> {
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

/**
 * Collects objects under a prefix that no row of a table has ever referred to and that are older than `grace` ms, as what
 * stored them ended before its row was written. Returns how many went.
 */
export async function collectUnreferenced(
  { DB, FILES }: Stores,
  prefix: string,
  table: "segments" | "run_blocks",
  { grace = 86_400_000 } = {},
): Promise<number> {
  let collected = 0;
  for (let cursor: string | undefined; ;) {
    const page = await FILES.list({ prefix, ...(cursor ? { cursor } : {}) });
    const old = page.objects
      .filter(({ uploaded }) => uploaded.getTime() < Date.now() - grace)
      .map(({ key }) => key);
    const { results } = await DB.prepare(
      `SELECT value AS object FROM json_each(?)
       WHERE value NOT IN (SELECT object FROM ${table}) AND value NOT IN (SELECT object FROM retired)`,
    )
      .bind(JSON.stringify(old))
      .all<{ object: string }>();
    if (results.length) await takeBack(FILES, results);
    collected += results.length;
    if (!page.truncated) return collected;
    cursor = page.cursor;
  }
}
