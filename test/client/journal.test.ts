import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { journalsIn, openFileJournal } from "../../client/journal/file.ts";
import {
  operationRecord,
  readRecords,
  type JournalRecord,
  type Operation,
} from "../../client/journal/journal.ts";
import { Tape } from "../../client/tape.ts";
import { temporaryFolder } from "./folder.ts";

const folder = temporaryFolder();
let files = 0;
const newPath = () => join(folder, `${files++}.journal`);

/** A record of one row of cells. */
function cellsRecord(values: number[]): Uint8Array {
  const tape = new Tape(() => undefined);
  tape.addRow(
    values.map((_, i) => `key ${i}`),
    values,
    1,
    2,
  );
  return tape.take().slice();
}

const print = (text: string): Operation => ({ op: "print", time: 1, stream: "out", text });
const contentOf = ({ cells, operation }: JournalRecord) => operation ?? [...cells!];

const records = fc.array(
  fc.oneof(
    fc.string({ unit: "binary" }).map((text) => operationRecord(print(text))),
    fc.array(fc.double(), { minLength: 1, maxLength: 5 }).map(cellsRecord),
  ),
  { minLength: 1, maxLength: 8 },
);

test("records are read as they were written, one after the other", () => {
  fc.assert(
    fc.property(records, (written) => {
      const bytes = Buffer.concat(written);
      const read = [...readRecords(new Uint8Array(bytes), 1000)];
      expect(read).toHaveLength(written.length);
      expect(read[0]!.start).toBe(1000);
      for (const [i, { end }] of read.entries())
        expect(end).toBe(read[i + 1]?.start ?? 1000 + bytes.length);
    }),
  );
});

test("a journal cut off at any byte still reads all its whole records", () => {
  fc.assert(
    fc.property(records, (written) => {
      const bytes = new Uint8Array(Buffer.concat(written));
      const whole = [...readRecords(bytes, 0)];
      for (let cut = 0; cut <= bytes.length; cut++) {
        const read = [...readRecords(bytes.subarray(0, cut), 0)];
        expect(read.map(contentOf)).toEqual(whole.filter(({ end }) => end <= cut).map(contentOf));
      }
    }),
    { numRuns: 50 },
  );
});

test("zeros, as a power cut leaves them at a file's end, are the end", () => {
  const record = operationRecord(print("last"));
  const bytes = new Uint8Array(record.length + 4096);
  bytes.set(record);
  expect([...readRecords(bytes, 0)].map(contentOf)).toEqual([print("last")]);
});

test("bytes that are no journal are said to be none", () => {
  const bytes = new TextEncoder().encode("loss,acc\n0.5,0.9\n");
  expect(() => [...readRecords(bytes, 0)]).toThrow(/^invalid journal: record of kind \d+ at 0$/);
});

test("an operation keeps its numbers and its unicode", () => {
  const operation: Operation = {
    op: "patch",
    body: { params: { a: -0, b: 0.1, "ключ 🗝": "\u2028 \u0000" } },
  };
  const [record] = readRecords(operationRecord(operation), 0);
  expect(record!.operation).toEqual(operation);
});

test("NaN and infinities of an operation are kept as their three strings", () => {
  const params = { a: NaN, b: Infinity, c: -Infinity };
  const [record] = readRecords(operationRecord({ op: "patch", body: { params } }), 0);
  expect(record!.operation).toEqual({
    op: "patch",
    body: { params: { a: "NaN", b: "Infinity", c: "-Infinity" } },
  });
});

test("a file journal is read back by another process as it was written", async () => {
  const path = newPath();
  const journal = openFileJournal(path);
  for (const text of ["a", "b", "c"]) journal.append(operationRecord(print(text)));
  const again = openFileJournal(path, { isNew: false });
  expect(again.size).toBe(journal.size);
  const read = [...readRecords(await again.read(0, Infinity), 0)];
  expect(read.map(contentOf)).toEqual(["a", "b", "c"].map(print));
  expect(journalsIn(folder)).toContain(path);
});

test("what is appended to a journal that was let go is not written anywhere", () => {
  const path = newPath();
  const journal = openFileJournal(path);
  journal.append(operationRecord(print("kept")));
  journal.close();
  const [other, size] = [newPath(), readFileSync(path).length];
  const stranger = openFileJournal(other); // takes the same file descriptor
  journal.append(operationRecord(print("late")));
  journal.close();
  expect(readFileSync(other)).toHaveLength(0);
  expect(readFileSync(path)).toHaveLength(size);
  stranger.append(operationRecord(print("own")));
  expect(readFileSync(other).length).toBeGreaterThan(0);
});

test("a journal of the same name is never written over", () => {
  const path = newPath();
  writeFileSync(path, "mine");
  expect(() => openFileJournal(path)).toThrow(/EEXIST/);
});

test("content in memory is kept beside the journal, content on disk by its path", async () => {
  const path = newPath();
  const journal = openFileJournal(path);
  const disk = join(folder, "disk.txt");
  writeFileSync(disk, "on disk");
  const references = await Promise.all([
    journal.keep(new TextEncoder().encode("bytes")),
    journal.keep(new Blob(["blob"])),
    journal.keep(disk),
  ]);
  const again = openFileJournal(path, { isNew: false });
  const contents = await Promise.all(references.map((one) => again.content(one)));
  expect(await Promise.all(contents.map((one) => one!.text()))).toEqual([
    "bytes",
    "blob",
    "on disk",
  ]);
});

test("a file that is not there, and a folder, are not kept", async () => {
  const journal = openFileJournal(newPath());
  await expect(journal.keep(join(folder, "nothing.bin"))).rejects.toThrow(/nothing\.bin/);
  await expect(journal.keep(folder)).rejects.toThrow(/not a file/);
});

test("removing a journal removes what it kept, and leaves the user's files", async () => {
  const path = newPath();
  const journal = openFileJournal(path);
  const mine = join(folder, "mine.bin");
  writeFileSync(mine, "mine");
  await journal.keep(mine);
  const kept = await journal.keep(new Uint8Array(10));
  await journal.remove();
  expect(() => readFileSync(path)).toThrow(/ENOENT/);
  expect(() => readFileSync(kept)).toThrow(/ENOENT/);
  expect(readFileSync(mine, "utf8")).toBe("mine");
});

test("trimming takes away what a killed process left half written", () => {
  const path = newPath();
  const journal = openFileJournal(path);
  journal.append(operationRecord(print("whole")));
  const whole = journal.size;
  journal.append(operationRecord(print("half")));
  truncateSync(path, whole + 13);
  const again = openFileJournal(path, { isNew: false });
  again.trim(whole);
  again.append(operationRecord(print("next")));
  const texts = [...readRecords(new Uint8Array(readFileSync(path)), 0)].map(contentOf);
  expect(texts).toEqual([print("whole"), print("next")]);
});
