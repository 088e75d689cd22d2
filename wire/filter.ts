import { formatField, type Field } from "./field.ts";

/** A value that is compared with: numbers include times (ms since 1970) and durations (seconds). */
export type Value = string | number | boolean;

export type Operator =
  | "="
  | "!="
  | "<"
  | "<="
  | ">"
  | ">="
  | "IN"
  | "NOT IN"
  | "LIKE"
  | "NOT LIKE"
  | "ILIKE"
  | "NOT ILIKE"
  | "~"
  | "!~"
  | "IS NULL"
  | "IS NOT NULL"
  | "IS NAN"
  | "IS NOT NAN";

/** From where to where, in characters, a clause stands in the text it was read from. */
interface Span {
  at: number;
  to: number;
}

/** A field against values: one, but for IN (any number) and IS (none). */
export interface Comparison<F = Field> extends Span {
  type: "compare";
  field: F;
  operator: Operator;
  values: Value[];
}

/** Text to be found in a run's name, its id, or a tag's key or value, whatever the case of A–Z. */
export interface Contains extends Span {
  type: "contains";
  text: string;
}

/** What is asked of runs. An `and` of nothing holds of all. */
export type Filter<F = Field> =
  | { type: "and" | "or"; filters: Filter<F>[] }
  | { type: "not"; filter: Filter<F> }
  | Comparison<F>
  | Contains;

/** Returns what a filter has to look at: its fields, each once, and whether it searches by text. */
export function fieldsOf(filter: Filter): { fields: Field[]; isSearch: boolean } {
  const fields = new Map<string, Field>();
  let isSearch = false;
  visit(filter);
  return { fields: [...fields.values()], isSearch };

  function visit(part: Filter): void {
    if (part.type === "compare")
      fields.set(formatField(part.field) + !!part.field.strict, part.field);
    else if (part.type === "contains") isSearch = true;
    else if (part.type === "not") visit(part.filter);
    else part.filters.forEach(visit);
  }
}

/** Returns a filter as text that parseWhere reads as the same filter. */
export function formatWhere(filter: Filter): string {
  if (filter.type === "compare") return formatComparison(filter);
  if (filter.type === "contains") return formatText(filter.text);
  if (filter.type === "not") return `NOT ${formatPart(filter.filter)}`;
  return filter.filters.map(formatPart).join(filter.type === "and" ? " AND " : " OR ");
}

const formatPart = (filter: Filter): string =>
  filter.type === "and" || filter.type === "or" ? `(${formatWhere(filter)})` : formatWhere(filter);

function formatComparison({ field, operator, values }: Comparison): string {
  const name = formatField(field);
  if (operator.startsWith("IS")) return `${name} ${operator}`;
  const list = values.map(formatValue).join(", ");
  return `${name} ${operator} ${operator.endsWith("IN") ? `(${list})` : list}`;
}

function formatValue(value: Value): string {
  if (typeof value === "string") return formatText(value);
  if (typeof value === "boolean") return String(value);
  if (Object.is(value, -0)) return "-0";
  return Number.isFinite(value) ? String(value) : value > 0 ? "inf" : "-inf";
}

/** Quotes a text: as MLflow does where it can, where a text has both quotes or a backslash by backticks, doubled within. */
function formatText(text: string): string {
  const quote = text.includes("\\") ? "`" : (["'", '"'].find((q) => !text.includes(q)) ?? "`");
  return quote + (quote === "`" ? text.replaceAll("`", "``") : text) + quote;
}
