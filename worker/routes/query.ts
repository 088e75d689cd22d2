import type { Context } from "hono";
import * as v from "valibot";
import { ApiError } from "../../wire/error.ts";
import { newId } from "../../wire/id.ts";
import { parse } from "../../wire/parse.ts";

/** Query parameters arrive as lists of text, since each may repeat. */
export const list = v.array(v.string());

/** A parameter given once. */
export const text = v.pipe(
  list,
  v.length(1, "expected it once"),
  v.transform(([value]) => value!),
);

/** A parameter that is a number. */
export const number = v.pipe(
  text,
  v.check((value) => value.trim() !== "" && Number.isFinite(Number(value)), "expected a number"),
  v.transform(Number),
);

/** A parameter that is a time: ms since 1970, or ISO 8601, in UTC where it names no zone. */
export const time = v.pipe(
  text,
  v.check((value) => !Number.isNaN(timeOf(value)), "expected ms since 1970 or ISO 8601"),
  v.transform(timeOf),
);

function timeOf(value: string): number {
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value);
  const [, day, clock, zone = "Z"] =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:\d\d)?)?$/.exec(value) ??
    [];
  return Date.parse(clock === undefined ? String(day) : `${day}T${clock}${zone}`);
}

/** A parameter that is a whole number from 0. */
export const count = (most: number) =>
  v.pipe(
    number,
    v.check(
      (value) => Number.isSafeInteger(value) && value >= 0 && value <= most,
      `expected a whole number up to ${most}`,
    ),
  );

/** Who sent a batch, and which of theirs it is: a retry under the same two changes nothing. */
export const SenderQuery = v.strictObject({
  writer: v.optional(
    v.pipe(
      text,
      v.check(
        (value) => /^[\w.:-]{1,64}$/.test(value),
        "expected 1 to 64 letters, digits and . : _ -",
      ),
    ),
  ),
  seq: v.optional(count(Number.MAX_SAFE_INTEGER)),
});

/** Returns the sender that a request names; one that names none is told from all others. */
export function parseSender(c: Context): { writer: string; seq: number } {
  const { writer, seq } = parse(SenderQuery, c.req.queries(), "query");
  if ((writer === undefined) !== (seq === undefined))
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `missing ${writer === undefined ? "writer" : "seq"}: writer and seq go together`,
    );
  return { writer: writer ?? newId(), seq: seq ?? 0 };
}
