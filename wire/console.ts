import * as v from "valibot";
import { text } from "./parse.ts";
import { Time } from "./time.ts";

/** One line that a run printed. */
export interface ConsoleLine {
  /** its number in the run, from 1 */
  n: number;
  /** when it was printed, in ms since 1970 */
  time: number;
  stream: "out" | "err";
  text: string;
}

const Line = v.strictObject({
  text: text(100_000),
  stream: v.optional(v.picklist(["out", "err"]), "out"),
  time: v.optional(Time),
});

/** Lines at the door: texts, or texts with their stream and time. */
export const NewLines = v.array(
  v.union([
    v.pipe(
      text(100_000),
      v.transform((line) => ({ text: line, stream: "out" as const, time: undefined })),
    ),
    Line,
  ]),
);
export type NewLine = { text: string; stream: "out" | "err"; time?: number | undefined };
