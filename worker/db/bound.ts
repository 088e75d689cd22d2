/** Values that a statement is bound to, all in one parameter: D1 takes at most 100 of them. */
export interface Bound {
  /** SQL for a value: text, or a number, infinite ones included */
  value(value: string | number): string;
  /** SQL for the right side of IN */
  list(values: Iterable<string | number>): string;
  /** SQL that is always true and names the parameter, which D1 would not let be bound otherwise */
  named: string;
  /** what to bind the parameter to: a JSON array, known once the statement is */
  text(): string;
}

/** Returns where to put values that go with a parameter such as `?1`. */
export function boundTo(param: string): Bound {
  const values: unknown[] = [];
  const places = new Map<unknown, number>();
  return {
    value(value) {
      const place = places.get(value) ?? values.push(value) - 1;
      places.set(value, place);
      return `(${param} ->> '$[${place}]')`;
    },
    list: (list) => `(SELECT value FROM json_each(${param}, '$[${values.push([...list]) - 1}]'))`,
    named: `${param} IS NOT NULL`,
    text: () => JSON.stringify(values, (_, v: unknown) => (isInfinite(v) ? rawInfinity(v) : v)),
  };
}

const isInfinite = (value: unknown): value is number => value === Infinity || value === -Infinity;
const rawInfinity = (value: number) => JSON.rawJSON(value > 0 ? "1e999" : "-1e999");
