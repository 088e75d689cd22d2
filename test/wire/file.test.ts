import * as fc from "fast-check";
import { expect, test } from "vitest";
import { checkPath, treeFromFiles, type FileTree, type RunFile } from "../../wire/file.ts";

test.for([
  "",
  "/",
  "a/",
  "/a",
  "a//b",
  ".",
  "..",
  "a/..",
  "../a",
  "a/./b",
  "a\\b",
  "a\nb",
  "\u007f",
  "\ud800",
  "x".repeat(1001),
  "ü".repeat(501),
])("the path %j is refused", (path) => {
  expect(() => checkPath(path)).toThrow("invalid file path: ");
});

test.for(["a", "...", ".a", "a/b.c/d", "ü 😀", "a:b?c#d%", "__proto__", "x".repeat(1000)])(
  "the path %j is taken as it is",
  (path) => {
    expect(checkPath(path)).toBe(path);
  },
);

const file = (path: string, size: number): RunFile => ({
  path,
  size,
  sha256: "",
  type: "",
  created: 0,
});

test("a tree holds each file once, under folders whose sizes are sums", () => {
  const segment = fc.constantFrom("a", "b", "__proto__", "constructor");
  const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
  fc.assert(
    fc.property(fc.uniqueArray(path, { maxLength: 20 }), (paths) => {
      const leaves = (node: FileTree): FileTree[] => node.children?.flatMap(leaves) ?? [node];
      const sums = (node: FileTree): boolean =>
        !node.children ||
        (node.children.every(sums) &&
          node.size === node.children.reduce((n, { size }) => n + size, 0));
      const tree = treeFromFiles(paths.map((path, i) => file(path, i)));
      expect(
        leaves(tree)
          .map(({ path }) => path)
          .filter(Boolean)
          .sort(),
      ).toEqual(paths.toSorted());
      expect(sums(tree)).toBe(true);
    }),
  );
});
