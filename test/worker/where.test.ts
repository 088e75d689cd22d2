import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { columnFromValues, type ColumnTable } from "../../wire/columns.ts";
import { flattenParams } from "../../wire/config.ts";
import { fieldName, plainTypeOf, type Field } from "../../wire/field.ts";
import {
  fieldsOf,
  formatWhere,
  type Filter,
  type Operator,
  type Value,
} from "../../wire/filter.ts";
import { toJSON } from "../../wire/json.ts";
import {
  fieldFromMlflow,
  filterFromMlflow,
  parseMlflowOrder,
  parseMlflowWhere,
} from "../../wire/mlflow-query.ts";
import type { OrderTerm } from "../../wire/order.ts";
import { predicate, rowsWhere } from "../../wire/predicate.ts";
import { parseWhere } from "../../wire/query.ts";
import { runColumns } from "../../wire/run-columns.ts";
import type { Run } from "../../wire/run.ts";
import { sortedRows } from "../../wire/sort.ts";
import { boundTo } from "../../worker/db/bound.ts";
import { orderBySQL } from "../../worker/db/order.ts";
import { sourceOf, valueFromJSON } from "../../worker/db/run-fields.ts";
import { partOf, summariesFromText } from "../../worker/db/summaries.ts";
import { whereSQL } from "../../worker/db/where.ts";
import { freshStores } from "./worker.ts";

freshStores();

/** Sets of runs, each with 25 filters; a thousand take minutes. */
const numRuns = 12;

const pick = fc.constantFrom;
const keys = [
  "lr",
  "val/acc",
  "a.b",
  "f1",
  "f1.max",
  "x y",
  'q"uote',
  "back\\slash",
  "it's `x`",
  "日本",
  "😀",
  "$.x",
  "__proto__",
  "k[0]",
];
const numbers = [0, -0, 1, 5, 0.1, -2.5, 1e-5, 1e21, 123456789.123, 0.1 + 0.2, Infinity, -Infinity];
const texts = [
  "0.1",
  "1e-05",
  "nan",
  "-inf",
  " 5 ",
  "5.",
  "+1",
  "1e",
  "0x1",
  "abc",
  "ABC",
  "aBc",
  "true",
  "False",
  "é",
  "e\u0301",
  "É",
  "😀",
  "\uFFFD",
  "\uE000",
  "",
  "a_b",
  "a%b",
  "it's",
  'say "hi"',
  "back\\",
  "NaN",
  "Infinity",
];
const patterns = [
  "%",
  "",
  "_",
  "a%",
  "%c",
  "%b%",
  "a%c",
  "a_c",
  "%_b%",
  "%a%b%",
  "_%",
  "0%",
  "É%",
  "%😀",
  "__",
  "%\u0301",
  "1%",
];
const regexes = ["^a", "[0-9]", "(?i)abc$", "^$", "é|😀"];

interface TestRun extends Run {
  /** params by the text they were logged with */
  raw: Record<string, string>;
}

const text = fc.oneof(
  pick(...texts),
  fc.string({ unit: "grapheme", maxLength: 4 }),
  fc.string({ maxLength: 3 }),
);
const number = fc.oneof(pick(...numbers), fc.double({ noNaN: true }));
const param = fc.oneof(
  number,
  pick(NaN),
  text,
  fc.boolean(),
  fc.constant(null),
  pick("1e-05", "5e1", "1.50").map(rawNumber),
);
const summary = fc
  .record({
    last: pick(...numbers, NaN),
    min: pick(...numbers, NaN),
    max: pick(...numbers),
    sum: fc.oneof(pick(0.3, 1, NaN, Infinity), fc.double({ noNaN: true })),
    nan: pick(0, 1, 3),
    step: pick(0, 7),
  })
  .map((s) => ({ ...s, time: 5, minStep: 1, maxStep: 2, count: 3 }));
const objectOf = <T>(value: fc.Arbitrary<T>) =>
  fc
    .array(fc.tuple(pick(...keys), value), { maxLength: 5 })
    .map((entries) => Object.fromEntries(entries));

const run = fc.record({
  name: text,
  state: pick("running", "finished", "failed"),
  params: objectOf(param),
  tags: objectOf(text),
  metrics: objectOf(summary),
  moreMetrics: fc.boolean(),
  note: pick("", "abc"),
  parent: pick(null, "p1"),
  started: pick(1000, 2000, 1_795_432_000_000),
  length: pick(null, 0, 1500),
});

