import { ApiError, shown } from "./error.ts";
import { formatField, parseField, type Field } from "./field.ts";

/**
 * A field to order by. Numbers come before booleans, those before texts (by code point), and the other way round where it
 * descends; either way NaN follows them and what is missing is last.
 */
export interface OrderTerm {
  field: Field;
  descending: boolean;
}

/** No order has more fields. */
const maxTerms = 16;

/** Returns the order that a text such as `metrics.loss, started desc` describes. */
export function parseOrder(text: string): OrderTerm[] {
  if (text.length > 10_000) throw invalid(`${text.length} characters, limit 10000`);
  const terms = [""];
  for (const [piece] of text.matchAll(/`[^`]*`|"[^"]*"|'[^']*'|[^]/g))
    if (piece === ",") terms.push("");
    else terms[terms.length - 1] += piece;
  if (terms.length > maxTerms) throw invalid(`more than ${maxTerms} fields`);
  return terms.map((term) => {
    const words = term.trim();
    const direction = /\s(asc|desc)$/i.exec(words);
    const name = words.slice(0, direction?.index).trimEnd();
    const field = parseField(name);
    if (!field) throw invalid(`unknown field ${shown(name)}`);
    if (field.kind === "datasets") throw invalid(`a run may have several: ${shown(name)}`);
    return { field, descending: direction?.[1]!.toLowerCase() === "desc" };
  });
}

const invalid = (message: string) =>
  new ApiError("INVALID_PARAMETER_VALUE", `invalid order: ${message}`);

/** Returns an order as text that parseOrder reads as the same order. */
export const formatOrder = (order: OrderTerm[]): string =>
  order.map(({ field, descending }) => formatField(field) + (descending ? " desc" : "")).join(", ");
