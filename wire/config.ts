import * as v from "valibot";
import { ApiError, shown } from "./error.ts";
import { maybeNumber } from "./json.ts";
import { isName } from "./parse.ts";

/** A param: a named input value, set once. NaN and ±Infinity cross the wire as their three strings; a number may be raw JSON, which keeps its digits. */
type Param = number | string | boolean | null;
export type Params = Record<string, Param>;
export type Tags = Record<string, string>;

/**
 * Returns nested config as flat params: objects join with dots, arrays become their JSON.
 * `{optim: {lr: 0.1}, layers: [64, 64]}` → `{"optim.lr": 0.1, layers: "[64,64]"}`.
 */
export function flattenParams(config: Record<string, unknown>): Params {
  return Object.fromEntries(flatEntries(config, "")); // defines each name, "__proto__" too, where assigning would not
}

function* flatEntries(config: Record<string, unknown>, prefix: string): Generator<[string, Param]> {
  for (const [name, value] of Object.entries(config)) {
    const key = prefix + name;
    if (!isName(key)) throw invalid(`invalid param name: ${shown(key)}`);
    if (isPlainObject(value)) yield* flatEntries(value, `${key}.`);
    else if (value !== undefined) yield [key, toParam(key, value)];
  }
}

function toParam(key: string, value: unknown): Param {
  if (value === null || typeof value === "boolean" || typeof value === "number") return value;
  if (JSON.isRawJSON(value)) return value as unknown as number;
  if (typeof value === "bigint") return String(value);
  const string = typeof value === "string" ? value : JSON.stringify(value);
  if (typeof string !== "string") throw invalid(`invalid param ${key}: ${shown(value)}`);
  if (string.length > maxParam)
    throw invalid(`param is too long: ${key} has ${string.length} characters, limit ${maxParam}`);
  if (!string.isWellFormed()) throw invalid(`invalid param ${key}: ${shown(value)}`);
  return maybeNumber(string) ?? string;
}

const maxParam = 16_384;
const maxTag = 8_000;
const maxText = 100_000;
const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Date) &&
  !JSON.isRawJSON(value);

/** What users name themselves, parsed by a function: valibot's records leave out names such as "constructor". */
const parsedBy = <I, T>(
  isIt: (value: unknown) => boolean,
  expected: string,
  parse: (value: I) => T,
) =>
  v.pipe(
    v.custom<I>(isIt, expected),
    v.rawTransform<I, T>(({ dataset, addIssue, NEVER }) => {
      try {
        return parse(dataset.value);
      } catch (error) {
        addIssue({ message: (error as Error).message });
        return NEVER;
      }
    }),
  );

function tagEntry([name, value]: readonly [unknown, unknown]): [string, string] {
  const text = typeof value === "number" || typeof value === "boolean" ? String(value) : value;
  if (typeof name !== "string" || !isName(name)) throw invalid(`invalid tag name: ${shown(name)}`);
  if (typeof text !== "string" || !text.isWellFormed())
    throw invalid(`invalid tag ${name}: ${shown(value)}`);
  if (text.length > maxTag)
    throw invalid(`tag is too long: ${name} has ${text.length} characters, limit ${maxTag}`);
  return [name, text];
}

/** Params at the door: any nesting in, flat and typed out. */
export const ParamsSchema = parsedBy(isPlainObject, "expected an object", flattenParams);

/** Tags at the door: names to text; a list of names stands for names with empty text. */
export const TagsSchema = parsedBy(
  (value) => isPlainObject(value) || Array.isArray(value),
  "expected an object or a list of names",
  (tags: Record<string, unknown> | string[]): Tags =>
    Object.fromEntries(
      (Array.isArray(tags) ? tags.map((name) => [name, ""] as const) : Object.entries(tags)).map(
        tagEntry,
      ),
    ),
);

/** Texts by name at the door, as other trackers keep them: longer than our own tags may be. */
export const TextsSchema = parsedBy(
  isPlainObject,
  "expected an object",
  (texts: Record<string, unknown>): Tags =>
    Object.fromEntries(
      Object.entries(texts).map(([name, value]) => {
        if (!isName(name)) throw invalid(`invalid name: ${shown(name)}`);
        if (typeof value !== "string" || !value.isWellFormed())
          throw invalid(`invalid text of ${name}: ${shown(value)}`);
        if (value.length > maxText)
          throw invalid(
            `text is too long: ${name} has ${value.length} characters, limit ${maxText}`,
          );
        return [name, value];
      }),
    ),
);

/** A change of tags: null takes a tag away. */
export const TagsPatch = parsedBy(
  isPlainObject,
  "expected an object",
  (tags: Record<string, unknown>): Record<string, string | null> =>
    Object.fromEntries(
      Object.entries(tags).map((entry) => (entry[1] === null ? [entry[0], null] : tagEntry(entry))),
    ),
);
