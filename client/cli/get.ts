import { createWriteStream } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import type { RunFile } from "../../wire/file.ts";
import { UsageError } from "./arguments.ts";
import { connection, connectTo } from "./connection.ts";
import { progressBar } from "./progress.ts";

export const summary = "Download the artifacts of a run";

export const help = `assay get RUN [PATH…] [--to FOLDER] [--list] [--json] [--url URL] [--token TOKEN]

Downloads all files of a run, or those at or below the paths, and checks each by its SHA-256.

Examples
  assay get 01a20899c1247cfa8cc5ad5373e41a88 --list
  assay get 01a20899c1247cfa8cc5ad5373e41a88 plots --to ./here`;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...connection,
      to: { type: "string", default: "." },
      list: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const [id, ...paths] = positionals;
  if (!id) throw new UsageError("missing run");
  const lab = await connectTo(values);
  const { files } = await lab.files(id);
  const wanted = files.filter(
    ({ path }) => paths.length === 0 || paths.some((folder) => isUnder(path, folder)),
  );
  for (const path of paths)
    if (!wanted.some((file) => isUnder(file.path, path)))
      throw new Error(`file not found: ${path}`);
  if (values.json) console.log(JSON.stringify(wanted));
  else if (values.list)
    for (const { path, size } of wanted) console.log(`${String(size).padStart(12)}  ${path}`);
  if (values.list) return 0;
  const bar = progressBar();
  const total = wanted.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  for (const file of wanted) {
    const target = join(resolve(values.to), ...file.path.split("/"));
    await download(await lab.file(id, file.path), file, target, (bytes) =>
      bar.set((done += bytes), total, file.path),
    );
    if (!values.json) console.log(target);
  }
  bar.end();
  return 0;
}

const isUnder = (path: string, folder: string): boolean =>
  `${path}/`.startsWith(`${folder.replace(/\/$/, "")}/`);

/** Writes a file beside its place and moves it there once its content is proven right. */
async function download(
  response: Response,
  { path, sha256 }: RunFile,
  target: string,
  count: (bytes: number) => void,
): Promise<void> {
  const part = `${target}.part`;
  await mkdir(dirname(target), { recursive: true });
  const hash = createHash("sha256");
  const source = Readable.fromWeb(response.body as import("node:stream/web").ReadableStream);
  source.on("data", (chunk: Buffer) => {
    hash.update(chunk);
    count(chunk.length);
  });
  await pipeline(source, createWriteStream(part));
  const found = hash.digest("hex");
  if (found !== sha256) {
    await rm(part);
    throw new Error(`wrong sha256: ${path} has ${found}, not ${sha256}`);
  }
  await rename(part, target);
}
