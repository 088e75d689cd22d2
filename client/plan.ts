import { emptyPoints, type Points } from "../wire/point.ts";
import { visitRows, type JournalRecord, type Operation } from "./journal/journal.ts";

/** The operation of a name. */
export type OperationOf<Name extends Operation["op"]> = Extract<Operation, { op: Name }>;

/** What one range of a journal has to say to the server: at most one request of each kind, then its files, then the end. */
export interface Cut {
  from: number;
  to: number;
  start?: OperationOf<"start">["body"];
  patch?: OperationOf<"patch">["body"];
  points?: Points;
  lines: { text: string; stream: "out" | "err"; time: number }[];
  files: OperationOf<"file">[];
  finish?: OperationOf<"finish">["body"];
}

/** How much one request carries; texts (bytes of lines and patches, characters of keys) by the room in a row of D1. */
const limits = { points: 10_000, keys: 5_000, lines: 2_000, text: 500_000 };

/**
 * Plans the next cut: the records from `from` on, until a request is full or the run ends. `shapes` gains the shapes
 * declared on the way. `to` holds a recovered cut to where it ended when it was first sent, whatever the limits are now.
 */
export function planCut(
  records: Iterable<JournalRecord>,
  shapes: string[][],
  { from, to = Infinity }: { from: number; to?: number },
): Cut {
  const cut: Cut = { from, to: from, lines: [], files: [] };
  const rows = new Rows(shapes);
  let text = 0;
  for (const { start, end, cells, operation } of records) {
    if (end > to) break;
    if (operation?.op === "print" || operation?.op === "patch") text += end - start;
    const isFull =
      (cells && !rows.hasRoom(cells)) || cut.lines.length >= limits.lines || text > limits.text;
    if (to === Infinity && isFull && cut.to > from) break;
    cut.to = end;
    if (cells) rows.add(cells);
    else if (operation) take(cut, operation, shapes);
    if (cut.finish) break;
  }
  if (rows.count) cut.points = rows.toPoints();
  return cut;
}

function take(cut: Cut, operation: Operation, shapes: string[][]): void {
  if (operation.op === "shape") shapes.push(operation.keys);
  else if (operation.op === "start") cut.start = operation.body;
  else if (operation.op === "finish") cut.finish = operation.body;
  else if (operation.op === "file") cut.files.push(operation);
  else if (operation.op === "print") {
    const { text, stream, time } = operation;
    cut.lines.push({ text, stream, time });
  } else if (operation.op === "patch") {
    const { params, tags, ...rest } = operation.body;
    cut.patch = {
      ...cut.patch,
      ...rest,
      ...(params ? { params: { ...params, ...cut.patch?.params } } : {}),
      ...(tags ? { tags: { ...cut.patch?.tags, ...tags } } : {}),
    };
  }
}

/** Gathers rows of cells into columns of points. */
class Rows {
  readonly #keys = new Map<string, number>();
  count = 0;
  #text = 0;
  readonly #shapes: string[][];
  /** the shapes whose keys are all known */
  readonly #met = new Set<number>();
  readonly #lots: Float64Array[] = [];

  constructor(shapes: string[][]) {
    this.#shapes = shapes;
  }

  /** Whether a request has room for these cells, too. */
  hasRoom(cells: Float64Array): boolean {
    let { count } = this;
    const shapes = new Set<number>();
    visitRows(cells, this.#shapes, (shape) => {
      if (!this.#met.has(shape)) shapes.add(shape);
      count += this.#shapes[shape]!.length;
    });
    const keys = new Set<string>();
    for (const shape of shapes)
      for (const key of this.#shapes[shape]!) if (!this.#keys.has(key)) keys.add(key);
    let text = this.#text;
    for (const key of keys) text += key.length;
    return (
      count <= limits.points && this.#keys.size + keys.size <= limits.keys && text <= limits.text
    );
  }

  add(cells: Float64Array): void {
    this.#lots.push(cells);
    visitRows(cells, this.#shapes, (shape) => {
      if (!this.#met.has(shape)) this.#meet(shape, this.#shapes[shape]!);
      this.count += this.#shapes[shape]!.length;
    });
  }

  #meet(number: number, shape: string[]): void {
    this.#met.add(number);
    for (const key of shape) {
      if (this.#keys.has(key)) continue;
      this.#keys.set(key, this.#keys.size);
      this.#text += key.length;
    }
  }

  toPoints(): Points {
    const points = emptyPoints([...this.#keys.keys()], this.count);
    const numbers = this.#shapes.map((shape) => shape.map((key) => this.#keys.get(key)!));
    let i = 0;
    for (const cells of this.#lots)
      visitRows(cells, this.#shapes, (shape, step, time, values) => {
        const keys = numbers[shape]!;
        for (let k = 0; k < keys.length; k++, i++) {
          points.key[i] = keys[k]!;
          points.step[i] = step;
          points.time[i] = Math.floor(time);
          points.value[i] = cells[values + k]!;
        }
      });
    return points;
  }
}
