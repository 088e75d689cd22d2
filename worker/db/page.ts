/** What a row is ordered by, as it came from the database. */
type KeyPart = string | number | null;
export type PageKey = KeyPart[];

/** One expression that rows are ordered by; rows that lack it come last, whichever way. */
export interface Order {
  by: string;
  bound?: KeyPart[];
  descending?: boolean;
  /** whether it may be NULL; defaults to false, which lets an index serve the order */
  nullable?: boolean;
}

/** Which rows make a page, and in what order. The last expressions of the order must tell any two rows apart. */
export interface PageOptions<Row, T> {
  columns: string;
  from: string;
  where: string;
  bound: KeyPart[];
  order: Order[];
  /** the key of the last row of the page before */
  after: PageKey | undefined;
  limit: number;
  /** makes items of rows; gives one for each */
  itemsOf: (rows: Row[]) => Promise<T[]> | T[];
  /** how many rows are read at first; defaults to 100, and then follows their size */
  chunk?: number;
  /** which items are wanted; all of them where it is not given */
  test?: ((item: T) => boolean) | undefined;
}

/** At most so many rows are looked at for a page that a test selects, and so many characters given. */
const maxRead = 5_000;
const maxText = 8_000_000;
/** Rows are read in lots of about so many characters. */
const lot = 1_000_000;

/**
 * Returns up to `limit` items in order, and the key after which the next page begins where there may be one. A page is
 * shorter than its limit where its items are large, or are few among many.
 */
export async function pageOf<Row extends object, T>(
  db: D1Database,
  options: PageOptions<Row, T>,
): Promise<{ items: T[]; next: PageKey | undefined }> {
  const { order, limit, itemsOf, test } = options;
  let chunk = options.chunk ?? 100;
  const items: T[] = [];
  let last: PageKey | undefined; // of the items given
  let seen = options.after;
  for (let read = 0, text = 0; read < maxRead;) {
    const wanted = test ? chunk : Math.min(chunk, limit + 1 - items.length);
    const rows = await readChunk<Row>(db, options, seen, wanted);
    const made = await itemsOf(rows);
    for (const [i, item] of made.entries()) {
      const key = order.map((_, k) => (rows[i] as Record<string, KeyPart>)[`k${k}`]!);
      seen = key;
      if (test && !test(item)) continue;
      if (items.length === limit || text > maxText) return { items, next: last ?? options.after };
      items.push(item);
      last = key;
      text += lengthOf(rows[i]!);
    }
    const size = rows.reduce((n, row) => n + lengthOf(row), 1);
    chunk = Math.min(Math.max(Math.floor((lot / size) * rows.length), 5), 1_000);
    read += rows.length;
    if (rows.length < wanted) return { items, next: undefined };
  }
  return { items, next: seen };
}

const lengthOf = (row: object): number =>
  Object.values(row).reduce<number>((n, v) => n + (typeof v === "string" ? v.length : 8), 0);

async function readChunk<Row>(
  db: D1Database,
  {
    columns,
    from,
    where,
    bound,
    order,
  }: Pick<PageOptions<Row, never>, "columns" | "from" | "where" | "bound" | "order">,
  after: PageKey | undefined,
  count: number,
): Promise<Row[]> {
  const keys = order.map(({ by }, i) => `${by} AS k${i}`).join(", ");
  const { sql, values } = after ? behind(order, after) : { sql: "1", values: [] };
  const by = order
    .map(
      ({ nullable, descending }, i) =>
        `${nullable ? `k${i} IS NULL, ` : ""}k${i}${descending ? " DESC" : ""}`,
    )
    .join(", ");
  const { results } = await db
    .prepare(
      `SELECT * FROM (SELECT ${columns}, ${keys} FROM ${from} WHERE ${where}) WHERE ${sql} ORDER BY ${by} LIMIT ?`,
    )
    .bind(...order.flatMap(({ bound = [] }) => bound), ...bound, ...values, count)
    .all<Row>();
  return results;
}

/** The condition that a row comes after a key: at the first expression that differs, it is behind. */
function behind(order: Order[], after: PageKey): { sql: string; values: KeyPart[] } {
  const values: KeyPart[] = [];
  const cases: string[] = [];
  for (const [i, { descending, nullable }] of order.entries()) {
    const at = after[i]!;
    if (at === null) continue; // nothing comes after what is missing
    const same = order.slice(0, i).map((_, j) => `k${j} IS ?`);
    values.push(...after.slice(0, i), at);
    const further = `k${i} ${descending ? "<" : ">"} ?`;
    cases.push([...same, nullable ? `(${further} OR k${i} IS NULL)` : further].join(" AND "));
  }
  return { sql: cases.length ? cases.map((c) => `(${c})`).join(" OR ") : "0", values };
}
