import { ApiError } from "../../wire/error.ts";
import type { PageKey } from "../db/page.ts";
import { fromPageToken, pageToken } from "./page.ts";

/** Returns where a page ended as a token that leads on in no other list than that of the same question. */
export const formatPageToken = (key: PageKey, question: unknown): string =>
  pageToken([key, sumOf(question)]);

/** Returns where the page ended that a token was given with; undefined where there is no token. */
export function parsePageToken(
  token: string | undefined,
  question: unknown,
  length: number,
): PageKey | undefined {
  if (!token) return undefined;
  const [key, sum] = fromPageToken(
    token,
    (next): next is [PageKey, number] =>
      next.length === 2 && isKey(next[0]) && next[0].length === length,
  );
  if (sum !== sumOf(question))
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      "Invalid page token: it was given for another filter, order or set of experiments",
    );
  return key;
}

const isKey = (value: unknown): value is PageKey =>
  Array.isArray(value) &&
  value.every((part) => part === null || typeof part === "string" || typeof part === "number");

/** FNV-1a of a question: tells one from another, and guards nothing. */
function sumOf(question: unknown): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(JSON.stringify(question)))
    hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
