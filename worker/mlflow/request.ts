import type { Context } from "hono";
import { ApiError, shown } from "../../wire/error.ts";
import { readBytes } from "../body.ts";

/**
 * Reads one field of a message: its value, which is undefined or null where it is not set, and how an error calls it.
 * Kinds are made of kinds, as in `message({ run_id: required(string), tags: list(message({ key: string })) })`.
 */
export type Kind<T> = ((value: unknown, name: string) => T) & { isList?: boolean };

/** What a kind gives. */
export type Of<K> = K extends Kind<infer T> ? T : never;

const isUnset = (value: unknown): value is null | undefined =>
  value === undefined || value === null;

export const string: Kind<string | undefined> = (value, name) => {
  if (isUnset(value)) return undefined;
  if (typeof value !== "string") throw invalidType(value, name);
  if (!value.isWellFormed()) throw invalidValue(value, name, "It is not well-formed Unicode");
  return value;
};

/** A whole number; Java and R send it as text. What lies behind the point is dropped, as MLflow does. */
export const int64: Kind<number | undefined> = (value, name) => {
  if (isUnset(value)) return undefined;
  const number = typeof value === "string" && /^\s*-?\d+\s*$/.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number)) throw invalidType(value, name);
  if (Math.abs(number) > Number.MAX_SAFE_INTEGER)
    throw invalidValue(value, name, "Whole numbers are kept up to 2^53");
  return Math.trunc(number) + 0;
};

/** A float64; NaN and the infinities come as text, and so may any number. */
export const double: Kind<number | undefined> = (value, name) => {
  if (isUnset(value)) return undefined;
  if (typeof value === "number") return value;
  if (typeof value !== "string") throw invalidType(value, name);
  const text = value.trim();
  if (/^[+-]?(inf|infinity)$/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  if (/^[+-]?nan$/i.test(text)) return NaN;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) throw invalidType(value, name);
  return Number(text);
};

/** A truth value; in a query Python writes True and False. */
export const boolean: Kind<boolean | undefined> = (value, name) => {
  if (isUnset(value)) return undefined;
  if (typeof value === "boolean") return value;
  if (typeof value === "string" && /^(true|false)$/i.test(value))
    return value.toLowerCase() === "true";
  throw invalidType(value, name);
};

/** JSON as it stands, for what is kept and not looked into. */
export const json: Kind<unknown> = (value) => value ?? undefined;

/** One of some words, or the number of one, from 1 on unless `first` says otherwise; a word nobody knows counts as not set. */
export const word =
  <W extends string>(words: readonly W[], first = 1): Kind<W | undefined> =>
  (value) => {
    const number = typeof value === "number" ? value : Number.NaN;
    return words.find((known, i) => known === value || i + first === number);
  };

/** Names to values, as in JSON objects whose names users choose. */
export const map =
  <T>(kind: Kind<T>): Kind<Map<string, T>> =>
  (value, name) => {
    if (isUnset(value)) return new Map();
    if (typeof value !== "object" || Array.isArray(value)) throw invalidType(value, name);
    return new Map(
      Object.entries(value).map(([key, item]) => [key, kind(item, `${name}[${shown(key)}]`)]),
    );
  };

/** A list; one that is not set is empty. */
export const list = <T>(kind: Kind<T>): Kind<T[]> =>
  Object.assign(
    (value: unknown, name: string): T[] => {
      if (isUnset(value)) return [];
      if (!Array.isArray(value)) throw invalidType(value, name);
      return value.map((item, i) => kind(item, `${name}[${i}]`));
    },
    { isList: true },
  );

/** A field that must be set, and if it is text or a list, not empty. */
export const required = <T>(kind: Kind<T>): Kind<Exclude<T, undefined>> =>
  Object.assign(
    (value: unknown, name: string) => {
      const read = kind(value, name);
      if (isUnset(value) || value === "" || (Array.isArray(value) && value.length === 0))
        throw missing(name);
      return read as Exclude<T, undefined>;
    },
    { isList: kind.isList ?? false },
  );

/** A field with a value where it is not set. */
export const orElse =
  <T>(kind: Kind<T>, value: Exclude<T, undefined>): Kind<Exclude<T, undefined>> =>
  (sent, name) =>
    (kind(sent, name) ?? value) as Exclude<T, undefined>;

