import type { Context } from "hono";
import { keepAnswer, openAnswer } from "../db/answers.ts";
import type { App } from "../env.ts";
import { inflated, type Piece } from "../gzip.ts";
import { formatOf, isKnown, parseRange, table, tableHeaders, type TableOptions } from "./answer.ts";

interface FileOptions extends TableOptions {
  version: string;
}

/**
 * Answers a table. Who asks for the size of one in CSV or Parquet, or for a range of it, as readers of files do, is answered
 * from a copy that is made once under its version: the same rows are the same bytes then.
 */
export async function tableFile(
  c: Context<App>,
  make: () => AsyncIterable<Piece>,
  options: FileOptions,
): Promise<Response> {
  const isFile = ["csv", "parquet"].includes(formatOf(c));
  if (isFile && (c.req.method === "HEAD" || c.req.header("range") !== undefined))
    return kept(c, make, options);
  const answer = table(c, make(), options);
  if (isFile) answer.headers.set("accept-ranges", "bytes");
  return answer;
}

/** Answers with the size, or with a range, of an answer that is kept for the purpose. */
async function kept(
  c: Context<App>,
  make: () => AsyncIterable<Piece>,
  options: FileOptions,
): Promise<Response> {
  const { version } = options;
  const headers = tableHeaders(c, options);
  headers.set("etag", `"${version}"`);
  headers.set("accept-ranges", "bytes");
  if (isKnown(c, version)) return new Response(null, { status: 304, headers });
  const size = await keepAnswer(c.env.FILES, version, () => inflated(make()));
  const condition = c.req.header("if-range");
  const isSame = condition === undefined || condition.includes(version);
  const range = isSame ? parseRange(c, size) : undefined;
  headers.set("content-length", String(range?.length ?? size));
  if (range)
    headers.set(
      "content-range",
      `bytes ${range.offset}-${range.offset + range.length - 1}/${size}`,
    );
  const isEmpty = c.req.method === "HEAD" || size === 0;
  return new Response(isEmpty ? null : await openAnswer(c.env.FILES, version, range), {
    status: range ? 206 : 200,
    headers,
    // What is sent is the bytes that were counted.
    encodeBody: "manual",
  });
}
