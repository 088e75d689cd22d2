import { env } from "cloudflare:workers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { pageOf, type PageKey } from "../../worker/db/page.ts";
import { freshStores } from "./worker.ts";

freshStores();

interface Row {
  id: number;
  a: number | string | null;
  b: number | null;
}

const value = fc.oneof(
  fc.constant(null),
  fc.integer({ min: -2, max: 2 }),
  fc.constantFrom(0.1, -1e300, 5e-324, Number.MAX_VALUE),
);
const rows = fc.array(fc.record({ a: value, b: value }), { maxLength: 40 });
const order = fc.record({ a: fc.boolean(), b: fc.boolean(), id: fc.boolean() });

/** Orders values, those that are missing last whichever way. */
function compared(
  x: number | string | null,
  y: number | string | null,
  descending: boolean,
): number {
  if (x === y) return 0;
  if (x === null || y === null) return x === null ? 1 : -1;
  return x < y === descending ? 1 : -1;
}

test("pages are the whole list in its order, whatever is missing or the same", async () => {
  await env.DB.prepare("CREATE TABLE listed (id INTEGER PRIMARY KEY, a ANY, b ANY) STRICT").run();
  await fc.assert(
    fc.asyncProperty(
      rows,
      order,
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 4 }),
      async (content, down, limit, modulus) => {
        const listed = content.map((row, id): Row => ({ id, ...row }));
        await env.DB.batch([
          env.DB.prepare("DELETE FROM listed"),
          ...listed.map(({ id, a, b }) =>
            env.DB.prepare("INSERT INTO listed VALUES (?, ?, ?)").bind(id, a, b),
          ),
        ]);
        const test = modulus === 1 ? undefined : ({ id }: Row) => id % modulus === 0;
        const found: Row[] = [];
        for (let after: PageKey | undefined; ;) {
          const { items, next } = await pageOf<Row, Row>(env.DB, {
            columns: "id, a, b",
            from: "listed",
            where: "id >= ?",
            bound: [0],
            order: [
              { by: "a", descending: down.a, nullable: true },
              { by: "b + ?", bound: [0], descending: down.b, nullable: true },
              { by: "id", descending: down.id },
            ],
            after,
            limit,
            chunk: 3,
            test,
            itemsOf: (rows) => rows.map(({ id, a, b }) => ({ id, a, b })),
          });
          expect(items.length).toBeLessThanOrEqual(limit);
          found.push(...items);
          if (!next) break;
          after = JSON.parse(JSON.stringify(next)) as PageKey;
        }
        const wanted = listed
          .filter(test ?? (() => true))
          .sort(
            (x, y) =>
              compared(x.a, y.a, down.a) ||
              compared(x.b, y.b, down.b) ||
              compared(x.id, y.id, down.id),
          );
        expect(found).toEqual(wanted);
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);

test("a page whose items are large, or few among many, is short and leads on", async () => {
  await env.DB.prepare("CREATE TABLE many (id INTEGER PRIMARY KEY, text TEXT) STRICT").run();
  await env.DB.prepare(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
     INSERT INTO many SELECT i, hex(zeroblob(iif(i <= 20, 500000, 1))) FROM n`,
  ).run();
  const page = (after: PageKey | undefined, test?: (id: number) => boolean) =>
    pageOf<{ id: number }, number>(env.DB, {
      columns: "id, text",
      from: "many",
      where: "1",
      bound: [],
      order: [{ by: "id" }],
      after,
      limit: 1_000,
      chunk: test ? 100 : 5,
      test,
      itemsOf: (rows) => rows.map(({ id }) => id),
    });
  const large = await page(undefined);
  expect(large.items.length).toBeLessThan(20);
  expect((await page(large.next)).items[0]).toBe(large.items.at(-1)! + 1);
  const few = await page([20], (id) => id === 11_999);
  expect(few.items).toEqual([]);
  const more = await page(few.next, (id) => id === 11_999);
  expect([...more.items, ...(await page(more.next, (id) => id === 11_999)).items]).toContain(
    11_999,
  );
}, 60_000);
