/** What runs are described by. */
export type KeyKind = "params" | "metrics" | "tags";

/** A param, metric or tag that runs have: one row of the catalogue of keys. */
export interface KnownKey {
  kind: KeyKind;
  key: string;
  /** what all its values are; where they differ in kind, text */
  type: "number" | "boolean" | "text";
  /** how many runs have it */
  runs: number;
  /** the least and greatest of its finite numbers, of a metric's last values; null where there is none */
  min: number | null;
  max: number | null;
  /** when a run that has it was last heard of, ms since 1970 */
  seen: number;
}
