import { RE2JS } from "re2js";
import type { Comparison, Operator, Value } from "./filter.ts";
import { compareText, likeTest, lowerASCII } from "./text.ts";

/**
 * What a comparison says of a value that is there; of one that is missing it is false, unless it is IS NULL.
 * Numbers compare by IEEE 754: of NaN only != holds. A text compares with a number as the number that it wholly is, and
 * with a boolean as the word that it is; where it is none, only != (and NOT IN) holds. This much is defined for text on
 * either side. Texts compare by code point. LIKE, ILIKE and ~ see a number or boolean as JavaScript prints it.
 */
export function testOf({
  operator,
  values,
}: Pick<Comparison, "operator" | "values">): (value: Value) => boolean {
  if (operator === "IS NULL" || operator === "IS NOT NULL") return () => operator !== "IS NULL";
  if (operator === "IS NAN") return (value) => Number.isNaN(value);
  if (operator === "IS NOT NAN") return (value) => !Number.isNaN(value);
  if (operator === "<" || operator === "<=" || operator === ">" || operator === ">=")
    return orderTest(operator, values[0]!);
  const isNegated = /^(?:NOT|!)/.test(operator);
  const test = /LIKE|~/.test(operator) ? textTest(operator, String(values[0])) : memberTest(values);
  return isNegated ? (value) => !test(value) : test;
}

/** Returns the test of a pattern, not negated. */
function textTest(operator: Operator, pattern: string): (value: Value) => boolean {
  if (operator.endsWith("~")) {
    const regex = RE2JS.compile(pattern);
    return (value) => regex.test(String(value));
  }
  if (!operator.endsWith("ILIKE")) {
    const isLike = likeTest(pattern);
    return (value) => isLike(String(value));
  }
  const isLike = likeTest(lowerASCII(pattern));
  return (value) => isLike(lowerASCII(String(value)));
}

/** What a value must be equal to, for each type that it may have. */
export interface Members {
  /** to a number: the numbers, and those that texts wholly are */
  numbers: Set<number>;
  booleans: Set<boolean>;
  /** to a text: the texts themselves, the numbers it may wholly be, the words true and false */
  texts: Set<string>;
  textNumbers: Set<number>;
  textBooleans: Set<boolean>;
}

/** Sorts out what is listed. NaN equals nothing and is left out. */
export function membersOf(values: Value[]): Members {
  const isNumber = (n: unknown): n is number => typeof n === "number" && !Number.isNaN(n);
  const isBoolean = (b: unknown) => typeof b === "boolean";
  const texts = values.filter((value) => typeof value === "string");
  const [textNumbers, textBooleans] = [values.filter(isNumber), values.filter(isBoolean)];
  return {
    numbers: new Set([...textNumbers, ...texts.map(numberFromText).filter(isNumber)]),
    booleans: new Set([...textBooleans, ...texts.map(booleanFromText).filter(isBoolean)]),
    texts: new Set(texts),
    textNumbers: new Set(textNumbers),
    textBooleans: new Set(textBooleans),
  };
}

function memberTest(values: Value[]): (value: Value) => boolean {
  const { numbers, booleans, texts, textNumbers, textBooleans } = membersOf(values);
  return (value) => {
    if (typeof value === "number") return numbers.has(value) && !Number.isNaN(value);
    if (typeof value === "boolean") return booleans.has(value);
    if (texts.has(value)) return true;
    if (textNumbers.size && textNumbers.has(numberFromText(value) ?? NaN)) return true;
    return textBooleans.size > 0 && textBooleans.has(booleanFromText(value)!);
  };
}

function orderTest(operator: "<" | "<=" | ">" | ">=", literal: Value): (value: Value) => boolean {
  const isIt = {
    "<": (order: number) => order < 0,
    "<=": (order: number) => order <= 0,
    ">": (order: number) => order > 0,
    ">=": (order: number) => order >= 0,
  }[operator];
  const number = numberOf(literal);
  return (value) => {
    if (typeof value === "string" && typeof literal === "string")
      return isIt(compareText(value, literal));
    const own = numberOf(value);
    if (own === undefined || number === undefined) return false;
    return isIt(own < number ? -1 : own > number ? 1 : own === number ? 0 : NaN);
  };
}

/** Returns the number that a value is to another number: itself, or the number that a text wholly is. */
export const numberOf = (value: Value): number | undefined =>
  typeof value === "number" ? value : typeof value === "string" ? numberFromText(value) : undefined;

const decimal = /^[\t-\r ]*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?[\t-\r ]*$/i;
const special = /^[\t-\r ]*([+-]?)(?:(inf|infinity)|nan)[\t-\r ]*$/i;

/** Returns the number that a text wholly is, in JSON's or Python's spelling (nan, inf, -Infinity, 1e-05); undefined where it is none. */
function numberFromText(text: string): number | undefined {
  if (decimal.test(text)) return Number(text);
  const [isSpecial, sign, isInfinite] = special.exec(text) ?? [];
  if (isSpecial === undefined) return undefined;
  return isInfinite ? (sign === "-" ? -Infinity : Infinity) : NaN;
}

/** Returns the boolean that a text is, whatever its case. */
function booleanFromText(text: string): boolean | undefined {
  if (!/^(?:true|false)$/i.test(text)) return undefined;
  return text.length === 4;
}
