import { ApiError, shown } from "../../wire/error.ts";
import type { BulkOutcome, FieldChange, UndoOutcome } from "../../wire/bulk.ts";
import { newId } from "../../wire/id.ts";
import { workspace, type Stores } from "../env.ts";
import { digestOf, logChanges, now } from "./events.ts";
import {
  planChange,
  planUndo,
  readOf,
  selectForUndo,
  writeFields,
  type FieldValue,
  type FieldWrite,
  type FoundField,
} from "./run-changes.ts";
import { takeBack } from "./objects.ts";
import { expectChanges, isOvertaken } from "./segments.ts";

/** How long a change can be taken back, in ms. */
const undoFor = 3_600_000;

/** A change of many runs, as its row tells of it. */
interface Row {
  id: string;
  digest: string;
  change: string;
  total: number;
  done: number;
  changed: number;
  objects: string;
  undone: number | null;
  restored: number;
  changed_since: number;
  expires: number;
  expired: 0 | 1;
}

const findBulk = (db: D1Database, id: string): Promise<Row | null> =>
  db
    .prepare(
      `SELECT id, digest, change, total, done, changed, objects, undone, restored, changed_since, expires, expires <= ${now} AS expired
       FROM bulks WHERE workspace = ? AND id = ?`,
    )
    .bind(workspace, id)
    .first<Row>();

/** Whether this very change has begun, so that its runs are settled; throws where its id stands for another. */
export async function isBulkBegun(db: D1Database, id: string, digest: string): Promise<boolean> {
  const found = await findBulk(db, id);
  if (found && found.digest !== digest)
    throw new ApiError(
      "RESOURCE_ALREADY_EXISTS",
      `bulk change already exists with other content: ${id}`,
    );
  return found !== null;
}

/** Settles what a change does and to which runs, by their numbers; from here on it can be carried out. */
export async function beginBulk(
  db: D1Database,
  id: string,
  digest: string,
  { change, runs }: { change: FieldChange; runs: number[] },
): Promise<void> {
  await db
    .prepare(
      `INSERT INTO bulks (workspace, id, digest, change, runs, total, expires)
       SELECT ?, ?, ?, ?, ?, ?, ${now} + ? ON CONFLICT DO NOTHING`,
    )
    .bind(workspace, id, digest, JSON.stringify(change), JSON.stringify(runs), runs.length, undoFor)
    .run();
  await isBulkBegun(db, id, digest);
}

/** How much is done at once: runs, and bytes of what they had before; and how often in one request. */
interface Measure {
  size?: number;
  bytes?: number;
  most?: number;
}

/**
 * Carries a change out, chunk by chunk, each of them one transaction; called again, it goes on where it was. Each run
 * that changes writes its event: whoever asks for the history of a run finds it there, whether it changed alone or with
 * others, and the common digest tells which changed together.
 */
export async function carryOut(
  stores: Stores,
  id: string,
  who: string,
  { size = 1000, bytes = 4_000_000, most = 100 }: Measure = {},
): Promise<BulkOutcome> {
  let take = size;
  for (let n = 0; ; n++) {
    const bulk = (await findBulk(stores.DB, id))!;
    const { total, done, changed, expires } = bulk;
    if (done === total) return { changed, unchanged: total - changed, undo: id, expires };
    const progress = `${done} of ${total} runs: ${id}`;
    if (bulk.undone !== null)
      throw new ApiError("INVALID_STATE", `bulk change was undone after ${progress}`);
    if (bulk.expired)
      throw new ApiError("INVALID_STATE", `bulk change ended unfinished after ${progress}`, 410);
    if (n === most) throw unfinished("bulk change", progress);
    const isThrough = await changeChunk(stores, bulk, who, take, bytes);
    take = isThrough ? Math.min(size, take * 2) : Math.max(1, take >> 1);
  }
}

/** A Worker may ask the database only so often in one request. */
const unfinished = (what: string, progress: string) =>
  new ApiError(
    "TEMPORARILY_UNAVAILABLE",
    `${what} is under way, ${progress} (send it again to go on)`,
  );

