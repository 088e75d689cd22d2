import { Bool, Float64, Table, Utf8, vectorFromArray, type Vector } from "apache-arrow";
import { readFileSync } from "node:fs";
import { join } from "node:path";

type Cell = string | number | boolean | null;

/** Returns a table of runs with a column per field, typed by what is there, as runs.arrow has it. */
export const runsOf = (columns: Record<string, Cell[]>): Table =>
  new Table(
    Object.fromEntries(Object.entries(columns).map(([name, cells]) => [name, columnOf(cells)])),
  );

function columnOf(cells: Cell[]): Vector {
  const types = new Set(cells.filter((cell) => cell !== null).map((cell) => typeof cell));
  if (types.has("number") && types.size === 1) return vectorFromArray(cells, new Float64());
  if (types.has("boolean") && types.size === 1) return vectorFromArray(cells, new Bool());
  if (types.size === 0) return vectorFromArray(cells, new Float64());
  return vectorFromArray(
    cells.map((cell) => (cell === null ? null : String(cell))),
    new Utf8(),
  );
}

interface Sample {
  values: number[];
  low: number;
  high: number;
}

/** What SciPy, mpmath and scikit-learn say; test/files/stats/reference.py wrote it. */
export const reference: {
  normal: { quantiles: [number, number][]; probabilities: [number, number][] };
  student: [p: number, freedom: number, t: number][];
  beta: [x: number, a: number, b: number, value: number][];
  moments: { values: number[]; mean: number; sd: number }[];
  intervals: (Sample & { level: number })[];
  bootstraps: (Sample & {
    name: string;
    statistic: "mean" | "median";
    method: "bca" | "percentile";
    sd: number;
  })[];
  correlations: { a: number[]; b: number[]; rho: number }[];
  ranks: { values: number[]; ranks: number[] }[];
  ratios: { codes: number[]; values: number[]; epsilon: number }[];
  forest: {
    columns: Record<string, Cell[]>;
    loss: number[];
    importance: Record<string, number>;
    r2: number;
  };
} = JSON.parse(readFileSync(join(import.meta.dirname, "../../files/stats/reference.json"), "utf8"));

/** How far a value is from what it should be, in parts of it. */
export const offBy = (value: number, expected: number): number =>
  Object.is(value, expected) || value === expected
    ? 0
    : Math.abs(value - expected) / Math.abs(expected || 1);