/** A number as it was logged, where JavaScript would print it otherwise. */
function rawNumber(logged: string) {
  return { logged };
}

test("SQL, the predicate over columns and a plain reading of a filter find the same runs", async () => {
  let count = 0;
  let exact = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(run, { minLength: 4, maxLength: 10 }),
      fc.array(filterOf(leaf), { minLength: 25, maxLength: 25 }),
      async (records, filters) => {
        const runs = await store(records);
        const columns = runColumns(runs, { experimentName: () => "É-1" });
        for (const filter of filters) {
          const expected = idsOf(runs, (run) => holds(filter, run));
          const where = formatWhere(filter);
          expect(
            idsOf(runs, (_, i) => predicate(parseWhere(where), columns)[i] === 1),
            where,
          ).toEqual(expected);
          const found = await search(filter);
          if (found.isExact) expect(found.ids, where).toEqual(expected);
          else expect(found.ids, where).toEqual(expect.arrayContaining(expected));
          expect(found.finished, where).toEqual(expected);
          count++;
          exact += Number(found.isExact);
        }
      },
    ),
    { numRuns },
  );
  expect(exact / count).toBeGreaterThan(0.3);
}, 600_000);

test("params compare by their raw text to MLflow's filters, and metrics by their whole key", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(run, { minLength: 4, maxLength: 8 }),
      fc.array(filterOf(strictLeaf), { minLength: 20, maxLength: 20 }),
      async (records, filters) => {
        const runs = await store(records);
        for (const filter of filters) {
          const expected = idsOf(runs, (run) => holds(filter, run));
          const found = await search(filter);
          if (found.isExact) expect(found.ids, formatWhere(filter)).toEqual(expected);
          expect(found.finished, formatWhere(filter)).toEqual(expected);
        }
      },
    ),
    { numRuns: Math.ceil(numRuns / 3) },
  );
}, 600_000);

test("SQL and the columns have the same order", async () => {
  const order = fc.array(
    fc.record({
      field: fc.oneof(
        keyed,
        pick<Field>(...["name", "started", "ended", "status", "parent"].map(plain)),
      ),
      descending: fc.boolean(),
    }),
    { minLength: 1, maxLength: 2 },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(run, { minLength: 6, maxLength: 12 }),
      fc.array(order, { minLength: 20, maxLength: 20 }),
      async (records, orders) => {
        const runs = await store(records);
        const columns = runColumns(runs, { experimentName: () => "É-1" });
        for (const terms of orders) {
          if (terms.some(({ field }) => field.key.endsWith(".mean"))) continue; // the last digit may differ
          const expected = runs.toSorted((a, b) => compareRuns(a, b, terms)).map(({ id }) => id);
          const bound = boundTo("?1");
          const sql = `SELECT id FROM runs WHERE ${whereSQL({ type: "and", filters: [] }, bound).sql} ORDER BY ${orderBySQL(terms, bound)}, id`;
          const { results } = await env.DB.prepare(sql).bind(bound.text()).all<{ id: string }>();
          const names = terms.map(({ field }) => fieldName(field)).join();
          expect(
            Array.from(sortedRows(terms, columns), (row) => runs[row]!.id),
            names,
          ).toEqual(expected);
          expect(
            results.map(({ id }) => id),
            names,
          ).toEqual(expected);
        }
      },
    ),
    { numRuns: Math.ceil(numRuns / 3) },
  );
}, 600_000);

test.for([
  ["a chain of AND", Array(1000).fill("params.lr != 'x'").join(" AND ")],
  ["a chain of OR", Array(1000).fill("metrics.loss.mean > 0.5").join(" OR ")],
  [
    "the longest clauses",
    Array(60)
      .fill(`params.\`${"k".repeat(200)}"\\\` NOT IN (1, 'a', true)`)
      .join(" AND "),
  ],
  [
    "the longest metrics",
    Array(60)
      .fill(`metrics.\`${"k".repeat(200)}"\\.min\` > 1`)
      .join(" OR "),
  ],
  ["parentheses", `${"(NOT name = 'a' AND (id = 'b' OR ".repeat(45)}name = 'c'${"))".repeat(45)}`],
  ["negations", `${"NOT ".repeat(100)}name = 'a'`],
  ["a list of 10,000", `id IN (${Array.from({ length: 10_000 }, (_, i) => `'${i}'`).join()})`],
  ["a search", Array(100).fill("'é'").join(" OR ")],
] as const)("the database takes %s", async ([, where]) => {
  const runs = await store(fc.sample(run, { numRuns: 5, seed: 1 }));
  const filter = parseWhere(where);
  expect(whereSQL(filter, boundTo("?1")).sql.length).toBeLessThan(90_000);
  expect((await search(filter)).finished).toEqual(idsOf(runs, (run) => holds(filter, run)));
});

