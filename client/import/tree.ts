/** A folder's contents: of a disk, a dropped directory, an archive. */
export interface Tree {
  /** Returns what lies directly in a folder ("" is the tree itself), by name; nothing where there is no such folder. */
  list(folder: string): Promise<TreeEntry[]>;
  /** Returns a file, whose bytes are read when they are asked for; throws where there is none. */
  open(path: string): Promise<Blob>;
  /** Returns a folder as a tree of its own, out of which no link leads. */
  within(folder: string): Tree;
}

export interface TreeEntry {
  name: string;
  /** other: what is neither, such as a link that leads out of the tree */
  kind: "file" | "folder" | "other";
  /** bytes, of a file, where known */
  size?: number;
}

/** Returns the tree of files by path, as a page gets them from a dropped directory or an input with `webkitdirectory`. */
export function treeOfFiles(files: Iterable<[path: string, file: Blob]>): Tree {
  const folders = new Map<string, Map<string, TreeEntry>>([["", new Map()]]);
  const byPath = new Map<string, Blob>();
  for (const [given, file] of files) {
    const names = given.split("/").filter((name) => name !== "" && name !== ".");
    byPath.set(names.join("/"), file);
    names.forEach((name, i) => {
      const folder = names.slice(0, i).join("/");
      if (!folders.has(folder)) folders.set(folder, new Map());
      const isFile = i === names.length - 1;
      folders
        .get(folder)!
        .set(name, isFile ? { name, kind: "file", size: file.size } : { name, kind: "folder" });
    });
  }
  const treeAt = (root: string): Tree => ({
    async list(folder) {
      return [...(folders.get(joined(root, folder))?.values() ?? [])].sort(byName);
    },
    async open(path) {
      const file = byPath.get(joined(root, path));
      if (!file) throw new Error(`file not found: ${path}`);
      return file;
    },
    within: (folder) => treeAt(joined(root, folder)),
  });
  return treeAt("");
}

export const byName = (a: { name: string }, b: { name: string }): number =>
  a.name < b.name ? -1 : Number(a.name > b.name);

export const joined = (folder: string, path: string): string =>
  folder === "" || path === "" ? folder + path : `${folder}/${path}`;

/** A file, or something that is none, somewhere in a tree. */
export interface WalkedEntry {
  path: string;
  kind: "file" | "other";
  size?: number | undefined;
}

/** Walks a folder of a tree, folders in between; paths are relative to it. Yields nothing where there is no such folder. */
export async function* walk(tree: Tree, folder: string, prefix = ""): AsyncGenerator<WalkedEntry> {
  for (const { name, kind, size } of await tree.list(joined(folder, prefix))) {
    const path = joined(prefix, name);
    if (kind === "folder") yield* walk(tree, folder, path);
    else yield { path, kind, size };
  }
}
