import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { Api } from "../../client/api.ts";
import { Delivery } from "../../client/delivery.ts";
import { openFileJournal } from "../../client/journal/file.ts";
import {
  operationRecord,
  readRecords,
  type Journal,
  type Operation,
} from "../../client/journal/journal.ts";
import { planCut } from "../../client/plan.ts";
import { Tape } from "../../client/tape.ts";
import { newId } from "../../wire/id.ts";
import { testServer, type Fault } from "./lossy-server.ts";

const folder = mkdtempSync(join(tmpdir(), "assay-journal-"));
const server = await testServer();
afterAll(() => server.close());
let count = 0;

/** Opens a new journal with its head, and a tape that writes to it. */
function newJournal(): {
  journal: Journal;
  path: string;
  log: (values: Record<string, number>, step: number) => void;
} {
  const path = join(folder, `${count++}.journal`);
  const journal = openFileJournal(path);
  journal.append(
    operationRecord({ op: "head", url: server.url, run: newId(), writer: `w${count}` }),
  );
  const tape = new Tape((keys) => journal.append(operationRecord({ op: "shape", keys })));
  const log = (values: Record<string, number>, step: number) => {
    if (!tape.repeat(values, step, 5))
      tape.addRow(Object.keys(values), Object.values(values), step, 5);
    journal.append(tape.take());
  };
  return { journal, path, log };
}

const api = new Api(server.url);
const deliver = (journal: Journal) => Delivery.of(journal, api, { warn: () => undefined });

test("a journal cut off at any byte still gives all its whole records", () => {
  const records = ["a", "bb", "ccccccccc"]
    .map((text): Operation => ({ op: "print", time: 0, stream: "out", text }))
    .map(operationRecord);
  const bytes = new Uint8Array(Buffer.concat(records));
  const ends = records.map((_, i) =>
    records.slice(0, i + 1).reduce((n, record) => n + record.length, 0),
  );
  for (let length = 0; length <= bytes.length; length++)
    expect([...readRecords(bytes.slice(0, length), 0)]).toHaveLength(
      ends.filter((end) => end <= length).length,
    );
});

test("a cut holds one request of each kind, and ends with the run", () => {
  const { journal, log } = newJournal();
  log({ loss: 1, acc: 2 }, 0);
  const operations: Operation[] = [
    { op: "patch", body: { tags: { a: "1" } } },
    { op: "print", time: 1, stream: "err", text: "x" },
    { op: "patch", body: { tags: { a: null, b: "2" }, params: { p: 1 } } },
    { op: "finish", body: { state: "finished" } },
    { op: "print", time: 2, stream: "out", text: "never" },
  ];
  for (const operation of operations) journal.append(operationRecord(operation));
  return journal.read(0, journal.size).then((bytes) => {
    const cut = planCut(readRecords(bytes, 0), [], { from: 0 });
    expect(cut).toMatchObject({
      patch: { tags: { a: null, b: "2" }, params: { p: 1 } },
      lines: [{ text: "x" }],
      finish: { state: "finished" },
    });
    expect([cut.points!.keys, [...cut.points!.value]]).toEqual([
      ["loss", "acc"],
      [1, 2],
    ]);
    expect(cut.to).toBeLessThan(bytes.length);
  });
});

test(
  "whatever fails and whenever the process dies, each point arrives once",
  { timeout: 60_000 },
  async () => {
    const fault = fc.constantFrom<Fault | undefined>(
      undefined,
      "lose request",
      "lose answer",
      "busy",
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fault, fc.boolean()), {
          minLength: 1,
          maxLength: 5,
        }),
        async (rounds) => {
          server.points.length = 0;
          const { journal, path, log } = newJournal();
          const sent: string[] = [];
          let open = journal;
          let delivery = await deliver(open);
          let step = 0;
          for (const [rows, failure, dies] of rounds) {
            for (let i = 0; i < rows; i++, step++) {
              const values: Record<string, number> =
                step % 3 ? { loss: step } : { acc: step, loss: step };
              log(values, step);
              sent.push(...Object.entries(values).map(([key, value]) => `${key} ${step} ${value}`));
            }
            if (failure) server.faults.push(failure);
            const draining = delivery.drain();
            if (dies) {
              // The process is gone: what it had noted is all the next one knows.
              await new Promise((resolve) => setTimeout(resolve, 3));
              delivery.stop();
              await draining;
              server.faults.length = 0;
              open = openFileJournal(path, { isNew: false });
              delivery = await deliver(open);
              break;
            }
            await draining;
          }
          server.faults.length = 0;
          await delivery.drain();
          expect(server.points.toSorted()).toEqual(sent.toSorted());
          expect(delivery.isRefused).toBe(false);
          delivery.stop();
        },
      ),
      { numRuns: 25 },
    );
  },
);

test("a busy server is asked again when it says, a wrong token goes on being tried", async () => {
  const { journal, log } = newJournal();
  log({ loss: 1 }, 0);
  server.faults.push("busy", "unauthorised");
  const began = performance.now();
  const delivery = await deliver(journal);
  await delivery.drain();
  expect(performance.now() - began).toBeGreaterThan(1000);
  expect(delivery.progress).toMatchObject({ problem: undefined, points: 1 });
  delivery.stop();
});

test("points refused for good stay in the journal, and the reason is said once", async () => {
  const said: string[] = [];
  const { journal, log } = newJournal();
  log({ loss: 1 }, 0);
  server.faults.push("refuse");
  const delivery = await Delivery.of(journal, api, { warn: (message) => said.push(message) });
  await delivery.drain();
  log({ loss: 2 }, 1);
  await delivery.drain();
  expect([delivery.isRefused, said.length, said[0]]).toEqual([
    true,
    1,
    expect.stringContaining("told to: refuse"),
  ]);
  expect(journal.size).toBeGreaterThan(delivery.progress.delivered);
});

test("a refused patch or file is said and does not hold up the points", async () => {
  const said: string[] = [];
  const { journal, log } = newJournal();
  journal.append(operationRecord({ op: "patch", body: { params: { lr: 2 } } }));
  journal.append(
    operationRecord({ op: "file", path: "gone.bin", reference: "/nowhere/gone.bin", type: "" }),
  );
  log({ loss: 41 }, 0);
  server.faults.push("refuse");
  const delivery = await Delivery.of(journal, api, { warn: (message) => said.push(message) });
  await delivery.drain();
  expect(server.points).toContain("loss 0 41");
  expect(said).toEqual([
    expect.stringContaining("patch"),
    expect.stringContaining("artifact gone.bin is gone"),
  ]);
  delivery.stop();
});

test("a long journal is sent in requests of some ten thousand points, a row of 20,000 keys in one", async () => {
  server.points.length = 0;
  server.requests.length = 0;
  const { journal, log } = newJournal();
  for (let step = 0; step < 30_000; step++) log({ a: step }, step);
  log(Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`k${i}`, i])), 1);
  const delivery = await deliver(journal);
  await delivery.drain();
  expect(server.points).toHaveLength(50_000);
  expect(server.requests.filter((name) => name.endsWith("/points")).length).toBeLessThan(8);
  delivery.stop();
});
