import { openAsBlob, type Dirent } from "node:fs";
import { appendFile, mkdir, readdir, readFile, realpath, stat, writeFile } from "node:fs/promises";
import { dirname, isAbsolute, join, relative } from "node:path";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { pathToFileURL } from "node:url";
import type { Sink } from "../export/sink.ts";
import { byName, type Tree, type TreeEntry } from "../import/tree.ts";

/** Files up to this size, in bytes, are read at once. */
const smallSize = 4_000_000;

/** Returns a folder on disk as a tree. Links are followed where they stay within it. */
export function folderTree(root: string): Tree {
  const place = (path: string): string => join(root, ...path.split("/"));
  return {
    async list(folder) {
      const entries = await readdir(place(folder), { withFileTypes: true }).catch(noEntries);
      return (
        await Promise.all(
          entries.map(async (entry): Promise<TreeEntry> => {
            const { name } = entry;
            if (entry.isDirectory()) return { name, kind: "folder" };
            if (entry.isFile()) return { name, kind: "file" };
            if (!entry.isSymbolicLink()) return { name, kind: "other" };
            return { name, kind: await kindOfLink(root, join(place(folder), name)) };
          }),
        )
      ).sort(byName);
    },
    // A Blob of a file refuses to be read once the file is written to, as that of a training that runs may be any moment.
    open: async (path) =>
      (await stat(place(path))).size <= smallSize
        ? new Blob([await readFile(place(path))])
        : openAsBlob(place(path)),
    within: (folder) => folderTree(place(folder)),
  };
}

/** A folder that is not there has no entries; one that cannot be read is an error. */
function noEntries(error: NodeJS.ErrnoException): Dirent[] {
  if (["ENOENT", "ENOTDIR", "ENAMETOOLONG"].includes(error.code ?? "")) return [];
  throw error;
}

/** What a link leads to: a stranger's folder must not make us read what lies outside of it. */
async function kindOfLink(root: string, link: string): Promise<TreeEntry["kind"]> {
  try {
    const target = await realpath(link);
    const path = relative(await realpath(root), target);
    // One that leads to a folder around itself would be walked without end.
    const isWithin = path !== "" && !path.startsWith("..") && !isAbsolute(path);
    if (!isWithin || !relative(target, link).startsWith("..")) return "other";
    const found = await stat(target);
    return found.isDirectory() ? "folder" : found.isFile() ? "file" : "other";
  } catch {
    return "other";
  }
}

/** Returns a folder on disk as what an export is written to. */
export function folderSink(root: string): Sink {
  const place = (path: string): string => join(root, ...path.split("/"));
  const placed = async (path: string): Promise<string> => {
    await mkdir(dirname(place(path)), { recursive: true });
    return place(path);
  };
  return {
    uri: pathToFileURL(root).href,
    folder: async (path) => void (await mkdir(place(path), { recursive: true })),
    write: async (path, content) =>
      writeFile(
        await placed(path),
        typeof content === "string"
          ? content
          : Readable.fromWeb(content.stream() as ReadableStream),
      ),
    append: async (path, text) => appendFile(await placed(path), text),
  };
}
