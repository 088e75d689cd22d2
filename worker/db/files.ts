import { createHash } from "node:crypto";
import { ApiError, shown } from "../../wire/error.ts";
import type { RunFile } from "../../wire/file.ts";
import { newId } from "../../wire/id.ts";
import { workspace, type Stores } from "../env.ts";
import { logChange, now } from "./events.ts";
import { noSuchRun } from "./runs.ts";

/** A body whose length is known before it is read, as R2 wants it. */
export interface Upload {
  path: string;
  type: string;
  size: number;
  /** what the sender says the content's SHA-256 is, in hex */
  sha256?: string | undefined;
  body: ReadableStream<Uint8Array>;
}

/** Whose a file is: a run's, by its row number, or nobody's, in which case its path alone tells it from others. */
export interface Owner {
  no: number;
  /** how events call the owner; "" for nobody */
  name: string;
}

/** The owner of files of no run. */
export const nobody: Owner = { no: 0, name: "" };

const subjectOf = ({ name }: Owner, path: string): string => (name ? `${name}/${path}` : path);

/**
 * Stores a file of a run under its path, in the place of what was there. The content streams through, hashed on its
 * way; where the hash is not the one claimed, nothing is stored. Content that the workspace already has is kept once.
 */
export async function putFile(
  stores: Stores,
  run: string,
  upload: Upload,
  who: string,
): Promise<RunFile> {
  const owner = await openRun(stores.DB, run);
  await storeFile(stores, owner, upload, who, "deleted IS NULL");
  await openRun(stores.DB, run); // deleted or purged while the content came in, it took nothing
  return (await findFile(stores.DB, owner.no, upload.path))!;
}

/** Stores a file, of a deleted run too; the rest as putFile. */
export const putOwnedFile = (
  stores: Stores,
  owner: Owner,
  upload: Upload,
  who: string,
): Promise<void> => storeFile(stores, owner, upload, who, "true");

async function storeFile(
  { DB, FILES }: Stores,
  owner: Owner,
  { path, type, size, sha256: claimed, body }: Upload,
  who: string,
  takes: string,
): Promise<void> {
  const object = newObject();
  const sha256 = await putHashed(FILES, object, size, body);
  if (claimed && claimed !== sha256) {
    await FILES.delete(object);
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `wrong sha256: ${path} has ${sha256}, not ${claimed}`,
    );
  }
  const content = { object, sha256, size };
  const [blob] = await DB.batch(insertFile(DB, owner, { path, type, ...content }, who, takes));
  if (!blob!.meta.changes) await FILES.delete(object); // the content was there already
}

/** Returns the key of a new object. */
export const newObject = (): string => `files/${workspace}/${newId()}`;

/** A file whose content lies in an object. */
export interface Content {
  path: string;
  type: string;
  object: string;
  sha256: string;
  /** bytes */
  size: number;
}

/** The statements that enter a file. The first changes a row where the content is new; the object is not needed where it is not. */
export function insertFile(
  db: D1Database,
  owner: Owner,
  { path, type, object, sha256, size }: Content,
  who: string,
  takes = "true",
): D1PreparedStatement[] {
  return [
    db
      .prepare(
        `INSERT INTO blobs (workspace, sha256, object, size, created) VALUES (?, ?, ?, ?, ${now}) ON CONFLICT DO NOTHING`,
      )
      .bind(workspace, sha256, object, size),
    db
      .prepare(
        `INSERT INTO files (workspace, run, path, sha256, size, type, created)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ${now} WHERE ?2 = ${nobody.no} OR EXISTS (SELECT 1 FROM runs WHERE no = ?2 AND ${takes})
         ON CONFLICT DO UPDATE SET sha256 = ?4, size = ?5, type = ?6, created = ${now} WHERE sha256 <> ?4 OR type <> ?6`,
      )
      .bind(workspace, owner.no, path, sha256, size, type),
    logChange(db, { who, what: "file.put", subject: subjectOf(owner, path), digest: sha256 }),
  ];
}