/** Changes the next runs, or returns false where others were quicker with one of them. */
async function changeChunk(
  { DB, FILES }: Stores,
  bulk: Row,
  who: string,
  take: number,
  bytes: number,
): Promise<boolean> {
  const change = JSON.parse(bulk.change) as FieldChange;
  const { read, size } = readOf(change);
  const { results: found } = await DB.prepare(
    `WITH places AS (
       SELECT each.key AS place, each.value AS no, sum(coalesce(${size}, 0)) OVER (ORDER BY each.key) AS size
       FROM bulks CROSS JOIN json_each(bulks.runs) AS each LEFT JOIN runs ON runs.no = each.value
       WHERE bulks.id = ?1 AND each.key >= ?3 AND each.key < ?3 + ?4)
     SELECT places.no, rev, ${read} AS value, ${now} AS at,
       (SELECT max(number) FROM runs AS last WHERE last.experiment = ?2 ->> '$') AS lastNumber
     FROM places LEFT JOIN runs ON runs.no = places.no WHERE size <= ?5 OR place = ?3 ORDER BY place`,
  )
    .bind(bulk.id, JSON.stringify(change.to), bulk.done, take, bytes)
    .all<FoundField & { at: number; lastNumber: number | null }>();
  if (!found[0]) return false; // what was to be done was collected meanwhile
  const { at, lastNumber } = found[0];
  const writes = planChange(change, found, { at, lastNumber: lastNumber ?? 0 });
  const object = writes.length
    ? await putBefore(FILES, bulk.id, {
        to: change.field === "experiment" ? change.to : writes[0]!.to,
        runs: writes.map(({ no, from }) => [no, from]),
      })
    : undefined;
  const advance = DB.prepare(
    `UPDATE bulks SET done = done + ?, changed = changed + ?, objects = CASE WHEN ?3 IS NULL THEN objects ELSE json_insert(objects, '$[#]', json_array(?3, ?2)) END
     WHERE id = ? AND done = ? AND undone IS NULL AND expires > ${now}`,
  ).bind(found.length, writes.length, object ?? null, bulk.id, bulk.done);
  const isThrough = await writeChunk(DB, bulk, advance, change, writes, {
    who,
    what: verbs[change.field](change.to),
  });
  if (!isThrough && object) await takeBack(FILES, [{ object }]);
  return isThrough;
}

/** What an event calls a change. */
const verbs: Record<FieldChange["field"], (to: FieldChange["to"]) => string> = {
  tags: () => "run.patch",
  note: () => "run.patch",
  archived: (to) => (to ? "run.archive" : "run.unarchive"),
  deleted: (to) => (to ? "run.delete" : "run.restore"),
  experiment: () => "run.move",
};

/** Moves a change's row on, writes runs and logs it, all or nothing; returns false where others were quicker. */
async function writeChunk(
  db: D1Database,
  { digest }: Row,
  advance: D1PreparedStatement,
  change: FieldChange,
  writes: FieldWrite[],
  { who, what }: { who: string; what: string },
): Promise<boolean> {
  try {
    await db.batch([
      advance,
      expectChanges(db, 1),
      ...writeFields(db, change, writes).flatMap(([write, count]) => [
        write,
        expectChanges(db, count),
      ]),
      logChanges(
        db,
        { who, what, digest },
        writes.map(({ no }) => no),
      ),
    ]);
    return true;
  } catch (error) {
    // A number in an experiment is taken when another run came to it meanwhile.
    if (isOvertaken(error) || /UNIQUE constraint failed: runs/.test(String(error))) return false;
    throw error;
  }
}

/** What undo needs of a chunk: what the change made of a field, and for each run what was there before. */
interface Before {
  to: FieldValue;
  runs: [no: number, from: FieldValue][];
}

const prefix = "undo/";

/** Stores what was there before a change. Nothing refers to it until the change is made. */
async function putBefore(bucket: R2Bucket, bulk: string, before: Before): Promise<string> {
  const object = `${prefix}${workspace}/${bulk}/${newId()}`;
  const bytes = new TextEncoder().encode(JSON.stringify(before));
  const stored = await bucket.put(object, bytes, {
    onlyIf: { etagDoesNotMatch: "*" },
    sha256: await digestOf(bytes),
  });
  if (!stored) throw new Error(`object already exists: ${object}`);
  return object;
}

