import { membersOf, numberOf, type Members } from "../../wire/comparison.ts";
import type { Comparison, Filter } from "../../wire/filter.ts";
import { lowerASCII } from "../../wire/text.ts";
import type { Bound } from "./bound.ts";
import { sourceOf, type Source } from "./run-fields.ts";

/** A condition on a row of `runs`. */
export interface Where {
  sql: string;
  /** whether it says all of the filter; if not, it lets through all that the filter would and some more */
  isExact: boolean;
}

/** What a statement may hold: D1 ends at 100 KB, an expression 100 deep and some thousand operations. */
const maxClauses = 100;
const maxLength = 60_000;
const maxDepth = 24;

/**
 * Returns a filter as a condition for statements over `runs`, its values put into `bound`. What SQL cannot say exactly
 * (regular expressions, odd patterns, what is too long) it widens, and tells: the caller then reads the filter's fields
 * and finishes by the predicate. `artifactURI` is SQL, for MLflow's filters.
 */
export function whereSQL(
  filter: Filter,
  bound: Bound,
  options: { artifactURI?: string | undefined } = {},
): Where {
  let left = maxClauses;
  let room = maxLength;
  let isExact = true;
  const sql = `(${bound.named} AND ${compile(filter, true, 0)})`;
  return { sql, isExact };

  /** SQL for a part: where `isWide`, it holds wherever the part does, else nowhere that the part does not. NULL is false. */
  function compile(part: Filter, isWide: boolean, depth: number): string {
    if (part.type === "not")
      return depth > maxDepth
        ? unsaid(isWide)
        : `(${compile(part.filter, !isWide, depth + 1)} IS NOT TRUE)`;
    if (part.type === "compare" || part.type === "contains") {
      if (--left < 0 || room < 0) return unsaid(isWide);
      const clause =
        part.type === "contains"
          ? contains(part.text, bound)
          : comparisonSQL(part, sourceOf(part.field, bound, options), bound, isWide);
      if (clause === undefined) return unsaid(isWide);
      if (!clause.isExact) isExact = false;
      room -= clause.sql.length;
      return `(${clause.sql})`;
    }
    const parts = part.filters.map((inner) =>
      depth > maxDepth ? unsaid(isWide) : compile(inner, isWide, depth + 1),
    );
    return balanced(parts, part.type);
  }

  function unsaid(isWide: boolean): string {
    isExact = false;
    return isWide ? "1" : "0";
  }
}

/** Joins conditions two by two: a chain of hundreds would be hundreds deep. */
function balanced(parts: string[], type: "and" | "or"): string {
  if (parts.length === 0) return type === "and" ? "1" : "0";
  if (parts.length === 1) return parts[0]!;
  const [word, none] = type === "and" ? ["AND", "1"] : ["OR", "0"];
  const constant = type === "and" ? "0" : "1";
  if (parts.includes(constant)) return constant;
  const said = parts.filter((part) => part !== none);
  if (said.length < 2) return said[0] ?? none;
  const half = said.length >> 1;
  return `(${balanced(said.slice(0, half), type)} ${word} ${balanced(said.slice(half), type)})`;
}

function contains(text: string, bound: Bound): Where | undefined {
  if (text.includes("\0")) return undefined;
  const lower = bound.value(lowerASCII(text));
  return exactly(`(instr(lower(runs.name), ${lower}) OR instr(lower(runs.id), ${lower}) OR EXISTS (SELECT 1 FROM json_each(runs.tags) AS t
    WHERE instr(lower(t.key), ${lower}) OR instr(lower(t.value), ${lower})))`);
}

/** Returns SQL for a comparison; undefined where there is nothing to be said. */
function comparisonSQL(
  { operator, values }: Comparison,
  source: Source,
  bound: Bound,
  isWide: boolean,
): Where | undefined {
  const { isPresent, value, type } = source;
  // To some of SQLite's functions a text ends at NUL.
  if (values.some((v) => typeof v === "string" && v.includes("\0"))) return undefined;
  if (operator === "IS NOT NULL") return exactly(isPresent);
  if (operator === "IS NULL") return exactly(`(${isPresent}) IS NOT TRUE`);
  if (operator === "IS NAN" || operator === "IS NOT NAN") {
    const isNaN =
      type === "number" ? `${value} IS NULL` : type === "any" ? `${value} = 'NaN'` : "0";
    return exactly(`${isPresent} AND (${isNaN}) IS${operator === "IS NAN" ? "" : " NOT"} TRUE`);
  }
  const isNegated = /^(?:NOT|!)/.test(operator);
  if (/LIKE|~/.test(operator)) {
    const like =
      type === "text" && !operator.endsWith("~")
        ? likeSQL(value, String(values[0]), operator.endsWith("ILIKE"), bound)
        : { sql: "1", isExact: false };
    if (like.isExact || isNegated !== isWide)
      return {
        sql: `${isPresent} AND (${like.sql}) IS${isNegated ? " NOT" : ""} TRUE`,
        isExact: like.isExact,
      };
    return { sql: isWide ? isPresent : "0", isExact: false };
  }
  if (source.isRounded) return { sql: isWide ? isPresent : "0", isExact: false };
  if (/[<>]/.test(operator)) return exactly(orderSQL(operator, values[0]!, source, bound));
  const member = memberSQL(membersOf(values), source, bound);
  return exactly(isNegated ? `${isPresent} AND (${member}) IS NOT TRUE` : member);
}

