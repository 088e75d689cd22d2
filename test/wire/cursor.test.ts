import * as fc from "fast-check";
import { expect, test } from "vitest";
import { formatCursor, parseCursor, seenUpTo } from "../../wire/cursor.ts";

test("under a clock that steps by up to a minute either way, each change is told once", () => {
  const act = fc.record({
    run: fc.nat(4),
    clock: fc.oneof(fc.integer({ min: -29_000, max: 29_000 }), fc.constant(0)),
    advance: fc.oneof(fc.nat(20), fc.nat(100_000)),
    reads: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const touched = new Map<number, number>();
      const changes: { run: number; at: number; told: number }[] = [];
      let [time, cursor] = [1e12, ""];
      const read = () => {
        const since = parseCursor(cursor);
        for (const change of changes) if (change.at > seenUpTo(since, change.run)) change.told++;
        cursor = formatCursor(touched, since);
      };
      for (const { run, clock, advance, reads } of acts) {
        time += advance;
        const at = Math.max(time + clock, (touched.get(run) ?? 0) + 1); // as the Worker's statements say
        touched.set(run, at);
        changes.push({ run, at, told: 0 });
        if (reads) read();
      }
      read();
      expect(changes.filter(({ told }) => told !== 1)).toEqual([]);
    }),
    { numRuns: 500 },
  );
});

test.for(["A", "a b", "a.", "a.b", "a-b", "-1", "a.1-", "%00", "123456789012", "a.1-1.."])(
  "%j is no cursor",
  (text) => {
    expect(() => parseCursor(text)).toThrow(`invalid since: ${text}`);
  },
);

test("no cursor, and the empty one, are the start", () => {
  expect([parseCursor(undefined), parseCursor("")]).toEqual(
    Array.from({ length: 2 }, () => ({ at: 0, seen: new Map() })),
  );
  expect(formatCursor([])).toBe("0");
});
