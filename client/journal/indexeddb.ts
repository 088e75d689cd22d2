import type { Journal } from "./journal.ts";

const stores = { records: "records", files: "files" } as const;

/** Opens the database that holds this origin's journals. */
function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open("assay", 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(stores.records); // [journal, offset] → bytes
    request.result.createObjectStore(stores.files); // [journal, number] → Blob
  };
  return settled(request);
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

const allOf = (name: string) => IDBKeyRange.bound([name], [name, []]);

/** Returns the names of the journals that pages of this origin left behind. */
export async function journalNames(): Promise<string[]> {
  const database = await openDatabase();
  const keys = (await settled(
    database.transaction(stores.records).objectStore(stores.records).getAllKeys(),
  )) as [string, number][];
  database.close();
  return [...new Set(keys.map(([name]) => name))].sort();
}

/**
 * Opens a journal in IndexedDB. What is appended is held in memory too, until it is sent, and written behind: a page
 * that dies loses what it logged in its last moments, where Node loses nothing. Without IndexedDB, memory has to do.
 */
export async function openBrowserJournal(name: string): Promise<Journal> {
  const database = await openDatabase().catch(() => undefined);
  const chunks: { at: number; bytes: Uint8Array }[] = [];
  let size = 0;
  let fileCount = 0;
  if (database) {
    const store = database.transaction(stores.records).objectStore(stores.records);
    const [keys, values] = await Promise.all([
      settled(store.getAllKeys(allOf(name))),
      settled(store.getAll(allOf(name))),
    ]);
    (keys as [string, number][]).forEach(([, at], i) => chunks.push({ at, bytes: values[i] }));
    const last = chunks.at(-1);
    if (last) size = last.at + last.bytes.length;
  }
  const memoryFiles = new Map<string, Blob>();
  return {
    place: `IndexedDB assay/${name}`,
    get size() {
      return size;
    },
    append(records) {
      const bytes = records.slice();
      chunks.push({ at: size, bytes });
      if (database)
        database
          .transaction(stores.records, "readwrite")
          .objectStore(stores.records)
          .put(bytes, [name, size]);
      size += bytes.length;
    },
    async read(from, to) {
      const end = Math.min(to, size);
      const bytes = new Uint8Array(Math.max(0, end - from));
      for (const { at, bytes: chunk } of chunks) {
        if (at + chunk.length <= from || at >= end) continue;
        const start = Math.max(0, from - at);
        bytes.set(chunk.subarray(start, Math.min(chunk.length, end - at)), at + start - from);
      }
      return bytes;
    },
    async keep(content) {
      if (typeof content === "string")
        throw new Error(`a browser has no file ${content}: give its content`);
      const blob = content instanceof Blob ? content : new Blob([content as BlobPart]);
      const reference = String(fileCount++);
      memoryFiles.set(reference, blob);
      if (database)
        await settled(
          database
            .transaction(stores.files, "readwrite")
            .objectStore(stores.files)
            .put(blob, [name, reference]),
        );
      return reference;
    },
    async content(reference) {
      return (
        memoryFiles.get(reference) ??
        (database &&
          settled(
            database.transaction(stores.files).objectStore(stores.files).get([name, reference]),
          ))
      );
    },
    trim: () => undefined, // a transaction writes a record whole or not at all
    async remove() {
      if (!database) return;
      const transaction = database.transaction([stores.records, stores.files], "readwrite");
      await Promise.all([
        settled(transaction.objectStore(stores.records).delete(allOf(name))),
        settled(transaction.objectStore(stores.files).delete(allOf(name))),
      ]);
      database.close();
    },
    close: () => database?.close(),
  };
}
