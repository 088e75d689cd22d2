import type { FoundFile, OnSkip } from "./found.ts";
import { walk, type Tree } from "./tree.ts";

/**
 * Returns the folder that an artifact URI names, where one of the trees has it: a store that was moved still says where
 * it was written, so of the URI's path each end that still holds the owner's id is tried, the longest first.
 */
async function findArtifacts(
  uri: string,
  owner: string,
  trees: readonly Tree[],
): Promise<Tree | undefined> {
  const names = pathOf(uri)
    .split("/")
    .filter((name) => name !== "" && name !== ".");
  // A stranger's database must not make us read what its path happens to name: only a random id is proof enough.
  if (names.includes("..") || !/[0-9a-f]{32}/.test(owner)) return undefined;
  for (let from = 0; from <= names.indexOf(owner); from++)
    for (const tree of trees) {
      const folder = names.slice(from).join("/");
      if ((await tree.list(folder)).length > 0) return tree.within(folder);
    }
  return undefined;
}

/** Returns the path of a URI or of a path on disk, of Windows too. */
function pathOf(uri: string): string {
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]+):(.*)$/is.exec(uri) ?? [];
  if (scheme === undefined) return uri.replaceAll("\\", "/");
  const path = rest!.replace(/^\/\/[^/]*/, "").replace(/[?#].*$/s, "");
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Yields the files of a tree; what is no file is passed over and said. */
async function* filesOf(tree: Tree, owner: string, onSkip: OnSkip): AsyncGenerator<FoundFile> {
  for await (const { path, kind, size } of walk(tree, ""))
    if (kind === "file") yield { path, size, open: () => tree.open(path) };
    else
      onSkip({
        what: "file",
        name: `${owner}/${path}`,
        why: "is a link that leads out",
      });
}

/** Where artifacts may lie. */
export interface ArtifactPlaces {
  /** folders known to be of the store: what is in none of them was never written */
  artifacts?: Tree[];
  /** others to look into */
  elsewhere?: Tree[];
}

/** Where a run or a logged model has its files: in a folder of the store, or else where its URI says. */
export interface ArtifactOwner {
  id: string;
  uri: string;
  tree?: Tree;
  folder?: string;
}

/** Yields the files of a run or a logged model; says so where they are out of reach. */
export async function* artifactsOf(
  { id, uri, tree, folder = "" }: ArtifactOwner,
  { artifacts = [], elsewhere = [] }: ArtifactPlaces,
  onSkip: OnSkip,
): AsyncGenerator<FoundFile> {
  const isHere = tree && (await tree.list(folder)).length > 0;
  const found = isHere
    ? tree.within(folder)
    : await findArtifacts(uri, id, [...artifacts, ...elsewhere]);
  if (found) yield* filesOf(found, id, onSkip);
  const isLocal = !/^(?!file:)[a-z][a-z0-9+.-]+:/i.test(uri);
  // A file store's own runs end in experiment/run/artifacts: where there is no folder there is no file.
  const isOwn = tree !== undefined && pathOf(uri).replace(/\/$/, "").endsWith(`/${id}/artifacts`);
  if (!found && uri !== "" && !(isLocal && (artifacts.length > 0 || isOwn)))
    onSkip({ what: "files", name: uri, why: "are not to be found" });
}
