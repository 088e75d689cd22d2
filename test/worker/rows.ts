import { env } from "cloudflare:workers";
import { tableFromIPC } from "@uwdata/flechette";
import { compactRun } from "../../worker/db/compact.ts";
import { arrowType, pointsToIPC } from "../../wire/point-ipc.ts";
import { concatPoints, sortPoints, type Points } from "../../wire/point.ts";
import { ask } from "./worker.ts";

/** Returns a run's row number. */
export const numberOf = async (run: string) =>
  (await env.DB.prepare("SELECT no FROM runs WHERE id = ?").bind(run).first<{ no: number }>())!.no;

export const compact = async (run: string) => compactRun(env, await numberOf(run));

/** Appends points as the client does. */
export const send = (run: string, points: Points, writer: string, seq: number) =>
  ask("POST", `/runs/${run}/points?writer=${writer}&seq=${seq}`, pointsToIPC(points), {
    "content-type": arrowType,
  });

/** Reads points by Arrow, as text that equal points have in common, NaN and −0 told apart. */
export async function rowsOf(query: string): Promise<string[]> {
  const { response, status, text } = await ask("GET", `/points.arrow?${query}`);
  if (status !== 200) throw new Error(text);
  return rowsFromIPC(new Uint8Array(await response.arrayBuffer()));
}

/** Returns the points of an Arrow stream as such text. */
export function rowsFromIPC(bytes: Uint8Array): string[] {
  const table = tableFromIPC(bytes, { useDate: false });
  const [key, step, time, value] = ["key", "step", "time", "value"].map((name) =>
    table.getChild(name),
  );
  return Array.from({ length: table.numRows }, (_, i) =>
    rowText(key!.at(i), step!.at(i), time!.at(i), value!.at(i)),
  );
}

const rowText = (key: string, step: number, time: number, value: number) =>
  `${key} ${step} ${time} ${Object.is(value, -0) ? "-0" : value}`;

/** Returns all points of some lots as such text, sorted as they are answered. */
export function expectedRows(lots: Points[]): string[] {
  const { keys, key, step, time, value } = sortPoints(concatPoints(lots));
  return Array.from(step, (s, i) => rowText(keys[key[i]!]!, s, time[i]!, value[i]!));
}
