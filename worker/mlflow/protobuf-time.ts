import type { Kind } from "./request.ts";
import { invalidType, invalidValue, string } from "./request.ts";

/** A time as protobuf's JSON has it, RFC 3339, in whole ms since 1970. */
export const timestamp: Kind<number | undefined> = (value, name) => {
  const text = string(value, name);
  if (text === undefined) return undefined;
  const [, date, time, fraction = "", zone] =
    /^(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/.exec(
      text,
    ) ?? [];
  const ms = Date.parse(`${date}T${time}.${fraction.padEnd(3, "0").slice(0, 3)}${zone}`);
  if (Number.isNaN(ms))
    throw invalidValue(text, name, "Expected a time such as 2026-01-31T12:00:00.5Z");
  return ms;
};

/** A duration as protobuf's JSON has it, in seconds, as whole ms. */
export const duration: Kind<number | undefined> = (value, name) => {
  const text = string(value, name);
  if (text === undefined) return undefined;
  const [, seconds] = /^(-?\d{1,12}(?:\.\d{1,9})?)s$/.exec(text) ?? [];
  if (seconds === undefined) throw invalidType(text, name);
  return Math.trunc(Number((Number(seconds) * 1000).toFixed(3)));
};

/** Returns a time as protobuf's JSON has it: a fraction of a second in three digits, or none. */
export const formatTimestamp = (ms: number): string =>
  new Date(ms).toISOString().replace(".000Z", "Z");

/** Returns a duration as protobuf's JSON has it: a fraction of a second in three digits, or none. */
export const formatDuration = (ms: number): string =>
  `${(ms / 1000).toFixed(3).replace(".000", "")}s`;
