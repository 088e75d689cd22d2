import { headerSize, kinds } from "./journal/journal.ts";

const headerCells = headerSize / 8;

/**
 * Rows of logged values, in the very bytes that a journal keeps (`visitRows` there reads them). A loop logs the same
 * keys again and again, so a row costs a comparison and a store for each key; taking the record costs nothing.
 */
export class Tape {
  #cells = new Float64Array(8192);
  #used = headerCells;
  #shape: readonly string[] = [];
  #shapeNumber = -1;
  #lastStep = NaN;
  #lastTime = NaN;
  readonly #shapes = new Map<string, number>();
  readonly #declare: (keys: string[]) => void;

  /** `declare` is called with the keys of each new shape, before any row of it is taken. */
  constructor(declare: (keys: string[]) => void) {
    this.#declare = declare;
  }

  get isEmpty(): boolean {
    return this.#used === headerCells;
  }

  /** Adds a row, if it has the shape of the last one and there is room; false where `addRow` must be asked. */
  repeat(values: Record<string, unknown>, step: number, time: number): boolean {
    const shape = this.#shape;
    const cells = this.#cells;
    const isNext = time === this.#lastTime && step === this.#lastStep + 1;
    let at = this.#used + (isNext ? 1 : 3);
    if (at + shape.length > cells.length) return false;
    let i = 0;
    for (const key in values) {
      const value = values[key];
      if (shape[i] !== key || typeof value !== "number") return false;
      cells[at++] = value;
      i++;
    }
    if (i !== shape.length || i === 0) return false;
    if (isNext) cells[this.#used] = -1 - this.#shapeNumber;
    else {
      cells[this.#used] = this.#shapeNumber;
      cells[this.#used + 1] = step;
      cells[this.#used + 2] = this.#lastTime = time;
    }
    this.#lastStep = step;
    this.#used = at;
    return true;
  }

  /** Adds a row of any shape; false where there is no room before `take`. */
  addRow(keys: string[], values: number[], step: number, time: number): boolean {
    const size = 3 + keys.length;
    if (this.#used + size > this.#cells.length) {
      if (!this.isEmpty) return false;
      this.#cells = new Float64Array(headerCells + 2 * size);
    }
    const name = JSON.stringify(keys);
    let number = this.#shapes.get(name);
    if (number === undefined) {
      this.#shapes.set(name, (number = this.#shapes.size));
      this.#declare(keys);
    }
    this.#shape = keys;
    this.#shapeNumber = number;
    this.#cells.set([number, step, time], this.#used);
    this.#cells.set(values, this.#used + 3);
    this.#used += size;
    this.#lastStep = step;
    this.#lastTime = time;
    return true;
  }

  /** Returns the rows as one record and starts anew; the bytes hold only until the next row. */
  take(): Uint8Array {
    const header = new Uint32Array(this.#cells.buffer, 0, 2);
    header[0] = kinds.cells;
    header[1] = this.#used * 8 - headerSize;
    const record = new Uint8Array(this.#cells.buffer, 0, this.#used * 8);
    this.#used = headerCells;
    this.#lastTime = NaN; // a record begins with a whole row
    return record;
  }
}