const exactly = (sql: string): Where => ({ sql, isExact: true });

/** The texts that stand for numbers which JSON has no other place for. */
const specials = "('NaN', 'Infinity', '-Infinity')";

/** SQL for the number that a value is, or that a text wholly is; NULL where it is none, and for NaN. */
const numberSQL = (value: string): string => `(SELECT CASE
  WHEN x <= CAST(9e999 AS REAL) THEN CAST(x AS REAL)
  WHEN lower(trim(x, char(9, 10, 11, 12, 13, 32))) IN ('inf', '+inf', 'infinity', '+infinity') THEN 9e999
  WHEN lower(trim(x, char(9, 10, 11, 12, 13, 32))) IN ('-inf', '-infinity') THEN -9e999
  END FROM (SELECT ${value} AS x))`;

function memberSQL(members: Members, { type, value, isBoolean }: Source, bound: Bound): string {
  const isIn = (x: string, list: Iterable<string | number>) => {
    const [first, ...others] = list;
    if (first === undefined) return "0";
    return others.length
      ? `${x} IN ${bound.list([first, ...others])}`
      : `${x} = ${bound.value(first)}`;
  };
  const booleans = isIn(value, Array.from(members.booleans, Number));
  if (type === "boolean") return booleans;
  const numbers = isIn(type === "any" ? numberSQL(value) : value, members.numbers);
  if (type === "number") return numbers;
  const texts = anyOf(
    isIn(value, members.texts),
    isIn(numberSQL(value), members.textNumbers),
    isIn(`lower(${value})`, Array.from(members.textBooleans, String)),
  );
  if (type === "text") return texts;
  return `CASE WHEN typeof(${value}) = 'text' AND ${value} NOT IN ${specials} THEN ${texts}
    WHEN ${isBoolean} THEN ${booleans} ELSE ${numbers} END`;
}

const anyOf = (...conditions: string[]) => {
  const said = conditions.filter((condition) => condition !== "0");
  return said.length ? said.join(" OR ") : "0";
};

function orderSQL(
  operator: string,
  literal: Comparison["values"][number],
  { type, value, isBoolean }: Source,
  bound: Bound,
): string {
  const number = numberOf(literal);
  const isNumber = number !== undefined && !Number.isNaN(number);
  const numbers = (x: string) => (isNumber ? `${x} ${operator} ${bound.value(number)}` : "0");
  if (type === "boolean") return "0";
  if (type === "number") return numbers(value);
  if (typeof literal !== "string")
    return type === "text"
      ? numbers(numberSQL(value))
      : `CASE WHEN ${isBoolean} THEN 0 ELSE ${numbers(numberSQL(value))} END`;
  const texts = `${value} ${operator} ${bound.value(literal)}`;
  if (type === "text") return texts;
  return `CASE WHEN typeof(${value}) = 'text' AND ${value} NOT IN ${specials} THEN ${texts}
    WHEN ${isBoolean} THEN 0 ELSE ${numbers(numberSQL(value))} END`;
}

/**
 * SQL for a pattern, without LIKE: that ignores case here, and D1 takes no pattern of more than 50 bytes. Exact where at
 * most one text stands between two %.
 */
function likeSQL(value: string, pattern: string, isLower: boolean, bound: Bound): Where {
  const x = isLower ? `lower(${value})` : value;
  const wanted = isLower ? lowerASCII(pattern) : pattern;
  const at = wanted.indexOf("_");
  const known =
    at < 0 ? wanted : `${wanted.slice(0, at)}%${wanted.slice(wanted.lastIndexOf("_") + 1)}`;
  const parts = known.split("%");
  if (parts.length === 1) return exactly(`${x} = ${bound.value(known)}`);
  const [first, last] = [parts[0]!, parts.at(-1)!];
  const middle = parts.slice(1, -1).filter(Boolean);
  const conditions = middle.map((part) => `instr(${x}, ${bound.value(part)}) > 0`);
  if (first) conditions.push(`substr(${x}, 1, ${[...first].length}) = ${bound.value(first)}`);
  if (last) conditions.push(`substr(${x}, -${[...last].length}) = ${bound.value(last)}`);
  if (first && last) conditions.push(`length(${x}) >= ${[...first, ...last].length}`);
  const isExact = at < 0 && (middle.length === 0 || (middle.length === 1 && !first && !last));
  return { sql: conditions.join(" AND ") || "1", isExact };
}
