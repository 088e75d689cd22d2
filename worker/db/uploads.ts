import { createHash } from "node:crypto";
import { ApiError, shown } from "../../wire/error.ts";
import { newId } from "../../wire/id.ts";
import { workspace, type Stores } from "../env.ts";
import { now } from "./events.ts";
import { insertFile, newObject, type Owner } from "./files.ts";

interface Row {
  id: string;
  run: number;
  path: string;
  type: string;
  object: string;
  upload: string;
  sha256: string | null;
}

/** A part of an upload as it was received. */
export interface Part {
  number: number;
  etag: string;
}

/** Begins a file that comes in in parts, of which all but the last have one size, 5 MiB or more. Returns the upload's id. */
export async function beginUpload(
  { DB, FILES }: Stores,
  owner: Owner,
  { path, type }: { path: string; type: string },
): Promise<string> {
  const id = newId();
  const object = newObject();
  const { uploadId } = await FILES.createMultipartUpload(object);
  await DB.prepare(
    `INSERT INTO uploads (workspace, id, run, path, type, object, upload, created) VALUES (?, ?, ?, ?, ?, ?, ?, ${now})`,
  )
    .bind(workspace, id, owner.no, path, type, object, uploadId)
    .run();
  return id;
}

async function selectUpload(db: D1Database, id: string): Promise<Row> {
  const row = await db
    .prepare(
      "SELECT id, run, path, type, object, upload, sha256 FROM uploads WHERE workspace = ? AND id = ?",
    )
    .bind(workspace, id)
    .first<Row>();
  if (!row) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `upload not found: ${shown(id)}`);
  return row;
}

/** Takes a part of an upload, in the place of one of that number; returns the tag to complete it by. */
export async function putPart(
  { DB, FILES }: Stores,
  id: string,
  number: number,
  body: ReadableStream<Uint8Array> | Uint8Array,
): Promise<string> {
  const { object, upload } = await selectUpload(DB, id);
  const part = await refusable(
    FILES.resumeMultipartUpload(object, upload).uploadPart(number, body),
    "part",
  );
  return part.etag;
}

/**
 * Makes a file of the parts of an upload, in the place of what stands at its path. Told so again, nothing changes. Throws
 * where the upload is not of this owner and path, or its parts are not what was received.
 */
export async function completeUpload(
  { DB, FILES }: Stores,
  id: string,
  owner: Owner,
  path: string,
  parts: Part[],
  who: string,
): Promise<void> {
  const row = await selectUpload(DB, id);
  checkUpload(row, owner, path);
  if (row.sha256 !== null) return;
  const { object, upload, type } = row;
  const joined = FILES.resumeMultipartUpload(object, upload).complete(
    parts.map(({ number, etag }) => ({ partNumber: number, etag })),
  );
  // It may be complete by an earlier request that got no further.
  const { size } = await refusable(joined, "upload").catch(async (error: unknown) => {
    const whole = await FILES.head(object);
    if (!whole) throw error;
    return whole;
  });
  const sha256 = await hashOf(FILES, object);
  const [blob] = await DB.batch([
    ...insertFile(DB, owner, { path, type, object, sha256, size }, who),
    DB.prepare("UPDATE uploads SET sha256 = ? WHERE id = ?").bind(sha256, id),
  ]);
  if (!blob!.meta.changes) await FILES.delete(object); // the content was there already
}

/** Gives an upload up: what came in is gone. One that is complete, or is not known any more, stays as it is. */
export async function abortUpload(
  { DB, FILES }: Stores,
  id: string,
  owner: Owner,
  path: string,
): Promise<void> {
  const row = await DB.prepare("SELECT * FROM uploads WHERE workspace = ? AND id = ?")
    .bind(workspace, id)
    .first<Row>();
  if (!row || row.sha256 !== null) return;
  checkUpload(row, owner, path);
  await abort(FILES, row);
  await DB.prepare("DELETE FROM uploads WHERE id = ? AND sha256 IS NULL").bind(id).run();
}

function checkUpload({ id, run, path: own }: Row, { no }: Owner, path: string): void {
  if (run !== no || own !== path)
    throw new ApiError("INVALID_PARAMETER_VALUE", `upload is of another file: ${shown(id)}`);
}

const abort = (bucket: R2Bucket, { object, upload }: Row): Promise<void> =>
  bucket
    .resumeMultipartUpload(object, upload)
    .abort()
    .catch(() => {}); // gone already

/** What the bucket refuses is what a sender did wrong: parts too small, of several sizes, or never received. */
async function refusable<T>(done: Promise<T>, noun: string): Promise<T> {
  try {
    return await done;
  } catch (error) {
    const { message } = error as Error;
    // Too small, no such upload, no such part, not of one length.
    if (!/\((10011|10024|10025|10029|10048)\)/.test(message)) throw error;
    throw new ApiError("INVALID_PARAMETER_VALUE", `${noun} cannot be stored: ${message}`);
  }
}

async function hashOf(bucket: R2Bucket, object: string): Promise<string> {
  const hash = createHash("sha256");
  const stored = await bucket.get(object);
  if (!stored) throw new Error(`content is gone: ${object}`);
  for await (const chunk of stored.body) hash.update(chunk);
  return hash.digest("hex");
}

/** Gives up uploads that were begun more than `grace` ms ago. Returns how many. */
export async function collectUploads(
  { DB, FILES }: Stores,
  { grace = 7 * 86_400_000, most = 500 } = {},
): Promise<number> {
  const { results } = await DB.prepare(
    `DELETE FROM uploads WHERE id IN (SELECT id FROM uploads WHERE created < ${now} - ? LIMIT ?) RETURNING *`,
  )
    .bind(grace, most)
    .all<Row>();
  for (const row of results) if (row.sha256 === null) await abort(FILES, row);
  return results.length;
}
