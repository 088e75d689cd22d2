import * as v from "valibot";
import { ApiError, shown } from "./error.ts";
import { maybeNumber } from "./json.ts";
import { isName, text } from "./parse.ts";

/** A param: a named input value, set once. NaN and ±Infinity cross the wire as their three strings. */
export type Param = number | string | boolean | null;
export type Params = Record<string, Param>;
export type Tags = Record<string, string>;

/**
 * Returns nested config as flat params: objects join with dots, arrays become their JSON.
 * `{optim: {lr: 0.1}, layers: [64, 64]}` → `{"optim.lr": 0.1, layers: "[64,64]"}`.
 */
export function flattenParams(config: Record<string, unknown>, prefix = "", into: Params = {}): Params {
  for (const [name, value] of Object.entries(config)) {
    const key = prefix + name;
    if (!isName(key)) throw new ApiError("INVALID_PARAMETER_VALUE", `invalid param name: ${shown(key)}`);
    if (value === undefined) continue;
    if (isPlainObject(value)) flattenParams(value, `${key}.`, into);
    else into[key] = toParam(key, value);
  }
  return into;
}

function toParam(key: string, value: unknown): Param {
  if (value === null || typeof value === "boolean" || typeof value === "number") return value;
  if (typeof value === "bigint") return String(value);
  const string = typeof value === "string" ? value : value instanceof Date ? value.toISOString() : JSON.stringify(value);
  if (typeof string !== "string") throw new ApiError("INVALID_PARAMETER_VALUE", `invalid param ${key}: ${shown(value)}`);
  if (string.length > maxParam)
    throw new ApiError("INVALID_PARAMETER_VALUE", `param is too long: ${key} has ${string.length} characters, limit ${maxParam}`);
  return maybeNumber(string) ?? string;
}

const maxParam = 16_384;

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** Params at the door: any nesting in, flat and typed out. */
export const ParamsSchema = v.pipe(
  v.record(v.string(), v.unknown()),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    try {
      return flattenParams(dataset.value);
    } catch (error) {
      addIssue({ message: (error as Error).message });
      return NEVER;
    }
  }),
);

const TagValue = v.pipe(v.union([v.string(), v.number(), v.boolean()]), v.transform(String), text(8_000));
const TagName = v.pipe(v.string(), v.check(isName, "expected a tag name of 1 to 250 characters"));

/** Tags at the door: names to text; a list of names stands for names with empty text. */
export const TagsSchema = v.union([
  v.record(TagName, TagValue),
  v.pipe(v.array(TagName), v.transform((names): Tags => Object.fromEntries(names.map((name) => [name, ""])))),
]);

/** A change of tags: null takes a tag away. */
export const TagsPatch = v.record(TagName, v.nullable(TagValue));
