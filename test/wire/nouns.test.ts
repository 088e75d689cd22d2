import * as fc from "fast-check";
import { expect, test } from "vitest";
import { flattenParams } from "../../wire/config.ts";
import { formatCursor, parseCursor, seenUpTo } from "../../wire/cursor.ts";
import { shown } from "../../wire/error.ts";
import { treeFromFiles } from "../../wire/file.ts";
import { isId, newId } from "../../wire/id.ts";
import { maybeNumber, toJSON } from "../../wire/json.ts";
import { wordsFromId } from "../../wire/run-name.ts";
import { isStalled } from "../../wire/run.ts";
import { pointsFromJSON } from "../../wire/point.ts";
import { mergeSummaries, summarize } from "../../wire/summary.ts";

test("ids are UUIDv7: of their version, in the order of their time", () => {
  const [early, late] = [newId(1_000), newId(2_000)];
  expect([isId(early), early[12], early < late]).toEqual([true, "7", true]);
  expect(["", "x", early.toUpperCase(), `${early}0`, 5].map(isId)).toEqual([
    false,
    false,
    false,
    false,
    false,
  ]);
});

test("JSON keeps NaN, the infinities and negative zero", () => {
  const text = toJSON({ a: [NaN, Infinity, -Infinity, -0, 0, 1.5] });
  expect(text).toBe('{"a":["NaN","Infinity","-Infinity",-0.0,0,1.5]}');
  expect(JSON.parse(text).a.map(maybeNumber)).toEqual([NaN, Infinity, -Infinity, -0, 0, 1.5]);
});

test("values in messages are printable and short", () => {
  expect(shown("a\u0000b")).toBe("a\\u0000b");
  expect(shown("x".repeat(100))).toBe(`${"x".repeat(80)}… (100 characters)`);
  expect([shown(undefined), shown(NaN), shown({ a: 1 })]).toEqual(["undefined", "NaN", '{"a":1}']);
});

test("config is flattened with dots, arrays become JSON, types stay", () => {
  expect(
    flattenParams({
      a: { b: { c: 1 } },
      list: [1, "x"],
      yes: true,
      no: null,
      gone: undefined,
      nan: "NaN",
      big: 10n,
      when: new Date(0),
    }),
  ).toEqual({
    "a.b.c": 1,
    list: '[1,"x"]',
    yes: true,
    no: null,
    nan: NaN,
    big: "10",
    when: '"1970-01-01T00:00:00.000Z"',
  });
  expect(Object.keys(flattenParams(JSON.parse('{"__proto__": 1}')))).toEqual(["__proto__"]);
});

test("a cursor remembers exactly what changed of late, and whatever is older by its time", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(9), fc.integer({ min: 1, max: 10 ** 12 })), { minLength: 1 }),
      (changes) => {
        const cursor = parseCursor(formatCursor(changes));
        for (const [run] of changes) {
          const last = Math.max(...changes.filter(([other]) => other === run).map(([, at]) => at));
          expect(seenUpTo(cursor, run)).toBeGreaterThanOrEqual(last); // nothing is told twice
        }
        expect(seenUpTo(cursor, 99)).toBe(Math.max(0, cursor.at - 60_000)); // nothing is missed
      },
    ),
  );
  expect(() => parseCursor("'; drop")).toThrow("invalid since: '; drop");
});

test("summaries of parts, in any order, make the summary of the whole", () => {
  const point = fc.record({
    key: fc.constant("k"),
    step: fc.integer({ min: 0, max: 3 }),
    time: fc.integer({ min: 0, max: 2 }),
    value: fc.constantFrom(0, 1, -1, 2, "NaN", "Infinity"),
  });
  fc.assert(
    fc.property(fc.array(point, { minLength: 2, maxLength: 12 }), fc.nat(), (points, seed) => {
      const whole = summarize(pointsFromJSON(points)).get("k")!;
      const parts = points
        .map((p) => summarize(pointsFromJSON([p])).get("k")!)
        .sort(
          (a, b) => ((a.last * 7 + a.step + seed) % 3) - ((b.last * 7 + b.step + seed) % 3) || 0,
        );
      expect(parts.reduce(mergeSummaries)).toEqual(whole);
    }),
  );
});

test("a run is stalled when it says it runs and has been silent for over a minute", () => {
  const at = (state: "running" | "finished", heartbeat: number) =>
    isStalled({ state, heartbeat }, 100_000);
  expect([at("running", 40_001), at("running", 39_000), at("finished", 0)]).toEqual([
    false,
    true,
    false,
  ]);
});

test("a run without a name gets a readable one, always the same", () => {
  const id = newId();
  expect(wordsFromId(id)).toMatch(/^[a-z]+-[a-z]+$/);
  expect(wordsFromId(id)).toBe(wordsFromId(id));
});

test("a listing without files is an empty tree", () => {
  expect(treeFromFiles([])).toEqual({ name: "", path: "", size: 0, children: [] });
});