test.for([40, 90])("a chain of %d clauses is said whole", async (length) => {
  const clauses = Array.from({ length }, (_, i) => `params.p${i} > ${i}`);
  await search(parseWhere(clauses.join(" OR ")));
  expect(whereSQL(parseWhere(clauses.join(" OR ")), boundTo("?1")).isExact).toBe(true);
});

test.for([
  ["artifact_uri LIKE 'x%'", "runs are not searched by artifact_uri"],
  ["dataset.name = 'x'", "runs are not searched by datasets.name"],
])("%s is refused", ([where, message]) => {
  expect(() => whereSQL(filterFromMlflow(parseMlflowWhere("run", where!)), boundTo("?1"))).toThrow(
    message,
  );
});

test("MLflow's orders go by the raw text of params", async () => {
  const params = ["1e-05", "0.1", "10", "9"].map(rawNumber);
  const blank = fc.sample(run, { numRuns: 1, seed: 1 })[0]!;
  await store(params.map((lr) => ({ ...blank, params: { lr } })));
  const { field, descending } = parseMlflowOrder("run", "params.lr DESC");
  const bound = boundTo("?1");
  const sql = `SELECT params ->> 'lr' AS lr FROM runs WHERE ${bound.named} ORDER BY ${orderBySQL([{ field: fieldFromMlflow(field), descending }], bound)}`;
  const { results } = await env.DB.prepare(sql).bind(bound.text()).all();
  expect(results.map(({ lr }) => lr)).toEqual([9, 1e-5, 10, 0.1]);
});

test("where a run's files are is asked as the door says it", () => {
  const bound = boundTo("?1");
  const filter = filterFromMlflow(parseMlflowWhere("run", "artifact_uri = 'f:/1'"));
  const { sql } = whereSQL(filter, bound, { artifactURI: "('f:/' || runs.id)" });
  expect([sql, bound.text()]).toEqual([
    "(?1 IS NOT NULL AND (('f:/' || runs.id) = (?1 ->> '$[0]')))",
    '["f:/1"]',
  ]);
});

// What is stored

async function store(records: unknown[]): Promise<TestRun[]> {
  const statements = [
    env.DB.prepare("DELETE FROM runs"),
    env.DB.prepare("DELETE FROM more_metrics"),
    env.DB.prepare(
      `INSERT OR IGNORE INTO experiments (workspace, id, name, hypothesis, direction, conclusion, note, tags, created, digest)
       VALUES ('default', 'e1', 'É-1', '', 'min', '', '', jsonb('{}'), 0, '')`,
    ),
  ];
  const runs = (records as Stored[]).map((record, i) => {
    const own = record.moreMetrics ? {} : record.metrics;
    const id = `0a${i.toString(16)}`;
    const ended = record.length === null ? null : record.started + record.length;
    const params = toJSON(
      Object.fromEntries(
        Object.entries(record.params).map(([key, v]) => [
          key,
          isRaw(v) ? JSON.rawJSON(v.logged) : v,
        ]),
      ),
    );
    statements.push(
      env.DB.prepare(
        `INSERT INTO runs (no, workspace, id, experiment, number, name, state, params, tags, note, parent, source, metrics, started, ended, heartbeat, touched, digest)
         VALUES (?, 'default', ?, 'e1', ?, ?, ?, jsonb(?), jsonb(?), ?, ?, '', jsonb(?), ?, ?, ?, 0, '')`,
      ).bind(
        i + 1,
        id,
        i + 1,
        record.name,
        record.state,
        params,
        JSON.stringify(record.tags),
        record.note,
        record.parent,
        metricsText(own),
        record.started,
        ended,
        record.started + 500,
      ),
    );
    const parts = Map.groupBy(Object.entries(record.moreMetrics ? record.metrics : {}), ([key]) =>
      partOf(key),
    );
    for (const [part, metrics] of parts)
      statements.push(
        env.DB.prepare(
          "INSERT INTO more_metrics (workspace, run, part, metrics) VALUES ('default', ?, ?, jsonb(?))",
        ).bind(i + 1, part, metricsText(Object.fromEntries(metrics))),
      );
    const raw = Object.entries(
      JSON.parse(params, (_, v: unknown, context?: { source?: string }) =>
        typeof v === "number" || typeof v === "boolean" ? context!.source! : v,
      ) as Record<string, string | null>,
    );
    return {
      ...record,
      id,
      experiment: "e1",
      number: i + 1,
      params: flattenParams(JSON.parse(params)),
      raw: Object.fromEntries(raw.filter(([, v]) => v !== null)) as Record<string, string>,
      metrics: summariesFromText(metricsText(record.metrics)),
      source: "",
      error: "",
      ended,
      heartbeat: record.started + 500,
      points: 0,
      lines: 0,
      deleted: null,
      stalled: record.state === "running",
    } as unknown as TestRun;
  });
  await env.DB.batch(statements);
  return runs;
}

