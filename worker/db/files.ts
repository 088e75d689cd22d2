import { createHash } from "node:crypto";
import { ApiError, shown } from "../../wire/error.ts";
import type { RunFile } from "../../wire/file.ts";
import { newId } from "../../wire/id.ts";
import { workspace, type Stores } from "../env.ts";
import { logChange, now } from "./events.ts";
import { selectRun } from "./runs.ts";

/** A body whose length is known before it is read, as R2 wants it. */
export interface Upload {
  path: string;
  type: string;
  size: number;
  /** what the sender says the content's SHA-256 is, in hex */
  sha256?: string | undefined;
  body: ReadableStream<Uint8Array>;
}

/**
 * Stores a file of a run under its path, in the place of what was there. The content streams through, hashed on its
 * way; where the hash is not the one claimed, nothing is stored. Content that the workspace already has is kept once.
 */
export async function putFile(
  { DB, FILES }: Stores,
  run: string,
  { path, type, size, sha256: claimed, body }: Upload,
  who: string,
): Promise<RunFile> {
  const no = await openRun(DB, run);
  const object = `files/${workspace}/${newId()}`;
  const sha256 = await putHashed(FILES, object, size, body);
  if (claimed && claimed !== sha256) {
    await FILES.delete(object);
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `wrong sha256: ${path} has ${sha256}, not ${claimed}`,
    );
  }
  const [blob] = await DB.batch([
    DB.prepare(
      `INSERT INTO blobs (workspace, sha256, object, size, created) VALUES (?, ?, ?, ?, ${now}) ON CONFLICT DO NOTHING`,
    ).bind(workspace, sha256, object, size),
    DB.prepare(
      `INSERT INTO files (workspace, run, path, sha256, size, type, created)
       SELECT ?1, no, ?3, ?4, ?5, ?6, ${now} FROM runs WHERE no = ?2 AND deleted IS NULL
       ON CONFLICT DO UPDATE SET sha256 = ?4, size = ?5, type = ?6, created = ${now} WHERE sha256 <> ?4 OR type <> ?6`,
    ).bind(workspace, no, path, sha256, size, type),
    logChange(DB, { who, what: "file.put", subject: `${run}/${path}`, digest: sha256 }),
  ]);
  if (!blob!.meta.changes) await FILES.delete(object); // the content was there already
  await openRun(DB, run); // deleted or purged while the content came in, it took nothing
  return (await findFile(DB, no, path))!;
}

/** Returns the row number of a run that takes files; throws where it is deleted or there is none. */
async function openRun(db: D1Database, run: string): Promise<number> {
  const { no, deleted } = await selectRun(db, run);
  if (deleted) throw new ApiError("INVALID_STATE", `run is deleted: ${run}`);
  return no;
}

/** Puts a body under a key and returns its SHA-256, without holding it in memory. */
async function putHashed(
  bucket: R2Bucket,
  key: string,
  size: number,
  body: ReadableStream<Uint8Array>,
): Promise<string> {
  const hash = createHash("sha256");
  let seen = 0;
  const hashed = body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        hash.update(chunk);
        seen += chunk.byteLength;
        controller.enqueue(chunk);
      },
    }),
  );
  try {
    await bucket.put(key, hashed.pipeThrough(new FixedLengthStream(size)));
  } catch (error) {
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
  const { no } = await selectRun(db, run);
  const { results } = await db
    .prepare("SELECT path, size, sha256, type, created FROM files WHERE run = ? ORDER BY path")
    .bind(no)
    .all<RunFile>();
  return results;
}

/** A file and how to read it, whole or in part. */
export interface StoredFile {
  file: RunFile;
  open(range?: { offset: number; length: number }): Promise<ReadableStream<Uint8Array>>;
}

/** Returns a file of a run; throws where there is none. */
export async function selectFile(
  { DB, FILES }: Stores,
  run: string,
  path: string,
): Promise<StoredFile> {
  const found = await DB.prepare(
    `SELECT path, files.size, files.sha256, type, files.created, object FROM files
     JOIN runs ON runs.no = run JOIN blobs ON blobs.workspace = files.workspace AND blobs.sha256 = files.sha256
     WHERE runs.workspace = ? AND runs.id = ? AND path = ?`,
  )
    .bind(workspace, run, path)
    .first<RunFile & { object: string }>();
  if (!found) {
    await selectRun(DB, run);
    throw new ApiError("RESOURCE_DOES_NOT_EXIST", `file not found: ${shown(path)}`);
  }
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
  const { no } = await selectRun(db, run);
  const [{ meta }] = (await db.batch([
    db.prepare("DELETE FROM files WHERE run = ? AND path = ?").bind(no, path),
    logChange(db, { who, what: "file.delete", subject: `${run}/${path}`, digest: "" }),
  ])) as [D1Result, D1Result];
  if (!meta.changes)
    throw new ApiError("RESOURCE_DOES_NOT_EXIST", `file not found: ${shown(path)}`);
}

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
