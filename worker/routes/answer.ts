import type { Context } from "hono";
import { ApiError } from "../../wire/error.ts";
import { toJSON } from "../../wire/json.ts";
import { gzipMember, inflated, type Piece } from "../gzip.ts";

/** Answers JSON in which no number is lost. */
export const json = (c: Context, value: unknown, status: 200 | 201 = 200): Response =>
  c.body(toJSON(value), status, { "content-type": "application/json" });

const mediaTypes = {
  arrow: "application/vnd.apache.arrow.stream",
  csv: "text/csv; charset=utf-8",
  json: "application/json",
  parquet: "application/vnd.apache.parquet",
};
export type Format = keyof typeof mediaTypes;

/** Returns the format that a path such as /runs.arrow ends in. */
export const formatOf = (c: Context): Format =>
  c.req.path.slice(c.req.path.lastIndexOf(".") + 1) as Format;

/** What is said of a table beside its bytes. */
export interface TableOptions {
  /** goes into a header, too, for the formats that have no place for it */
  cursor?: string | undefined;
  /** names the content: while it is the same, so are the rows */
  version?: string | undefined;
  /** whether the rows of this URL are the same for ever */
  isPinned?: boolean | undefined;
}

/** Answers a table piece by piece as it is made, gzipped where the client takes that; with no body to one who has it. */
export function table(
  c: Context,
  pieces: AsyncIterable<Piece> | Iterable<Piece>,
  options: TableOptions = {},
): Response {
  const headers = tableHeaders(c, options);
  // Of the same rows the bytes are not always the same: a weak validator.
  if (options.version !== undefined) headers.set("etag", `W/"${options.version}"`);
  if (isKnown(c, options.version)) return new Response(null, { status: 304, headers });
  const gzip = acceptsGzip(c) && formatOf(c) !== "parquet"; // that is compressed in itself
  if (gzip) headers.set("content-encoding", "gzip");
  const body =
    c.req.method === "HEAD" ? null : streamFrom(gzip ? gzipMember(pieces) : inflated(pieces));
  return new Response(body, { headers, encodeBody: gzip ? "manual" : "automatic" });
}

/** Returns the headers of a table's answer. */
export function tableHeaders(c: Context, { cursor, isPinned }: TableOptions): Headers {
  const headers = new Headers({
    "content-type": mediaTypes[formatOf(c)],
    "cache-control": isPinned ? "private, max-age=31536000, immutable" : "private, no-cache",
    vary: "accept-encoding, authorization",
  });
  if (cursor !== undefined) headers.set("x-assay-cursor", cursor);
  return headers;
}

/** Whether the client says that it has this version. */
export function isKnown(c: Context, version: string | undefined): boolean {
  const known = c.req.header("if-none-match");
  return (
    version !== undefined &&
    known !== undefined &&
    known.split(",").some((tag) => tag.trim() === "*" || tag.includes(`"${version}"`))
  );
}

/** Cloudflare, and Miniflare too, puts its own wishes into Accept-Encoding; the client's stand beside the request. */
function acceptsGzip(c: Context): boolean {
  const accepted =
    (c.req.raw.cf?.["clientAcceptEncoding"] as string | undefined) ??
    c.req.header("accept-encoding") ??
    "";
  return /\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/.test(accepted);
}

/** A stream that makes each piece when it is asked for. */
function streamFrom(pieces: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = pieces[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}

/**
 * Returns the part of `size` bytes that a request's Range header asks for; undefined is the whole, which is also the answer
 * to several ranges, to one that is none and, by RFC 9110, to any method but GET.
 */
export function parseRange(
  c: Context,
  size: number,
): { offset: number; length: number } | undefined {
  const header = c.req.method === "GET" ? c.req.header("range") : undefined;
  const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (
    (first === "" && last === "") ||
    (first !== "" && last !== "" && Number(last) < Number(first))
  )
    return undefined;
  const offset = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size : Math.min(Number(last) + 1, size);
  if (offset >= size || end <= offset)
    throw new ApiError("RANGE_NOT_SATISFIABLE", `invalid range: ${header} of ${size} bytes`, 416, {
      "content-range": `bytes */${size}`,
    });
  return { offset, length: end - offset };
}
