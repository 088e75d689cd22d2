import { ApiError, shown } from "./error.ts";
import type { Run } from "./run.ts";
import { fieldReader, type ReadField } from "./runs-table.ts";

/**
 * The filter on runs, its first part: comparisons joined by AND, such as `params.lr < 0.1 AND state = 'finished'`.
 * A comparison with a missing value is false, and so is one with NaN, except by `!=`. Anything else is an error that
 * says where it stands; OR, NOT, parentheses, IN and LIKE are still to come.
 */
export function parseWhere(
  text: string,
  experimentName?: (id: string) => string,
): (run: Run) => boolean {
  const tokens = tokenize(text);
  const tests: ((run: Run) => boolean)[] = [];
  let i = 0;
  while (tokens[i]!.kind !== "end") {
    if (tests.length > 0) {
      const joint = tokens[i++]!;
      if (!/^and$/i.test(joint.text)) throw expected("AND", joint);
    }
    const field = tokens[i++]!;
    if (field.kind !== "word") throw expected("a field", field);
    const read = fieldReader(field.text, experimentName);
    if (!read) throw at(`unknown field ${shown(field.text)}`, field);
    const operator = tokens[i++]!;
    const compare = operator.kind === "operator" ? operators[operator.text] : undefined;
    if (!compare) throw expected("one of = != < <= > >=", operator);
    const literal = tokens[i++]!;
    if (literal.kind !== "value") throw expected(`a value after "${operator.text}"`, literal);
    tests.push((run) => holds(compare, read(run), literal.value!));
  }
  return (run) => tests.every((test) => test(run));
}

type Literal = string | number | boolean;
const operators: Record<string, (a: Literal, b: Literal) => boolean> = {
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};

function holds(
  compare: (a: Literal, b: Literal) => boolean,
  value: ReturnType<ReadField>,
  literal: Literal,
): boolean {
  if (value === null || value === undefined) return false;
  return typeof value === typeof literal
    ? compare(value, literal)
    : compare(String(value), String(literal));
}

/** Returns the order that a text such as `metrics.loss, started desc` describes; missing values and NaN come last. */
export function parseOrder(
  text: string,
  experimentName?: (id: string) => string,
): (a: Run, b: Run) => number {
  const terms = text.split(",").map((term) => {
    const [words, direction = "asc"] = term.trim().split(/\s(asc|desc)$/i) as [string, string?];
    const field = words.trimEnd();
    const read = fieldReader(field, experimentName);
    if (!read)
      throw new ApiError("INVALID_PARAMETER_VALUE", `invalid order: unknown field ${shown(field)}`);
    return { read, sign: direction.toLowerCase() === "desc" ? -1 : 1 };
  });
  return (a, b) => {
    for (const { read, sign } of terms) {
      const [x, y] = [read(a), read(b)];
      const missing = Number(isMissing(x)) - Number(isMissing(y));
      if (missing) return missing;
      if (!isMissing(x) && x !== y) return (x! < y! ? -1 : 1) * sign;
    }
    return 0;
  };
}

const isMissing = (value: unknown) => value === null || value === undefined || Number.isNaN(value);

interface Token {
  kind: "word" | "operator" | "value" | "end";
  text: string;
  value?: Literal;
  position: number;
}

const lexemes =
  /\s*(?:('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(!=|<=|>=|=|<|>)|((?:[\w/:@#-]|\.(?=[\w/"`-])|`[^`]*`|(?<=\.)"[^"]*")+)|(\S))/y;

function tokenize(untrimmed: string): Token[] {
  const text = untrimmed.trimEnd();
  const tokens: Token[] = [];
  lexemes.lastIndex = 0;
  for (let match; (match = lexemes.exec(text));) {
    const [whole, quoted, operator, word, other] = match;
    const position = match.index + whole.length - (quoted ?? operator ?? word ?? other)!.length;
    if (other)
      throw new ApiError(
        "INVALID_PARAMETER_VALUE",
        `invalid where: unexpected ${shown(other)} at ${position}`,
      );
    if (quoted)
      tokens.push({
        kind: "value",
        text: quoted,
        value: quoted.slice(1, -1).replace(/\\(.)/g, "$1"),
        position,
      });
    else if (operator) tokens.push({ kind: "operator", text: operator, position });
    else tokens.push(wordToken(word!, position, tokens.at(-1)));
    if (lexemes.lastIndex >= text.length) break;
  }
  tokens.push({ kind: "end", text: "", position: text.length });
  return tokens;
}

/** After an operator a bare word is a value: a number, true or false. */
function wordToken(word: string, position: number, before: Token | undefined): Token {
  if (before?.kind !== "operator")
    return { kind: "word", text: word.replace(/[`"]/g, ""), position };
  if (/^(true|false)$/i.test(word))
    return { kind: "value", text: word, value: /^true$/i.test(word), position };
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(word))
    return { kind: "value", text: word, value: Number(word), position };
  throw new ApiError(
    "INVALID_PARAMETER_VALUE",
    `invalid where: expected a number or a quoted text at ${position}, found ${shown(word)}`,
  );
}

const at = (message: string, token: Token) =>
  new ApiError("INVALID_PARAMETER_VALUE", `invalid where: ${message} at ${token.position}`);
const expected = (what: string, token: Token) =>
  at(`expected ${what}${token.kind === "end" ? "" : `, found ${shown(token.text)}`}`, token);
