import type { Tags } from "./config.ts";

/** The stages a version can be in. */
export const stages = ["None", "Staging", "Production", "Archived"] as const;
export type Stage = (typeof stages)[number];

/** A registered model: a name under which versions are kept. */
export interface Model {
  name: string;
  note: string;
  tags: Tags;
  /** movable names of versions: alias to number */
  aliases: Record<string, number>;
  /** times in ms since 1970 */
  created: number;
  updated: number;
}

/** A numbered version of a registered model. */
export interface ModelVersion {
  /** the model's name */
  model: string;
  number: number;
  /** where it was said to come from, as a URI */
  source: string;
  /** where its files are, as a URI */
  location: string;
  /** the id of the run it came from; null where none was named */
  run: string | null;
  /** the id of the logged model it was made of; null where none was named */
  built: string | null;
  /** a web address of the run, where that lies elsewhere */
  link: string;
  stage: Stage;
  note: string;
  tags: Tags;
  /** the aliases that point to it */
  aliases: string[];
  created: number;
  updated: number;
}
