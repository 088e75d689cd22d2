import type { OrderTerm } from "../../wire/order.ts";
import type { Bound } from "./bound.ts";
import { sourceOf } from "./run-fields.ts";

/**
 * Returns an order as terms for ORDER BY in statements over `runs`: what is missing last, NaN before it, whatever the
 * direction. The mean of a metric may be rounded otherwise than in JavaScript, in its last digit.
 */
export function orderBySQL(
  order: OrderTerm[],
  bound: Bound,
  options: { artifactURI?: string | undefined } = {},
): string {
  return order
    .flatMap(({ field, descending }) => {
      const { type, value, isPresent, isBoolean } = sourceOf(field, bound, options);
      const direction = descending ? "DESC" : "ASC";
      const missingLast = `(${isPresent}) IS NOT TRUE`;
      if (type === "number") return [missingLast, `${value} IS NULL`, `${value} ${direction}`];
      if (type !== "any") return [missingLast, `${value} ${direction}`];
      return [
        missingLast,
        `${value} = 'NaN'`,
        `CASE WHEN ${isBoolean} THEN 1 WHEN typeof(${value}) = 'text' AND ${value} NOT IN ('Infinity', '-Infinity') THEN 2 ELSE 0 END ${direction}`,
        `CASE ${value} WHEN 'Infinity' THEN 9e999 WHEN '-Infinity' THEN -9e999 ELSE ${value} END ${direction}`,
      ];
    })
    .join(", ");
}
