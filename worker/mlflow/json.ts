import type { Context } from "hono";
import { toJSON } from "../../wire/json.ts";

/** Answers a message: what is not set and lists without entries are left out; numbers that JSON has no place for are text. */
export const answer = (c: Context, message: object): Response =>
  c.body(toJSON(withoutEmpty(message)), 200, { "content-type": "application/json" });

function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(
        ([, field]) =>
          field !== undefined && field !== null && !(Array.isArray(field) && field.length === 0),
      )
      .map(([name, field]) => [name, withoutEmpty(field)]),
  );
}
