import { ApiError, shown } from "./error.ts";

/** A file of a run. */
export interface RunFile {
  path: string;
  /** bytes */
  size: number;
  sha256: string;
  /** media type */
  type: string;
  /** when it was stored, in ms since 1970 */
  created: number;
}

/** A folder of a run's files, or one of its files; sizes of folders are sums. */
export interface FileTree {
  name: string;
  path: string;
  size: number;
  children?: FileTree[];
  sha256?: string;
  type?: string;
  created?: number;
}

/** The largest file one request may carry: Cloudflare takes no larger body on its lesser plans. */
export const maxFile = 100_000_000;

/** Returns a file's path, unless it could leave its run's folder or confuse a reader of the listing. */
export function checkPath(path: string): string {
  const bad =
    path === "" ||
    new TextEncoder().encode(path).length > 1000 ||
    !path.isWellFormed() ||
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    /[\u0000-\u001f\u007f\\]/.test(path) ||
    path.split("/").some((segment) => segment === "" || segment === "." || segment === "..");
  if (bad) throw new ApiError("INVALID_PARAMETER_VALUE", `invalid file path: ${shown(path)}`);
  return path;
}

/** Returns a listing as a tree, folders first, each level by name. */
export function treeFromFiles(files: RunFile[]): FileTree {
  const root: FileTree = { name: "", path: "", size: 0, children: [] };
  for (const { path, ...rest } of files) {
    const names = path.split("/");
    let folder = root;
    root.size += rest.size;
    for (const [i, name] of names.slice(0, -1).entries()) {
      let next = folder.children!.find((child) => child.name === name && child.children);
      if (!next)
        folder.children!.push(
          (next = { name, path: names.slice(0, i + 1).join("/"), size: 0, children: [] }),
        );
      next.size += rest.size;
      folder = next;
    }
    folder.children!.push({ name: names.at(-1)!, path, ...rest });
  }
  return sorted(root);
}

const sorted = (node: FileTree): FileTree =>
  node.children
    ? {
        ...node,
        children: node.children
          .map(sorted)
          .sort(
            (a, b) => Number(!!b.children) - Number(!!a.children) || (a.name < b.name ? -1 : 1),
          ),
      }
    : node;