interface Stored {
  name: string;
  state: string;
  params: Record<string, unknown>;
  tags: Record<string, string>;
  metrics: Record<string, object>;
  moreMetrics: boolean;
  note: string;
  parent: string | null;
  started: number;
  length: number | null;
}

const isRaw = (v: unknown): v is { logged: string } =>
  typeof v === "object" && v !== null && "logged" in v;

/** As worker/db/summaries.ts stores them. */
const metricsText = (metrics: object) =>
  JSON.stringify(metrics, (_, v: unknown) => {
    if (typeof v !== "number" || (Number.isFinite(v) && !Object.is(v, -0))) return v;
    return Number.isNaN(v) ? null : JSON.rawJSON(v === 0 ? "-0.0" : v > 0 ? "1e999" : "-1e999");
  });

/** What the statement finds, and what of that is left by the predicate over the filter's fields. */
async function search(filter: Filter) {
  const bound = boundTo("?1");
  const { sql, isExact } = whereSQL(filter, bound);
  const { fields } = fieldsOf(filter);
  const sources = fields.map((field, i) => `, ${sourceOf(field, bound).json} AS f${i}`).join("");
  const { results } = await env.DB.prepare(
    `SELECT id, name, json(tags) AS tags${sources} FROM runs WHERE ${sql} ORDER BY no`,
  )
    .bind(bound.text())
    .all<Record<string, string | null>>();
  const tags = results.map((row) => JSON.parse(row["tags"]!) as Record<string, string>);
  const table: ColumnTable = {
    rows: results.length,
    column(field) {
      const i = fields.findIndex((other) => fieldName(other) === fieldName(field));
      if (i >= 0)
        return columnFromValues(results.map((row) => valueFromJSON(field, row[`f${i}`]!)));
      if (field.kind === "tags") return columnFromValues(tags.map((own) => member(own, field.key)));
      return columnFromValues(results.map((row) => row[field.key]));
    },
    tags: () => new Set(tags.flatMap(Object.keys)),
  };
  return {
    isExact,
    ids: results.map((row) => row["id"]!),
    finished: Array.from(rowsWhere(filter, table), (row) => results[row]!["id"]!),
  };
}

const idsOf = (runs: TestRun[], test: (run: TestRun, i: number) => boolean) =>
  runs.filter(test).map(({ id }) => id);

// What is asked

const plain = (key: string): Field => ({ kind: "plain", key });
const statistic = pick("", "", ".max", ".mean", ".nan", ".last", ".step");
const keyed = fc.oneof(
  pick(...keys).map((key): Field => ({ kind: "params", key })),
  pick(...keys).map((key): Field => ({ kind: "tags", key })),
  fc
    .tuple(pick(...keys), statistic)
    .map(([key, of]): Field => ({ kind: "metrics", key: key + of })),
);
const plains = pick(
  ...[
    "id",
    "name",
    "number",
    "state",
    "stalled",
    "started",
    "ended",
    "duration",
    "parent",
    "experiment",
    "note",
    "status",
  ].map(plain),
);
const literal: fc.Arbitrary<Value> = fc.oneof(
  number,
  text,
  fc.boolean(),
  pick("true", "0.10", "-Infinity", "FINISHED", "running"),
);

