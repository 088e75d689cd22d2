import { expect, test } from "vitest";
import { formatWhere, type Filter } from "../../wire/filter.ts";
import { predicate } from "../../wire/predicate.ts";
import { parseWhere } from "../../wire/query.ts";
import { runColumns } from "../../wire/run-columns.ts";
import type { Run } from "../../wire/run.ts";

const summary = (last: number) => ({
  last,
  step: 1,
  time: 0,
  min: -1,
  minStep: 0,
  max: 2,
  maxStep: 0,
  sum: last,
  count: 1,
  nan: 0,
});
const now = Date.UTC(2026, 10, 26);
const run = {
  id: "0af3",
  name: "swift-otter",
  state: "finished",
  params: { lr: 0.1, opt: "sgd", "a.b": 3, on: true, none: null, "it's `x\"": 1, small: "1e-05" },
  tags: { team: "a", "mlflow.user": "Ann", note: "Größe 10" },
  metrics: {
    "val/acc": summary(0.9),
    bad: summary(NaN),
    "f1.max": summary(5),
    inf: summary(Infinity),
  },
  started: Date.UTC(2026, 10, 20, 10),
  ended: Date.UTC(2026, 10, 20, 12, 30),
  heartbeat: 0,
  stalled: false,
} as unknown as Run;

const holds = (where: string) => predicate(parseWhere(where, { now }), runColumns([run]))[0] === 1;

test.for([
  ["params.lr = 0.1", true],
  ["params.lr < 1e-1", false],
  ["params.opt = 'sgd' AND params.lr <= .1", true],
  ["params.a.b = 3", true],
  ["params.on = true", true],
  ["params.on = 'TRUE'", true],
  ["params.on != 1", true],
  ['params."opt" != "adam"', true],
  ["params.`opt` == 'sgd'", true],
  ["params.`it's ``x\"` = 1", true],
  ["params.small < 0.0001", true],
  ["params.lr = '0.10'", true],
  ["params.lr LIKE '0.%'", true],
  ["params.none IS NULL", true],
  ["params.none != 3", false],
  ["metrics.val/acc > 0.8 and metrics.val/acc.min < 0", true],
  ["metrics.f1.max = 5", true],
  ["metrics.f1.max.max = 2", true],
  ["metrics.inf = inf and metrics.inf > 1e308", true],
  ["state='finished'", true],
  ["state:finished tags.team:a", true],
  ["tags.team != 'a'", false],
  ["params.missing != 3", false],
  ["params.missing NOT IN (3)", false],
  ["NOT (params.missing = 3)", true],
  ["metrics.bad < 1", false],
  ["metrics.bad <> 1", true],
  ["metrics.bad IS NAN and metrics.val/acc IS NOT NAN", true],
  ["metrics.none IS NOT NAN", false],
  ["params.lr BETWEEN 0 AND 0.1 AND params.opt IN ('adam', 'sgd')", true],
  ["params.lr NOT BETWEEN 0 AND 0.1", false],
  ["state = 'failed' or (params.lr > 0.05 not tags.team = 'b')", true],
  ["name ~ '^swift-[a-z]+$' name !~ 'z'", true],
  ["name LIKE 'swift_otter' name NOT LIKE 'Swift%' name ILIKE 'SWIFT%'", true],
  ["duration > 2h duration < 2h30m0.001s duration = 9000", true],
  ["started > 2026-11-20T09:59 started < 2026-11-20T12:00+01:00", true],
  ["started > -7d started < '2026-11-21' start_time > 1", true],
  ["started > -5d", false],
  ["otter", true],
  ["OTTER 'größe 10'", true],
  ["'GRÖSSE 10' OR 'GRÖßE 10'", false], // only A–Z have a lower case here
  ["'Größe 10' USER 0AF", true],
  ["status = 'FINISHED' attribute.status != 'finished' user_id = 'Ann' run_id = '0af3'", true],
  ["`run name` = 'swift-otter' metric.`val/acc` > 0 parameter.opt = 'sgd'", true],
  ["", true],
  ["AND state = 'finished' AND AND name LIKE '%' AND", true],
] as const)("%s is %s", ([where, expected]) => {
  expect(holds(where)).toBe(expected);
});

