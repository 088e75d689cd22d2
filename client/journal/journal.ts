import { toJSON } from "../../wire/json.ts";

/**
 * What a run logs, on its way to the server: an append-only sequence of records that outlives the process. It is the
 * only queue there is: sending reads it back, in this process or, after a crash, by `assay sync`.
 */
export interface Journal {
  /** where it lies, for messages */
  readonly place: string;
  /** how many bytes it holds */
  readonly size: number;
  /** Appends whole records. Never throws: a full disk costs the journal, not the training. */
  append(records: Uint8Array): void;
  read(from: number, to: number): Promise<Uint8Array>;
  /** Keeps the content of a file to be sent, or the path of one on disk; resolves to a reference for `content`. */
  keep(content: Blob | Uint8Array | string): Promise<string>;
  /** Returns kept content; undefined if it is gone. */
  content(reference: string): Promise<Blob | undefined>;
  /** Removes it, once everything is delivered. */
  remove(): Promise<void>;
  /** Takes away what lies behind a place: a record that a killed process left half written. */
  trim(size: number): void;
  /** Lets go of it and leaves it where it is; what is appended later is dropped. */
  close(): void;
}

/** How a journal begins: where it is to be sent and which run it is of. It holds no token. */
export interface Head {
  op: "head";
  url: string;
  run: string;
  /** with a sequence number it makes each request of this journal one of a kind */
  writer: string;
  pid?: number;
  host?: string;
  /** when that process started, as its system tells it: a pid alone may have been given to another since */
  born?: string | undefined;
}

/** What happened, in the order it happened. Points are not operations: they are cells of numbers. */
export type Operation =
  | Head
  | { op: "start"; body: Record<string, unknown> }
  | { op: "shape"; keys: string[] }
  | {
      op: "patch";
      body: {
        name?: string;
        note?: string;
        params?: Record<string, unknown>;
        tags?: Record<string, string | null>;
      };
    }
  | { op: "print"; time: number; stream: "out" | "err"; text: string }
  | { op: "file"; path: string; reference: string; type: string }
  | { op: "finish"; body: { state: string; error?: string; ended?: number } }
  // The requests in flight: a range of the journal that is sent under one number, and again under the same.
  | { op: "cut"; seq: number; from: number; to: number }
  | { op: "done"; to: number };

/**
 * A record is 8 bytes of header (kind, length: uint32, little-endian), then its bytes, a multiple of 8. Cells are rows
 * of float64: shape, step, time, then a value for each key of the shape; shapes count from 0 as they are declared. A
 * row one step after the last and in the same millisecond leaves step and time out, and begins with -1 - shape.
 */
export const kinds = { cells: 1, operation: 2 } as const;

/** Visits the rows of cells: their shape, step and time, and where in the cells their values begin. */
export function visitRows(
  cells: Float64Array,
  shapes: readonly string[][],
  visit: (shape: number, step: number, time: number, values: number) => void,
): void {
  let [step, time] = [NaN, NaN];
  for (let at = 0; at < cells.length;) {
    const isNext = cells[at]! < 0;
    const shape = isNext ? -1 - cells[at]! : cells[at]!;
    step = isNext ? step + 1 : cells[at + 1]!;
    time = isNext ? time : cells[at + 2]!;
    at += isNext ? 1 : 3;
    visit(shape, step, time, at);
    at += shapes[shape]!.length;
  }
}

export const headerSize = 8;

/** Encodes an operation as a record: JSON, padded with the spaces that JSON allows. */
export function operationRecord(operation: Operation): Uint8Array {
  const json = new TextEncoder().encode(toJSON(operation));
  const length = (json.length + 7) & ~7;
  const record = new Uint8Array(headerSize + length).fill(0x20);
  new DataView(record.buffer).setUint32(0, kinds.operation, true);
  new DataView(record.buffer).setUint32(4, length, true);
  record.set(json, headerSize);
  return record;
}

/** A record read back: where it starts and ends in the journal, and what it holds. */
export interface JournalRecord {
  start: number;
  end: number;
  cells?: Float64Array;
  operation?: Operation;
}

/** Returns how a journal begins; undefined where its process died before it had written that, and how the run starts. */
export async function readHead(journal: Journal): Promise<Head | undefined> {
  const [head, start] = readRecords(await journal.read(0, 4_000_000), 0);
  return head?.operation?.op === "head" && start ? head.operation : undefined;
}

/** Reads the whole records in bytes that begin at `offset` of the journal; one cut off at the end is left for later. */
export function* readRecords(bytes: Uint8Array, offset: number): Generator<JournalRecord> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + headerSize <= bytes.length;) {
    const kind = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    const end = at + headerSize + length;
    if (kind === 0 && length === 0) return; // zeros, as a power cut leaves them
    if (kind !== kinds.cells && kind !== kinds.operation)
      throw new Error(`invalid journal: record of kind ${kind} at ${offset + at}`);
    if (end > bytes.length) return;
    const body = bytes.slice(at + headerSize, end); // aligned, as the cells need it
    const place = { start: offset + at, end: offset + end };
    if (kind === kinds.cells) yield { ...place, cells: new Float64Array(body.buffer) };
    else yield { ...place, operation: JSON.parse(new TextDecoder().decode(body)) as Operation };
    at = end;
  }
}
