import type { Context } from "hono";
import { crc32, deflateRawSync, constants } from "node:zlib";
import { toJSON } from "../../wire/json.ts";

/** Answers JSON in which no number is lost. */
export const json = (c: Context, value: unknown, status: 200 | 201 = 200): Response =>
  c.body(toJSON(value), status, { "content-type": "application/json" });

const mediaTypes = {
  arrow: "application/vnd.apache.arrow.stream",
  csv: "text/csv; charset=utf-8",
  json: "application/json",
};
export type Format = keyof typeof mediaTypes;

/** Returns the format that a path such as /runs.arrow ends in. */
export const formatOf = (c: Context): Format =>
  c.req.path.slice(c.req.path.lastIndexOf(".") + 1) as Format;

/**
 * Answers a table piece by piece as it is made, gzipped where the client takes that. The cursor goes into a header, too,
 * for the formats that have no place for it.
 */
export function table(
  c: Context,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  cursor?: string,
): Response {
  const gzip = acceptsGzip(c);
  const headers = new Headers({
    "content-type": mediaTypes[formatOf(c)],
    "cache-control": "no-cache",
    vary: "accept-encoding",
  });
  if (cursor !== undefined) headers.set("x-assay-cursor", cursor);
  if (gzip) headers.set("content-encoding", "gzip");
  const body = streamFrom(gzip ? gzipped(pieces) : pieces);
  return new Response(body, { headers, encodeBody: gzip ? "manual" : "automatic" });
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
function streamFrom(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): ReadableStream<Uint8Array> {
  const iterator =
    Symbol.asyncIterator in pieces ? pieces[Symbol.asyncIterator]() : pieces[Symbol.iterator]();
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
 * One gzip member made of pieces deflated on their own, each ended by a sync flush. The platform's CompressionStream
 * takes ten times as long: it has no faster level.
 */
async function* gzipped(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let [crc, size] = [0, 0];
  yield new Uint8Array([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255]);
  for await (const piece of merged(pieces)) {
    crc = crc32(piece, crc);
    size = (size + piece.length) >>> 0;
    yield deflateRawSync(piece, { level: 1, finishFlush: constants.Z_SYNC_FLUSH });
  }
  const end = new DataView(new ArrayBuffer(10));
  end.setUint16(0, 0x0300); // an empty last block
  end.setUint32(2, crc, true);
  end.setUint32(6, size, true);
  yield new Uint8Array(end.buffer);
}

/** Joins small pieces: each write into a stream costs as much as compressing some kB. */
async function* merged(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  enough = 65_536,
): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let size = 0;
  for await (const piece of pieces) {
    waiting.push(piece);
    size += piece.length;
    if (size < enough) continue;
    yield join(waiting, size);
    [waiting, size] = [[], 0];
  }
  if (size) yield join(waiting, size);
}

function join(pieces: Uint8Array[], size: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
