import {
  Bool,
  Dictionary,
  Float64,
  Int32,
  Table,
  TimestampMillisecond,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { inOneBatch } from "../../client/one-batch.ts";

const column = <T>(values: fc.Arbitrary<T>) =>
  fc.array(fc.option(values, { freq: 3 }), { minLength: 40, maxLength: 40 });
const columns = fc.record({
  text: column(fc.string()),
  number: column(fc.double()),
  time: column(fc.nat()),
  boolean: column(fc.boolean()),
  word: column(fc.constantFrom("a", "b")),
  full: fc.array(fc.double(), { minLength: 40, maxLength: 40 }),
  none: fc.constant(new Array<null>(40).fill(null)),
});

test("a table cut anywhere is in one batch what it was", () => {
  const cuts = fc.array(fc.nat(40), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(columns, cuts, ({ text, number, time, boolean, word, full, none }, at) => {
      const whole: Table = new Table({
        text: vectorFromArray(text, new Utf8()),
        number: vectorFromArray(number, new Float64()),
        time: vectorFromArray(time, new TimestampMillisecond()),
        boolean: vectorFromArray(boolean, new Bool()),
        word: vectorFromArray(word, new Dictionary(new Utf8(), new Int32())),
        full: vectorFromArray(full, new Float64()),
        none: vectorFromArray(none, new Utf8()),
      });
      whole.schema.metadata.set("cursor", "5");
      const edges = [0, ...at.toSorted((a, b) => a - b), 40];
      const parts = edges.slice(1).map((end, i) => whole.slice(edges[i], end));
      const joined = inOneBatch(parts[0]!.concat(...parts.slice(1)));
      expect(joined.batches).toHaveLength(1);
      expect(joined.schema.metadata.get("cursor")).toBe("5");
      for (const { name, type } of whole.schema.fields) {
        const vector = joined.getChild(name)!;
        expect(String(vector.type)).toBe(String(type));
        expect(vector.nullCount).toBe(whole.getChild(name)!.nullCount);
        expect(vector.toJSON(), name).toEqual(whole.getChild(name)!.toJSON());
      }
    }),
  );
});
