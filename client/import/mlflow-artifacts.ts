import type { FoundFile, OnSkip } from "./found.ts";
import { walk, type Tree } from "./tree.ts";

/**
 * Returns the folder that an artifact URI names, where one of the trees has it: a store that was moved still says where
 * it was written, so of the URI's path each end that still holds the owner's id is tried, the longest first.
 */
export async function findArtifacts(
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
export async function* filesOf(
  tree: Tree,
  owner: string,
  onSkip: OnSkip,
): AsyncGenerator<FoundFile> {
  for await (const { path, kind, size } of walk(tree, ""))
    if (kind === "file") yield { path, size, open: () => tree.open(path) };
    else
      onSkip({
        what: "file",
        name: `${owner}/${path}`,
        why: "is no file of its own, but a link that leads elsewhere",
      });
}

/** Yields the files of a run or a logged model: those beside it, or else those where its URI says. */
export async function* artifactsOf(
  { tree, folder, uri, owner }: { tree?: Tree; folder?: string; uri: string; owner: string },
  trees: readonly Tree[],
  onSkip: OnSkip,
): AsyncGenerator<FoundFile> {
  const isHere = tree && folder !== undefined && (await tree.list(folder)).length > 0;
  const found = isHere ? tree.within(folder) : await findArtifacts(uri, owner, trees);
  if (found) yield* filesOf(found, owner, onSkip);
  else if (uri !== "" && !isUsual(uri, owner, tree !== undefined))
    onSkip({ what: "files", name: owner, why: `not to be found: ${uri}` });
}

/** Whether a file store itself would keep the files there: where there are none, there were none. */
const isUsual = (uri: string, owner: string, isFileStore: boolean): boolean =>
  isFileStore &&
  !/^(?!file:)[a-z][a-z0-9+.-]+:/i.test(uri) &&
  new RegExp(`/(\\w+|\\w+/models)/${owner.replace(/\W/g, "\\$&")}/artifacts/?$`).test(pathOf(uri));
