import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { folderSink, folderTree } from "../../../client/cli/folder.ts";
import { walk } from "../../../client/import/tree.ts";
import { temporaryFolder } from "../folder.ts";

const root = temporaryFolder();
mkdirSync(join(root, "store/run/artifacts"), { recursive: true });
mkdirSync(join(root, "outside"));
writeFileSync(join(root, "outside/secret"), "secret");
writeFileSync(join(root, "store/run/artifacts/a.txt"), "a");
writeFileSync(join(root, "store/shared.txt"), "shared");
symlinkSync("../../shared.txt", join(root, "store/run/artifacts/within"));
symlinkSync("../../../outside/secret", join(root, "store/run/artifacts/out"));
symlinkSync(join(root, "outside"), join(root, "store/run/artifacts/folder"));
symlinkSync("..", join(root, "store/run/artifacts/around"));
symlinkSync("nowhere", join(root, "store/run/artifacts/broken"));
const tree = folderTree(join(root, "store"));

test("links are followed where they stay within the folder, and never around", async () => {
  const entries = await Array.fromAsync(walk(tree, "run/artifacts"));
  expect(entries.map(({ path, kind }) => [path, kind])).toEqual([
    ["a.txt", "file"],
    ["around", "other"],
    ["broken", "other"],
    ["folder", "other"],
    ["out", "other"],
    ["within", "file"],
  ]);
});

test("of a part of a tree, no link leads out of the part", async () => {
  const entries = await tree.within("run/artifacts").list("");
  expect(entries.filter(({ kind }) => kind === "file").map(({ name }) => name)).toEqual(["a.txt"]);
});

test("a folder that is not there is empty; a file that is not there is an error", async () => {
  expect(await tree.list("nowhere")).toEqual([]);
  expect(await tree.list("shared.txt")).toEqual([]);
  await expect(tree.open("nowhere")).rejects.toThrow("ENOENT");
});

test("small and large files are read alike", async () => {
  writeFileSync(join(root, "store/large"), "x".repeat(5_000_000));
  expect((await tree.open("large")).size).toBe(5_000_000);
  expect(await (await tree.open("run/artifacts/a.txt")).text()).toBe("a");
});

test("a sink makes the folders around a file, writes, and adds", async () => {
  const sink = folderSink(join(root, "new"));
  await sink.write("a/b/c.txt", "one\n");
  await sink.append("a/b/c.txt", "two\n");
  await sink.write("a/blob", new Blob(["blob"]));
  await sink.folder("empty/one");
  const written = folderTree(join(root, "new"));
  expect(await (await written.open("a/b/c.txt")).text()).toBe("one\ntwo\n");
  expect(await (await written.open("a/blob")).text()).toBe("blob");
  expect(await written.list("empty")).toEqual([{ name: "one", kind: "folder" }]);
  expect(sink.uri).toMatch(/^file:\/\/\//);
});
