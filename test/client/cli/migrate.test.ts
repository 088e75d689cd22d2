import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, expect, test } from "vitest";
import { migrate, migrationsIn } from "../../../client/cli/server/migrate.ts";
import { statementsOf } from "../../../client/cli/server/statements.ts";
import { temporaryFolder } from "../folder.ts";

const folder = temporaryFolder();
const ours = join(import.meta.dirname, "../../../worker/migrations");
const names = ["A", "B", "C", "D"];
const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    modules: true,
    script: "export default { fetch: () => new Response() }",
    cf: false,
    d1Databases: Object.fromEntries(names.map((name) => [name, name])),
  }),
);
afterAll(() => miniflare.dispose());
const databases = names.map((name) => miniflare.getD1Database(name));
const newDatabase = () => databases.pop()!;

/** A folder of migrations with these texts. */
function folderOf(name: string, files: Record<string, string>): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
  return path;
}

test("a migration is split at the semicolons that end a line, without its comments", () => {
  expect(
    statementsOf(
      "-- tables\nCREATE TABLE a (b TEXT DEFAULT ';'); -- one; two\n\nCREATE INDEX i\n ON a (b);\n",
    ),
  ).toEqual(["CREATE TABLE a (b TEXT DEFAULT ';')", "CREATE INDEX i\n ON a (b)"]);
});

test("our migrations hold what the splitting cannot read nowhere", () => {
  for (const name of readdirSync(ours)) {
    const text = readFileSync(join(ours, name), "utf8");
    expect(text).not.toMatch(/'[^'\n]*--[^'\n]*'|\bTRIGGER\b(?!.*; END;$)|\/\*/im);
    for (const statement of statementsOf(text))
      expect(statement).toMatch(/^(CREATE|ALTER|INSERT|UPDATE|DROP|DELETE)\b/);
  }
});

test("only numbered files are migrations, in the order of their numbers", () => {
  const path = folderOf("names", {
    "0010_b.sql": "",
    "0002_a.sql": "",
    "readme.md": "",
    "3_c.sql": "",
  });
  expect(migrationsIn(path)).toEqual(["0002_a.sql", "0010_b.sql"]);
});

test("our migrations apply to an empty database, once", async () => {
  const db = await newDatabase();
  expect(await migrate(db, ours)).toEqual(migrationsIn(ours));
  expect(await migrate(db, ours)).toEqual([]);
  const { results } = await db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  expect(results.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["runs", "d1_migrations"]),
  );
});

test("what is new since is applied, what was there is left", async () => {
  const db = await newDatabase();
  const path = folderOf("grows", {
    "0001_a.sql": "CREATE TABLE a (x);\nINSERT INTO a VALUES (1);\n",
  });
  await migrate(db, path);
  folderOf("grows", { "0002_b.sql": "INSERT INTO a VALUES (2);" });
  expect(await migrate(db, path)).toEqual(["0002_b.sql"]);
  const { results } = await db.prepare("SELECT x FROM a").all();
  expect(results).toEqual([{ x: 1 }, { x: 2 }]);
});

test("a migration that fails leaves nothing behind and can be mended", async () => {
  const db = await newDatabase();
  const path = folderOf("fails", {
    "0001_a.sql": "CREATE TABLE a (x);\nINSERT INTO nowhere VALUES (1);",
  });
  await expect(migrate(db, path)).rejects.toThrow(/nowhere/);
  folderOf("fails", { "0001_a.sql": "CREATE TABLE a (x);" });
  expect(await migrate(db, path)).toEqual(["0001_a.sql"]);
});
