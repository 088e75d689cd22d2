import { testOf } from "../../wire/comparison.ts";
import { ApiError } from "../../wire/error.ts";
import type { Comparison, Filter, Value } from "../../wire/filter.ts";
import {
  parseMlflowOrder,
  parseMlflowWhere,
  type MlflowEntity,
  type MlflowField,
} from "../../wire/mlflow-query.ts";
import type { Order } from "../db/page.ts";

export type Clause = Comparison<MlflowField>;

/** Returns the AND-ed comparisons of a filter of MLflow's; none where there is no filter. */
export function clausesOf(entity: MlflowEntity, text: string | undefined): Clause[] {
  return text?.trim() ? comparisonsOf(parseMlflowWhere(entity, text)) : [];
}

function comparisonsOf(filter: Filter<MlflowField>): Clause[] {
  if (filter.type === "compare") return [filter];
  if (filter.type === "and") return filter.filters.flatMap(comparisonsOf);
  throw new Error(`MLflow's filters have no ${filter.type}`);
}

/**
 * Returns whether all clauses hold of an item; `valuesOf` gives what the item has of a field, nothing where it lacks it.
 * Of several values one is enough.
 */
export function testAll<T>(
  clauses: Clause[],
  valuesOf: (item: T, clause: Clause) => Value[],
): (item: T) => boolean {
  const tests = clauses.map((clause) => {
    if (clause.operator === "IS NULL") return (item: T) => valuesOf(item, clause).length === 0;
    const test = testOf(clause);
    return (item: T) => valuesOf(item, clause).some(test);
  });
  return (item) => tests.every((test) => test(item));
}

/** A value that may be missing, as values. */
export const maybe = (value: Value | null | undefined): Value[] =>
  value === null || value === undefined ? [] : [value];

/** What an object of names that users chose has under a name. */
export const ownValue = (record: Record<string, string>, key: string): Value[] =>
  Object.hasOwn(record, key) ? [record[key]!] : [];

/** Returns the order that texts of MLflow's order_by describe; `orderOf` gives the expression of a field. */
export function ordersOf(
  entity: MlflowEntity,
  texts: string[],
  orderOf: (field: MlflowField) => Order | undefined,
): { field: MlflowField; order: Order }[] {
  const found = texts.map((text) => {
    const { field, descending } = parseMlflowOrder(entity, text);
    const order = orderOf(field);
    if (!order)
      throw new ApiError(
        "INVALID_PARAMETER_VALUE",
        `Invalid order_by clause '${text}': a ${entity} has no order by ${field.kind} '${field.key}'`,
      );
    return { field, order: { ...order, descending } };
  });
  const seen = new Set(found.map(({ order }) => JSON.stringify([order.by, order.bound])));
  if (seen.size < found.length)
    throw new ApiError(
      "INVALID_PARAMETER_VALUE",
      `\`order_by\` contains duplicate fields: ${texts.join(", ")}`,
    );
  return found;
}

/** Appends the orders that tell any two items apart, where they are not among those asked for. */
export const withTies = (orders: Order[], ties: Order[]): Order[] => [
  ...orders,
  ...ties.filter(({ by }) => !orders.some((order) => order.by === by)),
];