test.for([
  ["params.lr =", 'expected a value after "=" at 11'],
  ["params.lr 3", "expected an operator after params.lr, found 3 at 10"],
  ["= 3", "expected a clause, found = at 0"],
  ["colour = 3", "unknown field colour at 0"],
  ["state = finished", "expected a number or a quoted text, found finished at 8"],
  ["params. = 3", "unknown field params. at 0"],
  ["(state = 'a'", 'expected ")" for the "(" at 0 at 12'],
  ["state = 'a')", "expected AND or OR, found ) at 11"],
  ["()", "expected a clause, found ) at 1"],
  ["state = 'a' or", "expected a clause at 14"],
  ["or state = 'a'", "expected a clause, found or at 0"],
  ["state = 'a", "expected the text that begins with ' to end at 8"],
  ["state IN 'a'", 'expected "(" after "IN", found \'a\' at 9'],
  ["state IN ()", 'expected a value after "(", found ) at 10'],
  ["state IN ('a' 'b')", 'expected "," or ")", found \'b\' at 14'],
  ["state IS 3", "expected NULL, NOT NULL, NAN or NOT NAN, found 3 at 9"],
  ["params.lr BETWEEN 1 3", "expected AND after the first value of BETWEEN, found 3 at 20"],
  ["name LIKE 3", 'expected a quoted text after "LIKE", found 3 at 10'],
  [
    "name ~ '('",
    "expected a regular expression (RE2): error parsing regexp: missing closing ): `(` at 7",
  ],
  [
    "started > soon",
    "expected a time such as 2026-11-01, 2026-11-01T10:00 or -7d, found soon at 10",
  ],
  [
    "started > 2026-02-30",
    "expected a time such as 2026-11-01, 2026-11-01T10:00 or -7d, found 2026-02-30 at 10",
  ],
  ["duration > 2y", "expected a duration such as 90s or 1h30m, found 2y at 11"],
  ["state:", 'expected a value after "state:" at 6'],
  ["colour:red", "unknown field colour at 0"],
  ["params.x = 3, y", "expected a clause, found , at 12"],
  ["metrics.a BETWEEN 'x' AND", 'expected a value after "AND" at 25'],
] as const)("%s is refused: %s", ([where, message]) => {
  expect(() => parseWhere(where)).toThrow(`invalid where: ${message}`);
});

test.for([
  [
    "parentheses",
    `${"(".repeat(20_000)}name = 'a'${")".repeat(20_000)}`,
    "nested more than 100 deep at 101",
  ],
  ["negations", "NOT ".repeat(20_000), "nested more than 100 deep at 404"],
  ["clauses", "a ".repeat(20_000), "more than 1000 clauses at 2000"],
  ["characters", " name".repeat(40_000), "where is too long: 200000 characters, limit 100000"],
  ["quotes", "name = '".padEnd(100_000, "\\'"), undefined],
  ["a word", "x.".repeat(50_000), undefined],
  ["colons", `name ~ ${":".repeat(99_000)}`, "expected a quoted text"],
  ["brackets in a regex", `name ~ '${"(".repeat(99_000)}'`, "expected a regular expression"],
] as const)("a filter of too many %s is refused at once", ([, where, message]) => {
  const begin = performance.now();
  if (message === undefined) parseWhere(where);
  else expect(() => parseWhere(where)).toThrow(message);
  expect(performance.now() - begin).toBeLessThan(500);
});

test("a clause knows where it stands", () => {
  const where = "state = 'a' OR (params.lr IN (1, 2) otter)";
  const { filters } = parseWhere(where) as { filters: Filter[] };
  const spans = (part: Filter): string[] =>
    "at" in part
      ? [where.slice(part.at, part.to)]
      : "filters" in part
        ? part.filters.flatMap(spans)
        : [];
  expect(filters.flatMap(spans)).toEqual(["state = 'a'", "params.lr IN (1, 2)", "otter"]);
});

test.for([
  "params.`a b` IN (1, -0, inf, 'it''s', true) AND NOT (name ~ '^a' OR tags.`\"'` IS NOT NULL)",
  "NOT NOT name LIKE `back\\slash` AND ('otter' OR metrics.loss.min < 1e-7) AND duration >= 1h",
  "",
])("%s is the same when it is written out and read again", (where) => {
  const filter = parseWhere(where);
  expect(unplaced(parseWhere(formatWhere(filter)))).toEqual(unplaced(filter));
});

const unplaced = (filter: Filter): unknown =>
  JSON.parse(
    JSON.stringify(filter, (key, v: unknown) => (key === "at" || key === "to" ? undefined : v)),
  );
