import type { Points } from "./point.ts";

/** What is known of one metric of one run without reading its points. */
export interface Summary {
  /** the value at the largest step; of equal steps, at the latest time, then the largest value, NaN above all */
  last: number;
  /** the step and time of `last` */
  step: number;
  time: number;
  /** the least and greatest values that are numbers, each with the first step it was reached at; NaN if there is none */
  min: number;
  minStep: number;
  max: number;
  maxStep: number;
  /** the sum of the values that are numbers; the mean is sum / (count − nan) */
  sum: number;
  count: number;
  /** how many of the values are NaN */
  nan: number;
}

/** The mean of the values that are numbers; NaN if there is none. */
export const meanOf = ({ sum, count, nan }: Summary): number =>
  count > nan ? sum / (count - nan) : NaN;

/** Returns the summary of each key's points, in any order of points. */
export function summarize({ keys, key, step, time, value }: Points): Map<string, Summary> {
  const byKey: (Summary | undefined)[] = new Array(keys.length);
  for (let i = 0; i < key.length; i++) {
    const k = key[i]!;
    const v = value[i]!;
    const s = step[i]!;
    const one = {
      last: v,
      step: s,
      time: time[i]!,
      min: v,
      minStep: s,
      max: v,
      maxStep: s,
      sum: v,
      count: 1,
      nan: 0,
    };
    if (Number.isNaN(v)) Object.assign(one, { minStep: NaN, maxStep: NaN, sum: 0, nan: 1 });
    const before = byKey[k];
    byKey[k] = before ? mergeSummaries(before, one) : one;
  }
  return new Map(keys.flatMap((name, k) => (byKey[k] ? [[name, byKey[k]]] : [])));
}

/** Returns the summary of the points behind two summaries; `worker/db/summaries.ts` says the same in SQL. */
export function mergeSummaries(a: Summary, b: Summary): Summary {
  const last = isLater(b, a) ? b : a;
  const min = isBetter(b.min, b.minStep, a.min, a.minStep) ? b : a;
  const max = isBetter(-b.max, b.maxStep, -a.max, a.maxStep) ? b : a;
  return {
    last: last.last,
    step: last.step,
    time: last.time,
    min: min.min,
    minStep: min.minStep,
    max: max.max,
    maxStep: max.maxStep,
    sum: a.sum + b.sum,
    count: a.count + b.count,
    nan: a.nan + b.nan,
  };
}

const isLater = (b: Summary, a: Summary): boolean =>
  b.step !== a.step
    ? b.step > a.step
    : b.time !== a.time
      ? b.time > a.time
      : Number.isNaN(b.last) || isLess(a.last, b.last);

const isBetter = (b: number, bStep: number, a: number, aStep: number): boolean =>
  Number.isNaN(a) || b < a || (b === a && (bStep < aStep || (bStep === aStep && isLess(b, a))));

/** Whether a is less than b, and −0 less than 0: the order of arrival decides nothing. */
const isLess = (a: number, b: number): boolean => a < b || (a === b && Object.is(a, -0));