/** The fields of a message; undefined where it is not set. What else it holds is ignored. */
export const message =
  <F extends Record<string, Kind<unknown>>>(
    fields: F,
  ): Kind<{ [N in keyof F]: Of<F[N]> } | undefined> =>
  (value, name) =>
    isUnset(value) ? undefined : fieldsOf(fields, value, `${name}.`);

function fieldsOf<F extends Record<string, Kind<unknown>>>(
  fields: F,
  value: unknown,
  prefix: string,
): { [N in keyof F]: Of<F[N]> } {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalidType(value, prefix.slice(0, -1));
  const sent = value as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(fields).map(([name, kind]) => [
      name,
      kind(ownOf(sent, name) ?? ownOf(sent, camel(name)), prefix + name),
    ]),
  ) as { [N in keyof F]: Of<F[N]> };
}

const ownOf = (sent: Record<string, unknown>, name: string): unknown =>
  Object.hasOwn(sent, name) ? sent[name] : undefined;

/** Protobuf's JSON has names in either case: run_id or runId. */
const camel = (name: string): string =>
  name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** The largest body of a request that is JSON: MLflow's own limit of 1 MB is not kept by its clients. */
const maxBody = 16_000_000;

/** Returns the fields of a request: of its query where it is a GET, else of its JSON body. */
export async function readRequest<F extends Record<string, Kind<unknown>>>(
  c: Context,
  fields: F,
): Promise<{ [N in keyof F]: Of<F[N]> }> {
  const sent = c.req.method === "GET" ? fromQuery(c, fields) : await fromBody(c);
  return fieldsOf(fields, sent, "");
}

function fromQuery(c: Context, fields: Record<string, Kind<unknown>>): Record<string, unknown> {
  const queries = c.req.queries();
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, kind]) => {
      const values = queries[name] ?? queries[camel(name)];
      return values ? [[name, kind.isList ? values : values[0]]] : [];
    }),
  );
}

async function fromBody(c: Context): Promise<unknown> {
  const type = c.req.header("content-type");
  const bytes = await readBytes(c, maxBody);
  if (bytes.length === 0) return {};
  if (type === undefined)
    throw new ApiError("INVALID_PARAMETER_VALUE", "Bad Request. Content-Type header is missing.");
  if (!/^application\/json\s*(;|$)/i.test(type))
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      "Bad Request. Content-Type must be one of ['application/json'].",
    );
  const value = parseJSON(new TextDecoder().decode(bytes));
  const inner = typeof value === "string" ? parseJSON(value) : value; // old clients encode twice
  return typeof inner === "object" && inner !== null && !Array.isArray(inner) ? inner : {};
}

/** Returns JSON as Python writes it, in which NaN and the infinities may stand bare. */
function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (found) =>
      found.startsWith('"') ? found : `"${found}"`,
    );
    try {
      return JSON.parse(quoted);
    } catch (error) {
      throw new ApiError("BAD_REQUEST", `Malformed JSON: ${(error as Error).message}`);
    }
  }
}

/** The error of a field that must be set and is not, in MLflow's words. */
export const missing = (name: string) =>
  new ApiError(
    "INVALID_PARAMETER_VALUE",
    `Missing value for required parameter '${name}'. See the API docs for more information about request parameters.`,
  );

/** The error of a value that is not what its field may hold, in MLflow's words; `why` is a sentence without its point. */
export const invalidValue = (value: unknown, name: string, why?: string) =>
  new ApiError(
    "INVALID_PARAMETER_VALUE",
    `Invalid value ${shownJSON(value)} for parameter '${name}' supplied${why === undefined ? "" : `. ${why}`}`,
  );

/** The error of a value of a wrong type, in MLflow's words. */
export const invalidType = (value: unknown, name: string) =>
  new ApiError(
    "INVALID_PARAMETER_VALUE",
    `Invalid value ${shownJSON(value)} for parameter '${name}' supplied:  Hint: Value was of type '${pythonType(value)}'. See the API docs for more information about request parameters.`,
  );

const shownJSON = (value: unknown): string =>
  typeof value === "string" ? `"${shown(value)}"` : shown(value);

function pythonType(value: unknown): string {
  if (Array.isArray(value)) return "list";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float";
  if (typeof value === "boolean") return "bool";
  return typeof value === "string" ? "str" : "dict";
}