/** A run as the owner of files. */
export interface OwnerRun extends Owner {
  id: string;
  experiment: string;
  artifacts: string | null;
  deleted: number | null;
}

/** Returns the run of an id as the owner of files, if there is one. */
export async function findOwner(db: D1Database, run: string): Promise<OwnerRun | undefined> {
  const row = await db
    .prepare(
      `SELECT no, id, id AS name, experiment, deleted, (SELECT artifacts FROM experiments AS e WHERE e.id = experiment) AS artifacts
       FROM runs WHERE workspace = ? AND id = ?`,
    )
    .bind(workspace, run)
    .first<OwnerRun>();
  return row ?? undefined;
}

/** Returns a run that takes files; throws where it is deleted or there is none. */
async function openRun(db: D1Database, run: string): Promise<OwnerRun> {
  const owner = await findOwner(db, run);
  if (!owner) throw noSuchRun(run);
  if (owner.deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${run}`);
  return owner;
}

/** So many bytes of a body are passed on at once. */
const maxPiece = 1_000_000;

/** Puts a body under a key and returns its SHA-256, without holding it in memory. */
async function putHashed(
  bucket: R2Bucket,
  key: string,
  size: number,
  body: ReadableStream<Uint8Array>,
): Promise<string> {
  const hash = createHash("sha256");
  const { readable, writable } = new FixedLengthStream(size);
  const put = bucket.put(key, readable);
  put.catch(() => {}); // it is awaited below, where the body came to its end
  const [reader, writer] = [body.getReader({ mode: "byob" }), writable.getWriter()];
  let seen = 0;
  try {
    // A body comes in pieces of some kB, and each would take its time on the way through.
    for (let buffer = new ArrayBuffer(maxPiece); ;) {
      const { value, done } = await reader.readAtLeast(maxPiece, new Uint8Array(buffer));
      if (value?.byteLength) {
        hash.update(value);
        seen += value.byteLength;
        await writer.write(value);
        buffer = value.buffer;
      }
      if (done || !value) break;
    }
    await writer.close();
    await put;
  } catch (error) {
    await writer.abort(error).catch(() => {});
    if (seen !== size)
      throw new ApiError(
        "INVALID_PARAMETER_VALUE",
        `invalid content-length: ${size} (the body has ${seen} bytes)`,
      );
    throw error;
  }
  return hash.digest("hex");
}

function findFile(db: D1Database, run: number, path: string): Promise<RunFile | null> {
  return db
    .prepare("SELECT path, size, sha256, type, created FROM files WHERE run = ? AND path = ?")
    .bind(run, path)
    .first<RunFile>();
}

/** Returns the files of a run, by path. */
export async function selectFiles(db: D1Database, run: string): Promise<RunFile[]> {
  const owner = await findOwner(db, run);
  if (!owner) throw noSuchRun(run);
  return selectOwnedFiles(db, owner);
}

/** Returns an owner's files below a folder, by path; all of them where it is "". */
export async function selectOwnedFiles(
  db: D1Database,
  { no }: Owner,
  folder = "",
): Promise<RunFile[]> {
  const { results } = await db
    .prepare(
      `SELECT path, size, sha256, type, created FROM files WHERE run = ?1 AND (?2 = '' OR path > ?2 || '/' AND path < ?2 || '0') ORDER BY path`,
    )
    .bind(no, folder)
    .all<RunFile>();
  return results;
}

/** A file and how to read it, whole or in part. */
export interface StoredFile {
  file: RunFile;
  open(range?: { offset: number; length: number }): Promise<ReadableStream<Uint8Array>>;
}

/** Returns a file of a run; throws where there is none. */
export async function selectFile(stores: Stores, run: string, path: string): Promise<StoredFile> {
  const owner = await findOwner(stores.DB, run);
  if (!owner) throw noSuchRun(run);
  const found = await findOwnedFile(stores, owner, path);
  if (!found) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `file not found: ${shown(path)}`);
  return found;
}

/** Returns a file of an owner, if there is one. */
export async function findOwnedFile(
  { DB, FILES }: Stores,
  { no }: Owner,
  path: string,
): Promise<StoredFile | undefined> {
  const found = await DB.prepare(
    `SELECT path, files.size, files.sha256, type, files.created, object FROM files
     JOIN blobs ON blobs.workspace = files.workspace AND blobs.sha256 = files.sha256
     WHERE files.workspace = ? AND run = ? AND path = ?`,
  )
    .bind(workspace, no, path)
    .first<RunFile & { object: string }>();
  if (!found) return undefined;
  const { object, ...file } = found;
  const open: StoredFile["open"] = async (range) => {
    const content = await FILES.get(object, range ? { range } : undefined);
    if (!content) throw new Error(`content is gone: ${object}`);
    return content.body;
  };
  return { file, open };
}

/** Takes a file from a run; its content is collected when no other file has it. */
export async function deleteFile(
  db: D1Database,
  run: string,
  path: string,
  who: string,
): Promise<void> {
  const owner = await findOwner(db, run);
  if (!owner) throw noSuchRun(run);
  const [{ meta }] = (await db.batch([
    db.prepare("DELETE FROM files WHERE run = ? AND path = ?").bind(owner.no, path),
    logChange(db, { who, what: "file.delete", subject: subjectOf(owner, path), digest: "" }),
  ])) as [D1Result, D1Result];
  if (!meta.changes)
    throw new ApiError("RESOURCE_DOES_NOT_EXIST", `file not found: ${shown(path)}`);
}

/** Takes a file, or all files below a folder, or all of an owner (""), from it; where there is none, nothing changes. */
export async function deleteOwnedFiles(
  db: D1Database,
  owner: Owner,
  path: string,
  who: string,
): Promise<void> {
  await db.batch([
    db
      .prepare(
        `INSERT INTO events (workspace, at, who, what, subject, digest)
         SELECT workspace, ${now}, ?3, 'file.delete', ?4 || path, '' FROM files WHERE run = ?1 AND ${below}`,
      )
      .bind(owner.no, path, who, subjectOf(owner, "")),
    db.prepare(`DELETE FROM files WHERE run = ?1 AND ${below}`).bind(owner.no, path),
  ]);
}

/** A file itself, ?2, or one below it; any where it is "". */
const below = "(?2 = '' OR path = ?2 OR path > ?2 || '/' AND path < ?2 || '0')";

/**
 * Collects contents that no file has and that were stored more than `grace` ms ago (an upload stores its content first
 * and its row second). The row goes before the object, so that no row ever lacks its object. Returns how many went.
 */
export async function collectFiles(
  { DB, FILES }: Stores,
  { grace = 86_400_000 } = {},
): Promise<number> {
  const { results } = await DB.prepare(
    `DELETE FROM blobs WHERE created < ${now} - ? AND NOT EXISTS (SELECT 1 FROM files f WHERE f.workspace = blobs.workspace AND f.sha256 = blobs.sha256)
     RETURNING object`,
  )
    .bind(grace)
    .all<{ object: string }>();
  await FILES.delete(results.map(({ object }) => object));
  return results.length + (await collectOrphans({ DB, FILES }, grace));
}

/** Deletes objects without a row: uploads that ended between the object and the row. */
async function collectOrphans({ DB, FILES }: Stores, grace: number): Promise<number> {
  let deleted = 0;
  for (let cursor: string | undefined; ;) {
    const page = await FILES.list({ prefix: "files/", ...(cursor ? { cursor } : {}) });
    const old = page.objects
      .filter(({ uploaded }) => uploaded.getTime() < Date.now() - grace)
      .map(({ key }) => key);
    const { results } = await DB.prepare(
      "SELECT value AS key FROM json_each(?) WHERE value NOT IN (SELECT object FROM blobs)",
    )
      .bind(JSON.stringify(old))
      .all<{ key: string }>();
    await FILES.delete(results.map(({ key }) => key));
    deleted += results.length;
    if (!page.truncated) return deleted;
    cursor = page.cursor;
  }
}
