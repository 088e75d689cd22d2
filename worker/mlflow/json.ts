import type { Context } from "hono";
import { numberToJSON } from "../../wire/json.ts";

/** Answers a message: what is not set and lists without entries are left out; numbers that JSON has no place for are text. */
export const answer = (c: Context, message: object): Response =>
  c.body(JSON.stringify(message, withoutEmpty), 200, { "content-type": "application/json" });

function withoutEmpty(this: unknown, _: string, value: unknown): unknown {
  if (typeof value === "number") return numberToJSON(value);
  const isEmpty = value === null || (Array.isArray(value) && value.length === 0);
  return isEmpty && !Array.isArray(this) ? undefined : value;
}
