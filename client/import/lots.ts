import { emptyPoints, type Points } from "../../wire/point.ts";

/** How much one request carries: points, keys, and characters of keys. */
const limits = { points: 25_000, keys: 2_000, text: 200_000 };

/** Gathers points, one at a time, into lots that one request can carry. */
export class Lots {
  #keys = new Map<string, number>();
  #text = 0;
  #points = emptyPoints([], limits.points);
  #count = 0;

  /** Adds a point; returns the lot before it where that is full. */
  add(key: string, step: number, time: number, value: number): Points | undefined {
    const isNew = !this.#keys.has(key);
    const isFull =
      this.#count >= limits.points ||
      (isNew && (this.#keys.size >= limits.keys || this.#text + key.length > limits.text));
    const full = isFull ? this.take() : undefined;
    let k = this.#keys.get(key);
    if (k === undefined) {
      this.#keys.set(key, (k = this.#keys.size));
      this.#text += key.length;
    }
    const i = this.#count++;
    this.#points.key[i] = k;
    this.#points.step[i] = step;
    this.#points.time[i] = time;
    this.#points.value[i] = value;
    return full;
  }

  /** Takes what there is by now. */
  take(): Points | undefined {
    const n = this.#count;
    if (n === 0) return undefined;
    const { key, step, time, value } = this.#points;
    const lot = {
      keys: [...this.#keys.keys()],
      key: key.slice(0, n),
      step: step.slice(0, n),
      time: time.slice(0, n),
      value: value.slice(0, n),
    };
    this.#keys = new Map();
    this.#text = this.#count = 0;
    return lot;
  }
}
