import { Hono, type Context } from "hono";
import { ApiError, shown } from "../../wire/error.ts";
import { checkPath, maxFile, treeFromFiles, type RunFile } from "../../wire/file.ts";
import {
  deleteFile,
  putFile,
  selectFile,
  selectFiles,
  type StoredFile,
  type Upload,
} from "../db/files.ts";
import type { App } from "../env.ts";
import { route } from "../route.ts";
import { json, parseRange } from "./answer.ts";

export const files = new Hono<App>()
  .get(
    "/runs/:run/files",
    route({
      right: "reader",
      summary: "A run's files: as a list, and as a tree with the sizes of folders",
    }),
    async (c) => {
      const found = await selectFiles(c.env.DB, c.req.param("run"));
      return json(c, { files: found, tree: treeFromFiles(found) });
    },
  )
  .put(
    "/runs/:run/files/:path{.*}",
    route({
      right: "writer",
      summary:
        "Store a file under a path. Needs Content-Length; checks Content-Digest (sha-256=:base64:) or X-Content-SHA256 (hex) where given",
      body: { "application/octet-stream": "the content" },
      answers: { 201: "stored", 411: "the body has no length", 413: "the file is too large" },
    }),
    async (c) => {
      const { who } = c.get("visitor");
      return json(c, await putFile(c.env, c.req.param("run"), uploadOf(c), who), 201);
    },
  )
  .get(
    "/runs/:run/files/:path{.*}",
    route({ right: "reader", summary: "A file's content, whole or by Range" }),
    async (c) => {
      return sendFile(c, await selectFile(c.env, c.req.param("run"), fileOf(c)));
    },
  )
  .delete(
    "/runs/:run/files/:path{.*}",
    route({ right: "writer", summary: "Take a file from a run" }),
    async (c) => {
      await deleteFile(c.env.DB, c.req.param("run"), fileOf(c), c.get("visitor").who);
      return json(c, {});
    },
  );

/** Answers with a file, whole or by Range. */
export async function sendFile(c: Context, { file, open }: StoredFile): Promise<Response> {
  const headers = fileHeaders(file);
  if (c.req.header("if-none-match")?.includes(file.sha256))
    return new Response(null, { status: 304, headers });
  const isSame = c.req.header("if-range")?.includes(file.sha256) ?? true;
  const range = isSame ? parseRange(c, file.size) : undefined;
  headers.set("content-length", String(range?.length ?? file.size));
  if (range)
    headers.set(
      "content-range",
      `bytes ${range.offset}-${range.offset + range.length - 1}/${file.size}`,
    );
  const isEmpty = c.req.method === "HEAD" || file.size === 0;
  return new Response(isEmpty ? null : await open(range), {
    status: range ? 206 : 200,
    headers,
  });
}

/** Returns what a request stores as a file. */
export function uploadOf(c: Context): Upload {
  return {
    path: fileOf(c),
    size: contentLength(c),
    type: c.req.header("content-type") ?? "application/octet-stream",
    body: c.req.raw.body ?? new Blob([]).stream(),
    sha256: claimedHash(c),
  };
}

/** The path as it stands in the URL: hono leaves what it cannot decode as it is, and "%ff" would become a name. */
export function fileOf(c: Context): string {
  const encoded = new URL(c.req.url).pathname.split("/files/").slice(1).join("/files/");
  try {
    return checkPath(decodeURIComponent(encoded));
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError("INVALID_PARAMETER_VALUE", `invalid file path: ${shown(encoded)}`);
  }
}

/** R2 takes only bodies whose length is known before. */
function contentLength(c: Context): number {
  const header = c.req.header("content-length");
  if (header === undefined) throw new ApiError("LENGTH_REQUIRED", "missing content-length");
  const size = Number(header);
  if (size > maxFile)
    throw new ApiError("REQUEST_TOO_LARGE", `file is too large: ${size} bytes, limit ${maxFile}`);
  return size;
}

/** The SHA-256 that the sender claims, in hex, from either header (RFC 9530 gives it in base64). */
function claimedHash(c: Context): string | undefined {
  const hex = c.req.header("x-content-sha256");
  if (hex !== undefined && !/^[0-9a-f]{64}$/i.test(hex))
    throw new ApiError("INVALID_PARAMETER_VALUE", `invalid x-content-sha256: ${shown(hex)}`);
  if (hex !== undefined) return hex.toLowerCase();
  const digest = c.req.header("content-digest");
  if (digest === undefined) return undefined;
  const [, base64] = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(digest) ?? [];
  if (!base64)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `invalid content-digest: ${shown(digest)} (expected sha-256=:…:)`,
    );
  return Array.from(atob(base64), (char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join(
    "",
  );
}

/** Types that a browser shows without running anything of them; all others are downloads. */
const harmless =
  /^(image\/(png|jpeg|gif|webp|avif|bmp)|audio\/[\w.+-]+|video\/[\w.+-]+|text\/(plain|csv|markdown|tab-separated-values)|application\/(json|vnd\.apache\.(arrow\.stream|arrow\.file|parquet)))\b/;

/** A file is a stranger's content on our origin: nothing in it may run, even when it is opened by itself. */
function fileHeaders({ path, type, sha256 }: RunFile): Headers {
  const name = encodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
  return new Headers({
    "content-type": harmless.test(type) ? type : "application/octet-stream",
    "content-disposition": `${harmless.test(type) ? "inline" : "attachment"}; filename*=UTF-8''${name}`,
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "accept-ranges": "bytes",
    "cache-control": "private, no-cache",
    etag: `"${sha256}"`,
  });
}
