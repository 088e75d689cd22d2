import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Comparison, Filter } from "../../wire/filter.ts";
import {
  filterFromMlflow,
  parseMlflowOrder,
  parseMlflowWhere,
  type MlflowEntity,
  type MlflowField,
} from "../../wire/mlflow-query.ts";
import { parseWhere } from "../../wire/query.ts";

const file = join(import.meta.dirname, "../files/mlflow/filter-vectors.txt");
const entities: Record<string, MlflowEntity> = {
  runs: "run",
  order_by: "run",
  experiments: "experiment",
  "registered models": "registered model",
  "model versions": "model version",
  traces: "trace",
  "logged models (generic parser)": "logged model",
};

interface Vector {
  entity: MlflowEntity;
  isOrder: boolean;
  input: string;
  isRefused: boolean;
  outcome: string;
}

const vectors: Vector[] = readFileSync(file, "utf8")
  .split(/^--- /m)
  .slice(1)
  .flatMap((block) => {
    const [title, ...lines] = block.split("\n");
    const isOrder = title!.endsWith("order_by");
    const entity = entities[title!.replace(/(?<=.) order_by/, "")]!;
    return lines.filter(Boolean).map((line): Vector => {
      const isRefused = line.startsWith("ERR");
      const [, input, outcome] =
        /^(.*?)(?:  =>  | (?=\('\w+', ?'[^']+', (?:True|False)\)$))(.*)$/.exec(line.slice(5))!;
      return { entity, isOrder, input: input!, isRefused, outcome: outcome! };
    });
  });

test("there are 238 vectors", () => {
  expect(vectors.length).toBe(238);
});

test.for(vectors.map((vector) => [vector.entity, vector.input, vector] as const))(
  "%s: %s is what it is to MLflow",
  ([entity, input, { isOrder, isRefused, outcome }]) => {
    const read = () =>
      isOrder
        ? orderText(parseMlflowOrder(entity, input))
        : clausesText(parseMlflowWhere(entity, input));
    if (!isRefused) expect(read()).toEqual(pythonValue(outcome));
    else expect(messageOf(read).slice(0, outcome.length)).toBe(outcome);
  },
);

/** What MLflow takes, our own language takes, and means the same by it. */
test.for(
  vectors.filter(({ entity, isOrder, isRefused }) => entity === "run" && !isOrder && !isRefused),
)("our language takes $input, too", ({ input }) => {
  if (input.includes("DEF")) return; // of ids MLflow drops those that are not in lower case
  const filter = parseWhere(input);
  const clauses = filter.type === "and" ? filter.filters : [filter];
  const theirs = (filterFromMlflow(parseMlflowWhere("run", input)) as { filters: Comparison[] })
    .filters;
  const essence = (part: Filter) => {
    const { field, operator, values } = part as Comparison;
    return { kind: field.kind, key: field.key, operator, values };
  };
  expect(clauses.map(essence)).toEqual(theirs.map(essence));
});

test("a filter of a hundred thousand characters is read or refused at once", () => {
  for (const text of [
    "(".repeat(100_000),
    "a.".repeat(50_000),
    "'".repeat(99_999),
    "metrics.a > 1 ".repeat(7_000),
    "-".repeat(99_999),
  ]) {
    const begin = performance.now();
    messageOf(() => parseMlflowWhere("run", text));
    expect(performance.now() - begin).toBeLessThan(500);
  }
});

function messageOf(read: () => unknown): string {
  try {
    return `nothing was refused: ${JSON.stringify(read())}`;
  } catch (error) {
    return (error as Error).message;
  }
}

const clausesText = (filter: Filter<MlflowField>) =>
  (filter as { filters: Comparison<MlflowField>[] }).filters.map(({ field, operator, values }) => [
    field.kind,
    field.key,
    operator === "~" ? "RLIKE" : operator,
    values.length === 0 ? null : operator.endsWith("IN") ? values : values[0],
  ]);

const orderText = ({ field, descending }: ReturnType<typeof parseMlflowOrder>) => [
  field.kind,
  field.key,
  !descending,
];

/** Reads Python's notation; numbers that MLflow leaves as text are numbers to us, and operators are in capitals. */
function pythonValue(text: string): unknown {
  const json = text
    .match(/'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|None|True|False|[\d.]+|[()[\],]/g)!
    .map((token) => {
      if (/^['"]/.test(token)) return JSON.stringify(token.slice(1, -1).replaceAll("\\\\", "\\"));
      return (
        (
          { "(": "[", ")": "]", None: "null", True: "true", False: "false" } as Record<
            string,
            string
          >
        )[token] ?? token
      );
    })
    .join("");
  const value = JSON.parse(json) as unknown[];
  if (typeof value[0] === "string") return value.length === 2 ? ["attribute", ...value] : value; // a model's order names no entity
  return (value as [string, string, string, unknown][]).map(([kind, key, operator, v]) => {
    const isNumeric = kind === "metric" || /time|Created/.test(key);
    return [kind, key, operator.toUpperCase(), isNumeric && typeof v === "string" ? Number(v) : v];
  });
}
