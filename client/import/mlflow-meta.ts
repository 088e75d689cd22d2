import { parse } from "yaml";

/** A meta.yaml of MLflow's: every scalar as the text that stands there, null where there is none. */
export interface Meta {
  [field: string]: MetaValue;
}
type MetaValue = string | null | MetaValue[] | Meta;

/**
 * Reads a meta.yaml. Scalars stay text, as what looks like a number need not be one: PyYAML, which goes by YAML 1.1,
 * leaves a name such as 1e3 without quotes, and ids of digits were numbers in old stores. Throws where it is no mapping.
 */
export function parseMeta(text: string): Meta {
  const value: unknown = parse(text, {
    schema: "failsafe",
    customTags: ["null"],
    logLevel: "error",
  });
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error("not a mapping of names to values");
  return value as Meta;
}

/** Returns a field's text; null where it has none. */
export function textOf(meta: Meta, field: string): string | null {
  const value = meta[field];
  return typeof value === "string" ? value : null;
}

/** Returns the whole number of a field, such as a time in ms; null where it has none. */
export function numberOf(meta: Meta, field: string): number | null {
  return maybeInteger(textOf(meta, field));
}

/** Returns the whole number that a text stands for; null where it stands for none. */
function maybeInteger(text: string | null | undefined): number | null {
  const trimmed = text?.trim() ?? "";
  const value = Math.floor(Number(trimmed));
  return trimmed === "" || !Number.isFinite(value) ? null : value;
}

/** Returns a field's mapping of names to text; empty where it has none. */
export function textsOf(meta: Meta, field: string): Record<string, string> {
  const value = meta[field];
  if (typeof value !== "object" || value === null || Array.isArray(value)) return {};
  return Object.fromEntries(
    Object.entries(value).map(([name, text]) => [name, typeof text === "string" ? text : ""]),
  );
}
