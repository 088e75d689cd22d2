import { tableFromIPC } from "@uwdata/flechette";
import {
  batchMessage,
  dictionaryMessage,
  endOfStream,
  float64Column,
  indexColumn,
  indexWidthOf,
  schemaMessage,
  timestampColumn,
} from "./arrow.ts";
import { checkStream } from "./arrow-check.ts";
import { ApiError, shown } from "./error.ts";
import { checkCount, checkPoints, emptyPoints, type Points } from "./point.ts";

/** The media type of an Arrow IPC stream. */
export const arrowType = "application/vnd.apache.arrow.stream";

/** Returns the head of an answer's stream: the schema, then the runs and keys that the batches point at. */
export function pointsHead(runs: string[], keys: string[], cursor?: string): Uint8Array[] {
  const schema = schemaMessage(
    [
      { name: "run", type: "dictionary", dictionary: 0, indexWidth: indexWidthOf(runs.length) },
      { name: "key", type: "dictionary", dictionary: 1, indexWidth: indexWidthOf(keys.length) },
      { name: "step", type: "float64" },
      { name: "time", type: "timestamp" },
      { name: "value", type: "float64" },
    ],
    cursor === undefined ? {} : { cursor },
  );
  return [schema, dictionaryMessage(0, runs), dictionaryMessage(1, keys)];
}

/** Encodes one run's points as an Arrow IPC stream of key, step, time and value: what the client sends. */
export function pointsToIPC(points: Points): Uint8Array {
  const pieces = [
    schemaMessage([
      { name: "key", type: "dictionary", dictionary: 0 },
      { name: "step", type: "float64" },
      { name: "time", type: "timestamp" },
      { name: "value", type: "float64" },
    ]),
    dictionaryMessage(0, points.keys),
    batchMessage(points.step.length, [
      indexColumn(Int32Array.from(points.key)),
      float64Column(points.step),
      timestampColumn(points.time),
      float64Column(points.value),
    ]),
    endOfStream,
  ];
  return concatBytes(pieces);
}

/** Returns pieces of bytes as one. */
function concatBytes(pieces: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(pieces.reduce((n, piece) => n + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/**
 * Decodes the points of an Arrow IPC stream written by anyone: columns key (text, or a dictionary of text), step and
 * value (any number type), and optionally time (a timestamp, or a number in ms). Throws an ApiError on anything else.
 */
export function pointsFromIPC(bytes: Uint8Array): Points {
  try {
    checkStream(bytes);
    // flechette reads buffers in place and needs them aligned to 8 bytes.
    return readPoints(
      tableFromIPC(bytes.byteOffset % 8 ? bytes.slice() : bytes, { useBigInt: true }),
    );
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw invalid(`malformed Arrow stream: ${(error as Error).message}`);
  }
}

function readPoints(table: ReturnType<typeof tableFromIPC>): Points {
  for (const name of table.names)
    if (!["key", "step", "time", "value"].includes(name))
      throw invalid(`unknown column: ${shown(name)}`);
  const count = checkCount(table.numRows);
  const points = emptyPoints([], count);
  const index = new Map<string, number>();
  const columns = {
    key: column(table, "key"),
    step: column(table, "step"),
    value: column(table, "value"),
  };
  const time = table.getChild("time");
  for (let i = 0; i < count; i++) {
    const key: unknown = columns.key.at(i);
    if (typeof key !== "string") throw invalid(`invalid key at ${i}: ${shown(key)}`);
    let k = index.get(key);
    if (k === undefined) {
      index.set(key, (k = points.keys.length));
      points.keys.push(key);
    }
    points.key[i] = k;
    points.step[i] = number(columns.step.at(i), "step", i);
    points.value[i] = number(columns.value.at(i), "value", i);
    const at: unknown = time?.at(i) ?? undefined;
    points.time[i] = at === undefined ? NaN : number(at, "time", i);
  }
  return checkPoints(points);
}

function column(table: ReturnType<typeof tableFromIPC>, name: string) {
  const found = table.getChild(name);
  if (!found) throw invalid(`missing column: ${name} (found ${shown(table.names.join(", "))})`);
  return found;
}

function number(value: unknown, name: string, i: number): number {
  if (typeof value === "bigint") return Number(value);
  if (typeof value !== "number") throw invalid(`invalid ${name} at ${i}: ${shown(value)}`);
  return value;
}

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);
