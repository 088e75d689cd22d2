import { sha256 } from "../bytes.ts";
import { isId } from "../../wire/id.ts";
import type { FoundExperiment } from "./found.ts";

/** Returns the id here of a run from elsewhere: its own where that can be one, so that links by it still find it; the same each time. */
export async function runIdFrom(id: string): Promise<string> {
  const digits = id.toLowerCase().replace(/^(.{8})-(.{4})-(.{4})-(.{4})-(.{12})$/, "$1$2$3$4$5");
  return isId(digits) ? digits : hashed(["run", id]);
}

/**
 * Returns the id here of an experiment from elsewhere; the same each time. Trackers number experiments from 1, so the
 * moment of its creation tells it from another's, or else its name does.
 */
export const experimentIdFrom = ({ id, created, name }: FoundExperiment): Promise<string> =>
  hashed(["experiment", id, created ?? name]);

/** Returns an id that stands for a value. */
export async function hashed(value: unknown): Promise<string> {
  return (await sha256(new TextEncoder().encode(JSON.stringify(value)))).slice(0, 32);
}
