import { Buffer } from "node:buffer";
import { ApiError } from "../../wire/error.ts";

/** Returns a page token: what it takes to go on, which its bearer need not understand. */
export const pageToken = (next: unknown[]): string =>
  Buffer.from(JSON.stringify(next)).toString("base64url");

/** Returns what a page token says, unless it is made up: `isIt` tells. */
export function fromPageToken<T extends unknown[]>(
  token: string,
  isIt: (next: unknown[]) => next is T,
): T {
  let next: unknown;
  try {
    next = JSON.parse(Buffer.from(token, "base64url").toString());
  } catch {
    throw new ApiError("INVALID_PARAMETER_VALUE", "Invalid page token, could not base64-decode");
  }
  if (!Array.isArray(next) || !isIt(next))
    throw new ApiError("INVALID_PARAMETER_VALUE", "Invalid page token, not of this list");
  return next;
}