const leaf = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .tuple(
        fc.oneof(keyed, keyed, plains),
        fc.infiniteStream(literal),
        operator(),
        pick(...patterns),
        pick(...regexes),
      )
      .map(([field, stream, operator, pattern, regex]) =>
        comparison(field, operator, stream, pattern, regex),
      ),
  },
  { weight: 1, arbitrary: text.map((text): Filter => ({ type: "contains", text, at: 0, to: 0 })) },
);

const strictLeaf = fc
  .tuple(
    fc.oneof(
      pick(...keys).map((key): Field => ({ kind: "params", key, strict: true })),
      pick(...keys, "f1.max").map((key): Field => ({ kind: "metrics", key, strict: true })),
      pick(plain("status"), { kind: "tags", key: "lr" } as Field),
    ),
    pick<Operator>("=", "!=", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL"),
    fc.infiniteStream(fc.oneof(text, pick("1e-05", "0.1", "1", "true"))),
    pick(...patterns),
    number,
  )
  .map(([field, operator, stream, pattern, n]) =>
    field.kind === "metrics" && !operator.startsWith("IS")
      ? comparison(field, operator === "=" ? "<" : "!=", [n][Symbol.iterator](), "", "")
      : comparison(field, operator, stream, pattern, ""),
  );

function operator(): fc.Arbitrary<Operator> {
  return pick<Operator>(
    "=",
    "!=",
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "IN",
    "NOT IN",
    "LIKE",
    "NOT LIKE",
    "ILIKE",
    "NOT ILIKE",
    "~",
    "!~",
    "IS NULL",
    "IS NOT NULL",
    "IS NAN",
    "IS NOT NAN",
  );
}

function comparison(
  field: Field,
  operator: Operator,
  stream: Iterator<Value>,
  pattern: string,
  regex: string,
): Filter {
  const isTimed = ["time", "duration"].includes(plainTypeOf(field) ?? "");
  const next = (): Value => {
    const { value } = stream.next() as { value: Value };
    return isTimed ? (typeof value === "number" ? value : 1000) : value;
  };
  const values: Value[] = operator.startsWith("IS")
    ? []
    : operator.endsWith("LIKE")
      ? [pattern]
      : operator.endsWith("~")
        ? [regex]
        : operator.endsWith("IN")
          ? [next(), next(), next()]
          : [next()];
  return { type: "compare", field, operator, values, at: 0, to: 0 };
}

function filterOf(leaf: fc.Arbitrary<Filter>): fc.Arbitrary<Filter> {
  return fc.letrec<{ filter: Filter }>((tie) => ({
    filter: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      leaf,
      fc.record({
        type: pick("and", "or"),
        filters: fc.array(tie("filter"), { minLength: 2, maxLength: 3 }),
      }),
      fc.record({ type: fc.constant("not"), filter: tie("filter") }),
    ),
  })).filter;
}

// What a filter means, said once more, plainly

