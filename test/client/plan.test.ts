import fc from "fast-check";
import { expect, test } from "vitest";
import {
  operationRecord,
  readRecords,
  type JournalRecord,
  type Operation,
} from "../../client/journal/journal.ts";
import { planCut } from "../../client/plan.ts";
import { Tape } from "../../client/tape.ts";

/** The records of a journal that holds these operations and rows, shapes declared as they come. */
function journalOf(...items: (Operation | Record<string, number>)[]): JournalRecord[] {
  const bytes: Uint8Array[] = [];
  const tape = new Tape((keys) => bytes.push(operationRecord({ op: "shape", keys })));
  for (const [step, item] of items.entries()) {
    if (typeof item["op"] === "string") bytes.push(operationRecord(item));
    else {
      tape.addRow(Object.keys(item), Object.values(item), step, 1000 + step);
      bytes.push(tape.take().slice());
    }
  }
  return [...readRecords(new Uint8Array(Buffer.concat(bytes)), 0)];
}

/** All cuts of a journal, one after the other, as a delivery makes them. */
function cutsOf(records: JournalRecord[]) {
  const cuts = [];
  for (let from = 0, shapes: string[][] = []; ;) {
    const cut = planCut(
      records.filter(({ start }) => start >= from),
      shapes,
      { from },
    );
    if (cut.to === from) return cuts;
    cuts.push(cut);
    from = cut.to;
  }
}

const print = (text: string): Operation => ({ op: "print", time: 5, stream: "err", text });
const patch = (body: Extract<Operation, { op: "patch" }>["body"]): Operation => ({
  op: "patch",
  body,
});
const row = (n: number, prefix = "key") =>
  Object.fromEntries(Array.from({ length: n }, (_, i) => [`${prefix} ${i}`, i]));

test("a cut holds one request of each kind", () => {
  const [cut, ...more] = cutsOf(
    journalOf(
      { op: "head", url: "http://a", run: "r", writer: "w" },
      { op: "start", body: { id: "r" } },
      { loss: 0.5, acc: 0.25 },
      print("epoch 1"),
      patch({ note: "good" }),
      { loss: 0.125 },
      { op: "file", path: "a.txt", reference: "/a.txt", type: "text/plain" },
      { op: "finish", body: { state: "finished" } },
    ),
  );
  expect(more).toEqual([]);
  expect(cut).toMatchObject({
    start: { id: "r" },
    patch: { note: "good" },
    lines: [{ text: "epoch 1", stream: "err", time: 5 }],
    files: [{ path: "a.txt" }],
    finish: { state: "finished" },
  });
  expect(cut!.points).toEqual({
    keys: ["loss", "acc"],
    key: Uint32Array.of(0, 1, 0),
    step: Float64Array.of(2, 2, 5),
    time: Float64Array.of(1002, 1002, 1005),
    value: Float64Array.of(0.5, 0.25, 0.125),
  });
});

test("times are whole milliseconds", () => {
  const tape = new Tape(() => undefined);
  tape.addRow(["loss"], [1], 0, 1000.75);
  const cut = planCut(readRecords(tape.take(), 0), [["loss"]], { from: 0 });
  expect(cut.points!.time[0]).toBe(1000);
});

test("the finish ends a cut, whatever follows it", () => {
  const records = journalOf({ loss: 1 }, { op: "finish", body: { state: "failed" } }, { loss: 2 });
  const [first, second] = cutsOf(records);
  expect(first).toMatchObject({
    finish: { state: "failed" },
    points: { step: Float64Array.of(0) },
  });
  expect(first!.to).toBe(records.find(({ operation }) => operation?.op === "finish")!.end);
  expect(second).toMatchObject({ points: { step: Float64Array.of(2) } });
});

test("of patches, the last name, note and tags hold, and the first of each param", () => {
  const [cut] = cutsOf(
    journalOf(
      patch({ note: "a", params: { lr: 0.1 } }),
      patch({ tags: { x: "1", y: "1" } }),
      patch({ note: "b", params: { lr: 0.2, wd: 0 } }),
      patch({ tags: { y: null } }),
    ),
  );
  expect(cut!.patch).toEqual({
    note: "b",
    params: { lr: 0.1, wd: 0 },
    tags: { x: "1", y: null },
  });
});

test("no request holds more than 10,000 points", () => {
  const cuts = cutsOf(journalOf(...Array.from({ length: 25_003 }, (_, i) => ({ loss: i }))));
  expect(cuts.map(({ points }) => points!.step.length)).toEqual([10_000, 10_000, 5_003]);
});

test("no request holds more than 5,000 keys, unless one row does", () => {
  const rows = Array.from({ length: 8 }, (_, i) => row(1000, `lot ${i}`));
  expect(cutsOf(journalOf(...rows)).map(({ points }) => points!.keys.length)).toEqual([5000, 3000]);
  const [small, large] = cutsOf(journalOf({ loss: 1 }, row(6000)));
  expect([small!.points!.keys.length, large!.points!.keys.length]).toEqual([1, 6000]);
});

test("no request holds more console lines than the Worker's rows have room for", () => {
  const many = cutsOf(journalOf(...Array.from({ length: 4500 }, (_, i) => print(`line ${i}`))));
  expect(many.map(({ lines }) => lines.length)).toEqual([2000, 2000, 500]);
  const long = cutsOf(
    journalOf(...Array.from({ length: 30 }, () => print("\u001b".repeat(99_000)))),
  );
  for (const { lines } of long)
    expect(Buffer.byteLength(JSON.stringify(lines))).toBeLessThan(1_900_000);
  expect(long.flatMap(({ lines }) => lines)).toHaveLength(30);
});

test("a recovered cut is what it was, though the journal has grown and the limits are others", () => {
  const records = journalOf(...Array.from({ length: 12_000 }, (_, i) => ({ loss: i })));
  const [first] = cutsOf(records.slice(0, 100));
  expect(planCut(records, [], { from: 0, to: first!.to })).toEqual(first);
  const all = planCut(records, [], { from: 0, to: records.at(-1)!.end });
  expect(all.points!.step).toHaveLength(12_000);
});

test("cuts follow each other without a gap, and together hold every point in its order", () => {
  const item = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.dictionary(fc.constantFrom("a", "b", "c"), fc.double(), { minKeys: 1 }),
    },
    fc.integer({ min: 1, max: 7000 }).map((n) => row(n)),
    fc.string().map(print),
  );
  fc.assert(
    fc.property(fc.array(item, { maxLength: 30 }), (items) => {
      const records = journalOf(...items);
      const cuts = cutsOf(records);
      for (const [i, { from, to }] of cuts.entries())
        expect([from, to]).toEqual([
          cuts[i - 1]?.to ?? 0,
          cuts[i + 1]?.from ?? records.at(-1)!.end,
        ]);
      const sent = cuts.flatMap(({ points: p }) =>
        p ? Array.from(p.key, (k, i) => [p.keys[k], p.step[i], p.value[i]]) : [],
      );
      const logged = items.flatMap((item, step) =>
        "op" in item ? [] : Object.entries(item).map(([key, value]) => [key, step, value]),
      );
      expect(sent).toEqual(logged);
    }),
    { numRuns: 60 },
  );
});
