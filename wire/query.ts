import { RE2JS } from "re2js";
import type { ApiError } from "./error.ts";
import { shown } from "./error.ts";
import { parseField, plainTypeOf, type Field, type PlainType } from "./field.ts";
import type { Comparison, Filter, Operator, Value } from "./filter.ts";
import { secondsFromText, timeFromText } from "./moment.ts";
import { invalid, isQuoted, textOf, tokenize, type Token } from "./where-tokens.ts";

/** How deep parentheses and NOT may nest, how many clauses a filter may have, and how long a regular expression may be. */
const maxDepth = 100;
const maxClauses = 1000;
const maxRegex = 1000;

/**
 * Returns the filter on runs that a text describes. It takes all that MLflow's filter takes, and OR, NOT, parentheses,
 * `IN`, `BETWEEN`, `~` (RE2), `IS NAN` for every field, `state:finished`, durations, dates, and words to be searched for.
 * Errors say where, and what was expected. `now` is what `started > -7d` counts from.
 */
export function parseWhere(text: string, { now = Date.now() } = {}): Filter {
  const tokens = tokenize(text);
  let next = 0;
  let clauses = 0;
  const filter = alternatives(0);
  if (token().kind !== "end") throw expected("AND or OR");
  return filter;

  function token(): Token {
    return tokens[next]!;
  }

  function isWord(...words: string[]): boolean {
    return token().kind === "word" && words.includes(token().text.toUpperCase());
  }

  function take(...words: string[]): boolean {
    if (!isWord(...words)) return false;
    next++;
    return true;
  }

  function alternatives(depth: number): Filter {
    const filters: Filter[] = [];
    do {
      const part = conjunction(depth);
      const isEmpty = part.type === "and" && part.filters.length === 0;
      const isAll = depth === 0 && filters.length === 0 && token().kind === "end";
      if (isEmpty && !isAll) throw expected("a clause");
      filters.push(part);
    } while (take("OR"));
    return filters.length === 1 ? filters[0]! : { type: "or", filters };
  }

  // AND may be left out, stand before the first clause, after the last, and twice, as in MLflow.
  function conjunction(depth: number): Filter {
    const filters: Filter[] = [];
    for (;;) {
      while (take("AND"));
      if (token().kind === "end" || token().kind === ")" || isWord("OR")) break;
      filters.push(negation(depth));
    }
    return filters.length === 1 ? filters[0]! : { type: "and", filters };
  }

  function negation(depth: number): Filter {
    const { at } = token();
    if (depth > maxDepth) throw invalid(`nested more than ${maxDepth} deep`, at);
    if (take("NOT")) return { type: "not", filter: negation(depth + 1) };
    if (token().kind !== "(") return clause();
    next++;
    const filter = alternatives(depth + 1);
    if (token().kind !== ")") throw expected(`")" for the "(" at ${at}`);
    next++;
    return filter;
  }

  function clause(): Filter {
    if (++clauses > maxClauses) throw invalid(`more than ${maxClauses} clauses`, token().at);
    const first = token();
    if (first.kind !== "word" && first.kind !== "text") throw expected("a clause");
    if (isWord("IN", "LIKE", "ILIKE", "BETWEEN", "IS")) throw expected("a field");
    next++;
    const operator = operatorAfterField();
    if (operator) return comparison(fieldOf(first.text, first), operator, first);
    return (first.kind === "word" && (shorthand(first) ?? operatorMissing(first))) || search(first);
  }

  /** Takes the operator that a field is followed by; where there is none, what was read is a word to search for. */
  function operatorAfterField(): Operator | "BETWEEN" | "NOT BETWEEN" | undefined {
    if (token().kind === "operator") return tokens[next++]!.value as Operator;
    for (const operator of ["IN", "LIKE", "ILIKE", "BETWEEN"] as const)
      if (take(operator)) return operator;
    if (isWord("IS")) return isOperator();
    if (!isWord("NOT")) return undefined;
    const { kind, text } = tokens[next + 1]!;
    const negated = (["IN", "LIKE", "ILIKE", "BETWEEN"] as const).find(
      (word) => kind === "word" && text.toUpperCase() === word,
    );
    if (negated) next += 2;
    return negated && `NOT ${negated}`;
  }

  function isOperator(): Operator {
    next++;
    const not = take("NOT") ? "NOT " : "";
    if (take("NULL")) return `IS ${not}NULL`;
    if (take("NAN")) return `IS ${not}NAN`;
    throw expected(not ? "NULL or NAN" : "NULL, NOT NULL, NAN or NOT NAN");
  }

  function comparison(
    field: Field,
    operator: Operator | "BETWEEN" | "NOT BETWEEN",
    first: Token,
  ): Filter {
    const { at } = first;
    const make = (operator: Operator, values: Value[]): Comparison => ({
      type: "compare",
      field,
      operator,
      values,
      at,
      to: tokens[next - 1]!.to,
    });
    if (operator.startsWith("IS")) return make(operator as Operator, []);
    if (operator === "IN" || operator === "NOT IN") return make(operator, list(field, operator));
    if (operator === "BETWEEN" || operator === "NOT BETWEEN") {
      const low = value(field, operator);
      if (!take("AND")) throw expected(`AND after the first value of ${operator}`);
      const high = value(field, "AND");
      return operator === "BETWEEN"
        ? { type: "and", filters: [make(">=", [low]), make("<=", [high])] }
        : { type: "or", filters: [make("<", [low]), make(">", [high])] };
    }
    if (/LIKE|~/.test(operator)) return make(operator, [pattern(operator)]);
    return make(operator, [value(field, tokens[next - 1]!.text)]);
  }

  function list(field: Field, operator: string): Value[] {
    if (token().kind !== "(") throw expected(`"(" after "${operator}"`);
    const values: Value[] = [];
    do {
      next++;
      values.push(value(field, tokens[next - 1]!.text));
    } while (token().kind === ",");
    if (token().kind !== ")") throw expected('"," or ")"');
    next++;
    return values;
  }

  function pattern(operator: string): string {
    const { kind, value, at } = token();
    if (kind !== "text") throw expected(`a quoted text after "${operator}"`);
    if (operator.endsWith("~")) checkRegex(value, at);
    next++;
    return value;
  }

  function value(field: Field, after: string): Value {
    const { kind, value } = token();
    if (kind !== "word" && kind !== "text") throw expected(`a value after "${after}"`);
    const read = literal(plainTypeOf(field), value, kind === "text");
    if (read === undefined) throw expected(wantedOf[plainTypeOf(field) ?? "text"]);
    next++;
    return read;
  }

  /** Reads a value for a field of a type; a word, which has no quotes, is a number, true or false, or what the type allows. */
  function literal(type: PlainType | undefined, text: string, isText: boolean): Value | undefined {
    const number = numberFromWord(text);
    if (type === "time") return number ?? timeFromText(text, now);
    if (type === "duration") return number ?? secondsFromText(text);
    if (isText) return text;
    return number ?? booleanFromWord(text);
  }

  /** `state:finished`: a field, a colon and a value, which needs no quotes. */
  function shorthand(first: Token): Filter | undefined {
    const [, name, rest] = /^((?:[^:`"']|`[^`]*`|"[^"]*"|'[^']*')+?):(.*)$/s.exec(first.text) ?? [];
    if (name === undefined) return undefined;
    const field = fieldOf(name, first);
    const at = first.at + name.length + 1;
    if (!rest) throw invalid(`expected a value after "${name}:"`, at);
    const isText = isQuoted(rest);
    const text = isText ? textOf(rest) : rest;
    if (!isText && /['"`]/.test(rest)) throw invalid(`unexpected ${shown(rest)}`, at);
    const read = literal(plainTypeOf(field), text, isText) ?? (isTimed(field) ? undefined : text);
    if (read === undefined)
      throw invalid(`expected ${wantedOf[plainTypeOf(field)!]}, found ${shown(text)}`, at);
    return { type: "compare", field, operator: "=", values: [read], at: first.at, to: first.to };
  }

  function operatorMissing(first: Token): undefined {
    if (/^(?:params?|parameters?|metrics?|tags?|attributes?)\./.test(first.text))
      throw expected(`an operator after ${shown(first.text)}`);
  }

  function search({ value, at, to }: Token): Filter {
    return { type: "contains", text: value, at, to };
  }

  function fieldOf(text: string, { at }: Token): Field {
    const field = parseField(text);
    if (!field) throw invalid(`unknown field ${shown(text)}`, at);
    return field;
  }

  function expected(what: string): ApiError {
    const { kind, text, at } = token();
    return invalid(`expected ${what}${kind === "end" ? "" : `, found ${shown(text)}`}`, at);
  }
}

const isTimed = (field: Field): boolean => ["time", "duration"].includes(plainTypeOf(field) ?? "");

const wantedOf: Record<PlainType, string> = {
  text: "a number or a quoted text",
  number: "a number or a quoted text",
  boolean: "true or false",
  time: "a time such as 2026-11-01, 2026-11-01T10:00 or -7d",
  duration: "a duration such as 90s or 1h30m",
};

function checkRegex(pattern: string, at: number): void {
  if (pattern.length > maxRegex)
    throw invalid(`expected a regular expression of at most ${maxRegex} characters`, at);
  try {
    RE2JS.compile(pattern);
  } catch (error) {
    throw invalid(`expected a regular expression (RE2): ${(error as Error).message}`, at);
  }
}

function numberFromWord(word: string): number | undefined {
  if (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(word)) return Number(word);
  const [isInfinite, sign] = /^([+-]?)inf(?:inity)?$/i.exec(word) ?? [];
  return isInfinite === undefined ? undefined : sign === "-" ? -Infinity : Infinity;
}

const booleanFromWord = (word: string): boolean | undefined =>
  /^(?:true|false)$/i.test(word) ? word.length === 4 : undefined;