function holds(filter: Filter, run: TestRun): boolean {
  if ("filters" in filter)
    return filter.type === "and"
      ? filter.filters.every((part) => holds(part, run))
      : filter.filters.some((part) => holds(part, run));
  if (filter.type === "not") return !holds(filter.filter, run);
  if (filter.type === "contains") {
    const all = [run.name, run.id, ...Object.entries(run.tags).flat()];
    return all.some((one) => small(one).includes(small(filter.text)));
  }
  const value = valueOf(run, filter.field);
  if (value === undefined) return filter.operator === "IS NULL";
  const { operator, values } = filter;
  const one = values[0]!;
  switch (operator) {
    case "IS NULL":
      return false;
    case "IS NOT NULL":
      return true;
    case "IS NAN":
      return Object.is(value, NaN);
    case "IS NOT NAN":
      return !Object.is(value, NaN);
    case "=":
      return isEqual(value, one);
    case "!=":
      return !isEqual(value, one);
    case "IN":
      return values.some((other) => isEqual(value, other));
    case "NOT IN":
      return !values.some((other) => isEqual(value, other));
    case "LIKE":
      return like(String(value), String(one));
    case "NOT LIKE":
      return !like(String(value), String(one));
    case "ILIKE":
      return like(small(String(value)), small(String(one)));
    case "NOT ILIKE":
      return !like(small(String(value)), small(String(one)));
    case "~":
      return new RegExp(
        String(one).replace("(?i)", ""),
        String(one).startsWith("(?i)") ? "iu" : "u",
      ).test(String(value));
    case "!~":
      return !new RegExp(
        String(one).replace("(?i)", ""),
        String(one).startsWith("(?i)") ? "iu" : "u",
      ).test(String(value));
    default: {
      if (typeof value === "boolean" || typeof one === "boolean") return false;
      const [a, b] =
        typeof value === "string" && typeof one === "string"
          ? [bytesOrder(value, one), 0]
          : [asNumber(value), asNumber(one)];
      return ({ "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b } as Record<string, boolean>)[
        operator
      ]!;
    }
  }
}

function isEqual(value: Value, other: Value): boolean {
  if (typeof value === typeof other) return value === other;
  if (typeof value === "boolean" || typeof other === "boolean")
    return (
      [value, other].every((v) => typeof v !== "number") &&
      String(value).toLowerCase() === String(other).toLowerCase()
    );
  return asNumber(value) === asNumber(other);
}

/** NaN is what is no number, too: neither compares. */
function asNumber(value: Value): number {
  if (typeof value === "number") return value;
  const trimmed = String(value).trim();
  if (/^[+-]?inf(inity)?$/i.test(trimmed)) return trimmed.startsWith("-") ? -Infinity : Infinity;
  return /^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(trimmed) ? Number(trimmed) : NaN;
}

const small = (s: string) => s.replace(/[A-Z]/g, (c) => c.toLowerCase());
const like = (s: string, pattern: string) =>
  new RegExp(
    `^${pattern
      .replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")
      .replaceAll("%", ".*")
      .replaceAll("_", ".")}$`,
    "su",
  ).test(s);
const encoder = new TextEncoder();
function bytesOrder(a: string, b: string): number {
  const [x, y] = [encoder.encode(a), encoder.encode(b)];
  const i = x.findIndex((byte, i) => byte !== y[i]);
  return i < 0 ? x.length - y.length : x[i]! - (y[i] ?? -1);
}

const member = <T>(record: Record<string, T>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

function valueOf(run: TestRun, { kind, key, strict }: Field): Value | undefined {
  if (kind === "params")
    return (strict ? member(run.raw, key) : member(run.params, key)) ?? undefined;
  if (kind === "tags") return member(run.tags, key);
  if (kind === "metrics") {
    const own = member(run.metrics, key);
    if (own || strict) return own?.last;
    const [, base, of] = /^(.+)\.(\w+)$/s.exec(key) ?? [];
    const summary = base === undefined ? undefined : member(run.metrics, base);
    if (!summary) return undefined;
    if (of === "mean")
      return summary.count > summary.nan ? summary.sum / (summary.count - summary.nan) : NaN;
    return (summary as unknown as Record<string, number>)[of!];
  }
  if (key === "experiment") return "É-1";
  if (key === "status") return run.state.toUpperCase();
  if (key === "duration") return ((run.ended ?? run.heartbeat) - run.started) / 1000;
  return ((run as unknown as Record<string, Value | null>)[key] ?? "") === "" &&
    key !== "name" &&
    key !== "id"
    ? undefined
    : (run as unknown as Record<string, Value>)[key];
}

function compareRuns(a: TestRun, b: TestRun, terms: OrderTerm[]): number {
  for (const { field, descending } of terms) {
    const [x, y] = [valueOf(a, field), valueOf(b, field)];
    const last = (v: Value | undefined) => (v === undefined ? 2 : Object.is(v, NaN) ? 1 : 0);
    if (last(x) !== last(y)) return last(x) - last(y);
    if (last(x) > 0) continue;
    const rank = (v: Value) => ["number", "boolean", "string"].indexOf(typeof v);
    const order =
      rank(x!) - rank(y!) ||
      (typeof x === "string"
        ? bytesOrder(x, String(y))
        : Number(x) < Number(y)
          ? -1
          : Number(x) > Number(y)
            ? 1
            : 0);
    if (order) return descending ? -order : order;
  }
  return a.id < b.id ? -1 : 1;
}
