import type { Table } from "apache-arrow";
import { seededRandom } from "../random.ts";
import { codesOf, columnOf, isNumeric, numbersOf } from "./column.ts";
import { featureOfCodes, featureOfNumbers, type Feature } from "./feature.ts";
import { forestImportance } from "./forest.ts";
import { rankCorrelation, rankCorrelationRatio, ranksOf } from "./rank.ts";

/** How far params go with a result, and how many runs say so. */
export interface Importance {
  /** the runs that have a value, ±Infinity included: all is reckoned by rank */
  runs: number;
  /** the runs left out, because they have no value or NaN */
  missing: number;
  nan: number;
  /** what stands behind `importance`; null below 50 runs or where all have the same value */
  forest: Forest | null;
  /** the most important first: by the forest, or where there is none by the size of the correlation */
  params: ParamImportance[];
}

export interface Forest {
  /** the runs it was grown from: all of them, or 1,000 drawn at random */
  runs: number;
  trees: number;
  /** the share of the variance (of ranks) that it predicts in runs it has not seen: near 0 or below, `importance` says nothing */
  r2: number;
}

export interface ParamImportance {
  /** the column's name, such as `params.lr` */
  param: string;
  /** the runs that have both this param and a value, and how many different values of the param they have */
  n: number;
  values: number;
  /**
   * over those runs: for numbers, booleans and times Spearman's ρ, from −1 to 1; for text the correlation ratio of the
   * ranks, from 0 to 1, without what chance alone would give so many values; NaN where nothing can be said
   */
  correlation: number;
  measure: "spearman" | "correlation ratio";
  /**
   * how much of the variance (of ranks) is lost to the forest when this param is shuffled among runs it has not seen;
   * about 0, or below, for one that does not matter; null where there is no forest
   */
  importance: number | null;
}

const least = 50;
const most = 1000;
const trees = 100;

/**
 * Returns how far each param goes with the values of a column: its rank correlation always, and from 50 runs on its
 * permutation importance in a random forest, which also sees what is not monotone and what works only together. Neither
 * says what causes what; of two params that go together the forest credits each with a part. The values are taken by
 * rank, so that one run that diverged does not decide. A run that lacks a param is left out of its correlation; in the
 * forest, lacking it is a value. `params` names columns, and defaults to all `params.` columns that vary.
 * The same seed gives the same forest, whatever order the runs are in where the table has their ids.
 */
export function importance(
  runs: Table,
  { of, params, seed = 1 }: { of: string; params?: readonly string[]; seed?: number },
): Importance {
  const { values, missing } = numbersOf(runs, of);
  const rows = rowsInOrder(runs).filter((row) => !missing[row] && !Number.isNaN(values[row]));
  const result = pick(values, rows);
  const ranks = ranksOf(result);
  const names = params ?? paramsOf(runs);
  const columns = names.map((name) => paramOf(runs, name, rows));
  const forest = forestOf(columns, result, seed);
  const absent = missing.reduce((sum, one) => sum + one, 0);
  return {
    runs: rows.length,
    missing: absent,
    nan: runs.numRows - rows.length - absent,
    forest: forest && { runs: forest.runs, trees, r2: forest.r2 },
    params: columns
      .map((column, c): ParamImportance => {
        const { name: param, measure } = column;
        const known = knownOf(column);
        return {
          param,
          n: known.length,
          values: new Set(pick(column.values, known)).size,
          correlation: correlationOf(column, known, result, ranks),
          measure,
          importance: forest ? forest.importance[c]! : null,
        };
      })
      .sort((a, b) => weightOf(b) - weightOf(a)),
  };
}

const weightOf = ({ importance, correlation }: ParamImportance): number =>
  importance ?? (Math.abs(correlation) || 0);

/** A param by row of those asked about: numbers (NaN where missing), or codes of text. */
type Param =
  | { name: string; measure: "spearman"; values: Float64Array }
  | { name: string; measure: "correlation ratio"; values: Uint32Array; missing: number };

function paramOf(runs: Table, name: string, rows: Uint32Array): Param {
  if (isNumeric(columnOf(runs, name))) {
    const { values, missing } = numbersOf(runs, name);
    for (let i = 0; i < values.length; i++) values[i] = missing[i] ? NaN : values[i]! + 0;
    return { name, measure: "spearman", values: pick(values, rows) };
  }
  const { codes, values } = codesOf(runs, name);
  return {
    name,
    measure: "correlation ratio",
    values: pick(codes, rows),
    missing: values.indexOf(null),
  };
}

function paramsOf(runs: Table): string[] {
  const names = runs.schema.fields.map(({ name }) => name);
  return names.filter(
    (name) => name.startsWith("params.") && codesOf(runs, name, { most: 1 }).values.length > 1,
  );
}

/** The places at which a param has a value. */
const knownOf = (param: Param): Uint32Array =>
  Uint32Array.from(param.values.keys()).filter((i) =>
    param.measure === "spearman"
      ? !Number.isNaN(param.values[i])
      : param.values[i] !== param.missing,
  );

/** The correlation over the known places; `ranks` are those of the whole result, which most params have a value for. */
function correlationOf(
  param: Param,
  known: Uint32Array,
  result: Float64Array,
  ranks: Float64Array,
): number {
  const theirs = known.length === ranks.length ? ranks : ranksOf(pick(result, known));
  return param.measure === "spearman"
    ? rankCorrelation(ranksOf(pick(param.values, known)), theirs)
    : rankCorrelationRatio(pick(param.values, known), theirs);
}

function forestOf(params: Param[], result: Float64Array, seed: number) {
  if (result.length < least || params.length === 0) return null;
  const sample = sampleOf(result.length, seed);
  const target = ranksOf(pick(result, sample));
  if (target.every((rank) => rank === target[0])) return null;
  const features = params.map((param): Feature =>
    param.measure === "spearman"
      ? featureOfNumbers(pick(param.values, sample))
      : featureOfCodes(pick(param.values, sample), param.missing),
  );
  return { runs: sample.length, ...forestImportance(features, target, { trees, seed }) };
}

/** All places, or a thousand of them at random. */
function sampleOf(length: number, seed: number): Uint32Array {
  const places = Uint32Array.from({ length }, (_, i) => i);
  if (length <= most) return places;
  const random = seededRandom(~seed);
  for (let i = 0; i < most; i++) {
    const j = i + Math.floor(random() * (length - i));
    const place = places[i]!;
    places[i] = places[j]!;
    places[j] = place;
  }
  return places.subarray(0, most);
}

/** The rows in the order of the runs' ids where there are any. */
function rowsInOrder(runs: Table): Uint32Array {
  const rows = Uint32Array.from({ length: runs.numRows }, (_, i) => i);
  if (!runs.getChild("id")) return rows;
  const { codes, values } = codesOf(runs, "id");
  const ids = values.map(String);
  return rows.sort((a, b) => {
    const [x, y] = [ids[codes[a]!]!, ids[codes[b]!]!];
    return x < y ? -1 : x > y ? 1 : a - b;
  });
}

function pick<T extends Float64Array | Uint32Array>(values: T, places: Uint32Array): T {
  const picked = values.slice(0, places.length) as T;
  for (let i = 0; i < places.length; i++) picked[i] = values[places[i]!]!;
  return picked;
}
