import type { Tags } from "./config.ts";

/** How far the upload of a logged model's files is. */
export const modelStates = ["pending", "ready", "failed"] as const;
export type ModelState = (typeof modelStates)[number];

/** A point of a metric that was logged of a model. */
export interface ModelPoint {
  key: string;
  /** NaN is kept; infinite values are the greatest and the least finite number */
  value: number;
  /** ms since 1970 */
  time: number;
  step: number;
  /** the id of the run that logged it */
  run: string;
  /** the dataset it was measured on; null where none was named */
  dataset: { name: string; digest: string } | null;
}

/** A model that a run built, or that somebody told of; registered or not. */
export interface LoggedModel {
  /** m- and 32 hex digits */
  id: string;
  /** the id of its experiment */
  experiment: string;
  name: string;
  /** what kind of model it is, in its builder's words */
  type: string;
  state: ModelState;
  /** where its files are, as a URI */
  location: string;
  /** the id of the run that built it; null where none was named */
  run: string | null;
  params: Tags;
  tags: Tags;
  points: ModelPoint[];
  /** times in ms since 1970 */
  created: number;
  updated: number;
  deleted: number | null;
}
