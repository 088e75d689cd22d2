/** Returns a new id: the 32 hex digits of a UUIDv7 (RFC 9562), so that ids sort by the time they were made. */
export function newId(
  now = Date.now(),
  random = crypto.getRandomValues(new Uint8Array(10)),
): string {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(now) << 16n);
  bytes.set(random, 6);
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** Ids go into URLs and keys, so they are 32 lower-case hex digits; names are free text and never become a path. */
export const isId = (value: unknown): value is string =>
  typeof value === "string" && /^[0-9a-f]{32}$/.test(value);

/** The experiment of runs that were told none, as MLflow's clients know it. */
export const defaultExperiment = { id: "0", name: "Default" };

/** Whether a text is the id of an experiment: as any other id, or that of the default one. */
export const isExperimentId = (value: unknown): value is string =>
  value === defaultExperiment.id || isId(value);
