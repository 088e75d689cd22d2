/** A piece of MLflow's filter language, cut as MLflow's parser cuts it: a name with its dots is one, and so is a list. */
export interface Unit {
  kind:
    | "identifier"
    | "string"
    | "integer"
    | "float"
    | "operation" // names or values joined by arithmetic
    | "list"
    | "operator"
    | "keyword"
    | "comment"
    | "mark"
    | "other";
  text: string;
  at: number;
  to: number;
}

const name = String.raw`(?:${"`(?:``|[^`])*`"}|"(?:""|\\"|[^"])*"|[\p{L}\p{N}_][\p{L}\p{N}_$#]*)`;
const lexemes: [Unit["kind"], RegExp][] = [
  ["comment", /(?:--|# )[^\r\n]*|\/\*[^]*?\*\//y],
  ["other", /-?0x[\da-f]+/iy],
  ["float", /-?\d+(?:\.\d+)?e-?\d+(?![\p{L}\p{N}_])|-?(?:\d+\.\d*|\.\d+)(?![\p{L}_.])/iuy],
  ["integer", /-?\d+(?![\p{L}\p{N}_.])/uy],
  ["operator", /(?:NOT\s+)?(?:LIKE|ILIKE|RLIKE)\b|[<>=~!]+/iy],
  [
    "keyword",
    /(?:NOT\s+NULL|AND|OR|NOT|IN|IS|NULL|BETWEEN|ASC|DESC|NULLS\s+(?:FIRST|LAST))\b(?!\s*\.(?!\d))/iy,
  ],
  ["string", /'(?:''|\\'|[^'])*'/y],
  [
    "identifier",
    new RegExp(String.raw`${name}(?:(?:\.|\s+\.(?!\d))\s*(?:${name}|'(?:''|\\'|[^'])*'))*`, "uy"),
  ],
  ["mark", /[()[\],;:.]|[^\s\w]/uy],
  ["other", /[^]/uy],
];

/** SQL's words that stand for no column where they stand alone. */
const words =
  /^(?:text|version|true|false|order|group|select|from|where|case|end|date|time|index|table|comment)$/i;

/** Cuts a filter into units, whitespace left out. Takes time linear in its length. */
export function cut(text: string): Unit[] {
  const units: Unit[] = [];
  const lists: number[] = []; // where in `units` an open parenthesis stands
  for (let at = 0; at < text.length;) {
    const space = /\s+/y;
    space.lastIndex = at;
    if (space.test(text)) {
      at = space.lastIndex;
      continue;
    }
    const unit = unitAt(text, at);
    at = unit.to;
    if (unit.text === "(") lists.push(units.length);
    if (unit.text === ")" && lists.length) {
      const [open] = units.splice(lists.pop()!);
      units.push({ kind: "list", text: text.slice(open!.at, at), at: open!.at, to: at });
    } else units.push(unit);
  }
  return joinOperations(units, text);
}

function unitAt(text: string, at: number): Unit {
  for (const [kind, lexeme] of lexemes) {
    lexeme.lastIndex = at;
    const match = lexeme.exec(text);
    if (!match) continue;
    const [own] = match;
    const isWord = kind === "identifier" && words.test(own);
    return { kind: isWord ? "keyword" : kind, text: own, at, to: at + own.length };
  }
  throw new Error(`no unit at ${at}`);
}

const operands: Unit["kind"][] = ["identifier", "string", "integer", "float", "list", "operation"];
export const isOperand = (unit: Unit | undefined): boolean =>
  unit !== undefined && operands.includes(unit.kind);

function joinOperations(units: Unit[], text: string): Unit[] {
  const joined: Unit[] = [];
  for (let i = 0; i < units.length; i++) {
    const [before, unit, after] = [joined.at(-1), units[i]!, units[i + 1]];
    if (
      unit.kind === "mark" &&
      /^[-+*/%^&|]$/.test(unit.text) &&
      isOperand(before) &&
      isOperand(after)
    ) {
      const { at } = joined.pop()!;
      joined.push({ kind: "operation", text: text.slice(at, after!.to), at, to: after!.to });
      i++;
    } else joined.push(unit);
  }
  return joined;
}