async function readBefore(bucket: R2Bucket, object: string): Promise<Before> {
  const found = await bucket.get(object);
  if (!found) throw new Error(`object is gone: ${object}`);
  return found.json<Before>();
}

/**
 * Takes a change back: each run gets what it had, where nobody changed it in the same place since. Two changes by others
 * that cancel out are not told from none. Taken back already, all stays as it is and the answer is the same.
 */
export async function undoBulk(
  stores: Stores,
  id: string,
  who: string,
  { size = 1000, most = 100 }: Omit<Measure, "bytes"> = {},
): Promise<UndoOutcome> {
  const { DB, FILES } = stores;
  let take = size;
  let held: { object: string; before: Before } | undefined;
  for (let n = 0; ; n++) {
    const bulk = await findBulk(DB, id);
    if (!bulk) throw new ApiError("RESOURCE_DOES_NOT_EXIST", `undo not found: ${shown(id)}`);
    const { undone, changed, restored, changed_since: changedSince } = bulk;
    if (undone === changed) return { restored, changedSince };
    if (bulk.expired)
      throw new ApiError(
        "INVALID_STATE",
        `undo has expired: ${id} (${new Date(bulk.expires).toISOString()})`,
        410,
      );
    if (n === most) throw unfinished("undo", `${undone} of ${changed} runs: ${id}`);
    if (undone === null) {
      // From here on no further chunk of the change itself is carried out.
      await DB.prepare("UPDATE bulks SET undone = 0 WHERE id = ? AND undone IS NULL")
        .bind(id)
        .run();
      continue;
    }
    const { object, from } = placeOf(JSON.parse(bulk.objects), undone);
    if (held?.object !== object) held = { object, before: await readBefore(FILES, object) };
    const isThrough = await undoChunk(DB, bulk, who, {
      to: held.before.to,
      runs: held.before.runs.slice(from, from + take),
    });
    take = isThrough ? Math.min(size, take * 2) : Math.max(1, take >> 1);
  }
}

/** Returns in which object the n-th changed run is, and where. */
function placeOf(
  objects: [object: string, runs: number][],
  n: number,
): { object: string; from: number } {
  let from = n;
  for (const [object, runs] of objects) {
    if (from < runs) return { object, from };
    from -= runs;
  }
  throw new Error(`changed run ${n} is in no object`);
}

async function undoChunk(
  db: D1Database,
  bulk: Row,
  who: string,
  { to, runs }: Before,
): Promise<boolean> {
  const change = JSON.parse(bulk.change) as FieldChange;
  const { results: found } = await selectForUndo(db, change, to, runs).all<FoundField>();
  const { writes, restored } = planUndo(change, to, runs, found);
  const advance = db
    .prepare(
      `UPDATE bulks SET undone = undone + ?, restored = restored + ?, changed_since = changed_since + ?
       WHERE id = ? AND undone = ?`,
    )
    .bind(runs.length, restored, runs.length - restored, bulk.id, bulk.undone);
  return writeChunk(db, bulk, advance, change, writes, { who, what: "run.undo" });
}

/**
 * Collects what undo needed of changes that expired more than `grace` ms ago: the numbers of their runs, and objects by
 * their age, those included that no row has ever referred to. Returns how many objects went.
 */
export async function collectUndo(
  { DB, FILES }: Stores,
  { grace = undoFor } = {},
): Promise<number> {
  await DB.prepare(`UPDATE bulks SET runs = NULL WHERE runs IS NOT NULL AND expires < ${now} - ?`)
    .bind(grace)
    .run();
  let deleted = 0;
  for (let cursor: string | undefined; ;) {
    const page = await FILES.list({ prefix, ...(cursor ? { cursor } : {}) });
    const old = page.objects
      .filter(({ uploaded }) => uploaded.getTime() < Date.now() - undoFor - grace)
      .map(({ key }) => key);
    if (old.length) await FILES.delete(old);
    deleted += old.length;
    if (!page.truncated) return deleted;
    cursor = page.cursor;
  }
}
