import type { Context } from "hono";
import { ApiError } from "../wire/error.ts";
import { parseExactly } from "../wire/json.ts";

/** The largest JSON or Arrow body, in bytes as sent; inflated it may be four times that. */
const maxBody = 8_000_000;

/** Returns a request's body as bytes, inflated where it is gzip, and refused while it is read where it is too large. */
export async function readBytes(c: Context, limit = maxBody): Promise<Uint8Array<ArrayBuffer>> {
  const length = Number(c.req.header("content-length") ?? 0);
  if (length > limit) throw tooLarge(length, limit);
  const encoding = c.req.header("content-encoding") ?? "identity";
  const body = c.req.raw.body;
  if (!body) return new Uint8Array(0);
  if (encoding === "identity") return collect(body, limit);
  if (encoding !== "gzip")
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `invalid content-encoding: ${encoding} (expected gzip)`,
      415,
    );
  try {
    return await collect(body.pipeThrough(new DecompressionStream("gzip")), limit * 4);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError("INVALID_PARAMETER_VALUE", `malformed gzip: ${(error as Error).message}`);
  }
}

async function collect(
  stream: ReadableStream<Uint8Array>,
  limit: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.byteLength;
    if (size > limit) throw tooLarge(size, limit);
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

const tooLarge = (size: number, limit: number) =>
  new ApiError("REQUEST_TOO_LARGE", `body is too large: ${size} bytes, limit ${limit}`);

/** Returns a request's body as JSON; an empty body is the empty object. */
export const readJSON = async (c: Context, limit?: number): Promise<unknown> =>
  parseJSON(await readText(c, limit));

/** Returns a request's body as readJSON does, with the numbers among its params in the digits they were sent in. */
export async function readWithParams(c: Context): Promise<unknown> {
  const text = await readText(c);
  const body = parseJSON(text);
  if (!Object.hasOwn(Object(body) as object, "params")) return body;
  try {
    return { ...(body as object), params: (parseExactly(text) as { params: unknown }).params };
  } catch {
    return body; // nested so deeply that the stack ends: what parses params says so
  }
}

async function readText(c: Context, limit?: number): Promise<string> {
  const bytes = await readBytes(c, limit);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    throw new ApiError("INVALID_PARAMETER_VALUE", "malformed JSON: not UTF-8");
  }
}

function parseJSON(text: string): unknown {
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ApiError("INVALID_PARAMETER_VALUE", `malformed JSON: ${(error as Error).message}`);
  }
}
