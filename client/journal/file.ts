import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openAsBlob,
  openSync,
  read as readFd,
  readdirSync,
  rmSync,
  writeSync,
} from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import type { Journal } from "./journal.ts";

const read = promisify(readFd);

/** The folder of this user's journals: ASSAY_HOME, or ~/.assay. */
export const journalFolder = (
  home = process.env["ASSAY_HOME"] ?? join(homedir(), ".assay"),
): string => join(home, "journal");

/** Returns the paths of the journals in a folder, oldest first. */
export function journalsIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(".journal"))
      .sort()
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

/** Opens a journal in a file: a new one, or one that a process left behind. */
export function openFileJournal(path: string, { isNew = true } = {}): Journal {
  mkdirSync(join(path, ".."), { recursive: true });
  const fd = openSync(path, isNew ? "ax+" : "r+");
  const kept = `${path}.files`;
  let size = fstatSync(fd).size;
  let keptCount = 0;
  let isOpen = true;
  let failed = false;
  return {
    place: path,
    get size() {
      return size;
    },
    append(records) {
      if (!isOpen || failed) return;
      try {
        for (let at = 0; at < records.length;)
          at += writeSync(fd, records, at, records.length - at, size + at);
        size += records.length;
      } catch (error) {
        failed = true;
        console.warn(
          `assay: cannot write the journal ${path}: ${(error as Error).message}; what is logged from here on is lost`,
        );
      }
    },
    async read(from, to) {
      const bytes = new Uint8Array(Math.max(0, Math.min(to, size) - from));
      let at = 0;
      while (at < bytes.length) {
        const { bytesRead } = await read(fd, bytes, at, bytes.length - at, from + at);
        if (bytesRead === 0) break;
        at += bytesRead;
      }
      return bytes.subarray(0, at);
    },
    async keep(content) {
      if (typeof content === "string") {
        if (!(await stat(content)).isFile()) throw new Error(`not a file: ${content}`);
        return resolve(content);
      }
      mkdirSync(kept, { recursive: true });
      const reference = join(kept, String(keptCount++));
      await writeFile(reference, content instanceof Blob ? content.stream() : content);
      return reference;
    },
    async content(reference) {
      try {
        return await openAsBlob(reference);
      } catch {
        return undefined;
      }
    },
    trim(end) {
      ftruncateSync(fd, end);
      size = end;
    },
    async remove() {
      close();
      rmSync(path, { force: true });
      rmSync(kept, { recursive: true, force: true });
    },
    close,
  };

  // The system gives the number of a closed file to the next one: it must not be written to again.
  function close(): void {
    if (isOpen) closeSync(fd);
    isOpen = false;
  }
}
