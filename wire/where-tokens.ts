import { ApiError, shown } from "./error.ts";

/** A piece of a filter's text. */
export interface Token {
  /** a word is a field, a keyword, or a value without quotes; a text stood in quotes, which are taken off */
  kind: "word" | "text" | "operator" | "(" | ")" | "," | "end";
  /** as it is written */
  text: string;
  /** what a text says, or the canonical operator */
  value: string;
  /** from where to where it stands, in characters */
  at: number;
  to: number;
}

/** No filter is longer; a list of ids may take that much. */
const maxLength = 100_000;

// A text in ' or " is read as MLflow reads it: no escape, but a quote after a backslash or another quote does not end it.
const quoted = String.raw`'(?:''|\\'|[^'])*'|"(?:""|\\"|[^"])*"|${"`(?:``|[^`])*`"}`;
const lexeme = new RegExp(
  String.raw`\s*(?:(<=|>=|<>|!=|!~|==|=|<|>|~)|([(),])|((?:(?:${quoted})(?=\.))?(?:[^\s\p{Cc}()=<>!~,'"${"`"}]|(?<=[.:])(?:${quoted}))+)|(${quoted})|(\S))`,
  "yu",
);
const synonyms: Record<string, string> = { "==": "=", "<>": "!=" };

/** Splits a filter into its tokens, the last of kind "end". */
export function tokenize(untrimmed: string): Token[] {
  const text = untrimmed.trimEnd();
  if (text.length > maxLength)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `where is too long: ${text.length} characters, limit ${maxLength}`,
    );
  const tokens: Token[] = [];
  lexeme.lastIndex = 0;
  while (lexeme.lastIndex < text.length) {
    const [whole, operator, mark, word, quote, other] = lexeme.exec(text)!;
    const to = lexeme.lastIndex;
    const own = (operator ?? mark ?? word ?? quote ?? other)!;
    const at = to - own.length;
    if (other !== undefined || !own.isWellFormed()) throw invalid(unexpected(own), at);
    if (whole === "") break;
    if (operator !== undefined)
      tokens.push({ kind: "operator", text: own, value: synonyms[own] ?? own, at, to });
    else if (mark !== undefined) tokens.push({ kind: mark as "(", text: own, value: own, at, to });
    else if (word !== undefined) tokens.push({ kind: "word", text: own, value: own, at, to });
    else tokens.push({ kind: "text", text: own, value: textOf(own), at, to });
  }
  tokens.push({ kind: "end", text: "", value: "", at: text.length, to: text.length });
  return tokens;
}

const unexpected = (own: string): string =>
  /^['"`]/.test(own)
    ? `expected the text that begins with ${own} to end`
    : `unexpected ${shown(own)}`;

const wholly = new RegExp(`^(?:${quoted})$`, "u");
export const isQuoted = (text: string): boolean => wholly.test(text);

/** Takes the quotes off; in backticks, which MLflow knows no values in, a doubled one is one. */
export const textOf = (quoted: string): string =>
  quoted.startsWith("`") ? quoted.slice(1, -1).replaceAll("``", "`") : quoted.slice(1, -1);

/** An error at a place of the filter. */
export const invalid = (message: string, at: number): ApiError =>
  new ApiError("INVALID_PARAMETER_VALUE", `invalid where: ${message} at ${at}`);
