import type { Tags } from "../../wire/config.ts";

/** Returns the tags after a change, in which null takes a tag away. */
export function patchTags(tags: Tags, patch: Record<string, string | null> = {}): Tags {
  return Object.fromEntries(
    Object.entries({ ...tags, ...patch }).filter(
      (entry): entry is [string, string] => entry[1] !== null,
    ),
  );
}
