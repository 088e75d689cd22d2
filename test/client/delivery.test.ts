import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeEach, expect, test } from "vitest";
import { Api } from "../../client/api.ts";
import { Delivery } from "../../client/delivery.ts";
import { openFileJournal } from "../../client/journal/file.ts";
import { operationRecord, type Journal, type Operation } from "../../client/journal/journal.ts";
import { syncJournal } from "../../client/sync.ts";
import { Tape } from "../../client/tape.ts";
import { temporaryFolder } from "./folder.ts";
import { SmallServer, type Fault } from "./server.ts";

const folder = temporaryFolder();
const server = await new SmallServer().open();
afterAll(() => server.close());
let runs = 0;

beforeEach(async () => {
  await server.open();
  server.reset();
});

/** A journal file of a new run, and a way to log rows into it as a run does. */
function newJournal() {
  const id = String(runs++).padStart(32, "0");
  const path = join(folder, `${id}.journal`);
  const journal = openFileJournal(path);
  const append = (operation: Operation) => journal.append(operationRecord(operation));
  append({ op: "head", url: server.url, run: id, writer: "w" });
  append({ op: "start", body: { id, experiment: "delivery" } });
  const tape = new Tape((keys) => append({ op: "shape", keys }));
  let step = 0;
  const log = (values: Record<string, number>) => {
    tape.addRow(Object.keys(values), Object.values(values), step++, 1000);
    journal.append(tape.take());
  };
  return { id, path, journal, append, log };
}

const said: string[] = [];
const deliveryOf = (journal: Journal, token?: string) => {
  said.length = 0;
  return Delivery.of(journal, new Api(server.url, { token }), { warn: (text) => said.push(text) });
};
/** The delivery that the next process makes of a journal. */
const reopened = (path: string) => deliveryOf(openFileJournal(path, { isNew: false }));

const finish: Operation = { op: "finish", body: { state: "finished" } };
/** The values of a key as the server has them, in the order they came. */
const valuesOf = (key: string) =>
  server.run.points.filter((point) => point.key === key).map(({ value }) => value);
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);

test("a run, its points, lines and end are delivered in a request each", async () => {
  const { id, journal, append, log } = newJournal();
  log({ loss: NaN, acc: -0 });
  append({ op: "print", time: 7, stream: "err", text: "epoch 1" });
  append({ op: "patch", body: { params: { lr: -0 }, tags: { good: "" } } });
  append(finish);
  const delivery = await deliveryOf(journal);
  await delivery.drain();
  expect(delivery.isFinished).toBe(true);
  expect(server.seen.map(({ what }) => what)).toEqual([
    "start",
    "patch",
    "points",
    "console",
    "finish",
  ]);
  expect(server.run).toEqual({
    start: { id, experiment: "delivery" },
    patches: [{ params: { lr: -0 }, tags: { good: "" } }],
    points: [
      { key: "loss", step: 0, time: 1000, value: NaN },
      { key: "acc", step: 0, time: 1000, value: -0 },
    ],
    lines: [{ text: "epoch 1", stream: "err", time: 7 }],
    files: {},
    finish: { state: "finished" },
  });
});

test.for<Fault>(["before", "after", { status: 503 }, { status: 500 }, { status: 429 }])(
  "points come once where the request fails: %j",
  async (fault) => {
    const { journal, log } = newJournal();
    for (const loss of upTo(10)) log({ loss });
    server.faults = [undefined, fault];
    await (await deliveryOf(journal)).drain();
    expect(valuesOf("loss")).toEqual(upTo(10));
    expect(server.count("points")).toBe(2);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/does not answer .*; logging goes on into .*\.journal$/);
  },
);

test("points whose answer was lost are sent under the same number by the next process", async () => {
  const { path, journal, append, log } = newJournal();
  const delivery = await deliveryOf(journal);
  log({ loss: 0 });
  await delivery.drain();
  log({ loss: 1 });
  server.faults = ["after"];
  server.faultOf = () => "before";
  void delivery.drain();
  await until(() => server.count("points") === 2);
  delivery.stop();
  server.faultOf = () => undefined;
  append(finish);
  await (await reopened(path)).drain();
  expect(valuesOf("loss")).toEqual([0, 1]);
  expect(server.run.finish).toEqual({ state: "finished" });
});

/** A journal that dies when told to, or with its n-th byte, the last record written in part; nothing comes after. */
function mortal(journal: Journal, bytes: number, died: () => void) {
  let left = bytes;
  const die = () => {
    left = -1;
    died();
  };
  const append = (records: Uint8Array) => {
    if (left < 0) return;
    journal.append(records.subarray(0, left));
    if (records.length > left) die();
    else left -= records.length;
  };
  const alive = { ...journal, append, trim: (size: number) => left < 0 || journal.trim(size) };
  Object.defineProperty(alive, "size", { get: () => journal.size });
  return { journal: alive as Journal, die };
}

// The first process logs rows, in rounds with a delivery after each; the others find what it left. Each dies with the
// n-th byte that its delivery notes in the journal, or at a fault of the server, whichever comes first.
const life = fc.record({
  bytes: fc.integer({ min: 0, max: 500 }),
  faults: fc.array(fc.constantFrom<Fault | undefined>(undefined, "before", "after"), {
    maxLength: 8,
  }),
});
const rounds = fc.array(fc.array(fc.constantFrom("loss", "acc", "both"), { maxLength: 5 }), {
  maxLength: 4,
});

test("whenever processes die and whatever the server does, each point logged arrives once, in order", async () => {
  await fc.assert(
    fc.asyncProperty(rounds, fc.array(life, { maxLength: 5 }), async (rounds, lives) => {
      server.reset();
      const { path, journal, log } = newJournal();
      const logged: Record<string, number[]> = { loss: [], acc: [] };
      const logRow = (row: string, n: number) => {
        const keys = row === "both" ? ["loss", "acc"] : [row];
        for (const key of keys) logged[key]!.push(n);
        log(Object.fromEntries(keys.map((key) => [key, n])));
      };
      let n = 0;
      let isFirst = true;
      for (const { bytes, faults } of lives) {
        let isDead = false;
        const opened = isFirst ? journal : openFileJournal(path, { isNew: false });
        const body = mortal(opened, bytes, () => {
          isDead = true;
          delivery.stop();
        });
        const delivery = await deliveryOf(body.journal);
        server.faults = [...faults];
        server.failed = body.die;
        for (const rows of isFirst ? rounds : [[]]) {
          if (isDead) break;
          for (const row of rows) logRow(row, n++);
          await delivery.drain();
        }
        body.die();
        opened.close();
        isFirst = false;
      }
      server.faults = [];
      const delivery = await reopened(path);
      await delivery.drain();
      expect(delivery.isRefused).toBe(false);
      expect({ loss: valuesOf("loss"), acc: valuesOf("acc") }).toEqual(logged);
    }),
    { numRuns: 300 },
  );
}, 60_000);

test("a journal cut off at any byte is delivered up to its last whole record, and ends as killed", async () => {
  const { path, journal, log } = newJournal();
  for (const loss of upTo(5)) log({ loss });
  const bytes = readFileSync(path);
  const sizes = [...new Set([0, ...upTo(bytes.length)])].filter((n) => n % 3 === 0);
  journal.close();
  for (const size of sizes) {
    server.reset();
    writeFileSync(path, bytes);
    truncateSync(path, size);
    const outcome = await syncJournal(openFileJournal(path, { isNew: false }), {
      isAlive: () => false,
    });
    expect(outcome.state).toBe("sent");
    const found = server.runs.size ? valuesOf("loss") : [];
    expect(found).toEqual(upTo(found.length));
    if (server.runs.size) expect(server.run.finish!.state).toBe("killed");
  }
  expect(valuesOf("loss").length).toBeGreaterThan(3);
}, 30_000);

test("shapes declared before a crash are known after it", async () => {
  const { path, journal, append, log } = newJournal();
  log({ a: 0 });
  log({ b: 1, a: 2 });
  await (await deliveryOf(journal)).drain();
  log({ b: 3, a: 4 });
  log({ c: 5 });
  log({ a: 6 });
  append(finish);
  await (await reopened(path)).drain();
  expect(server.run.points.map(({ key, value }) => [key, value])).toEqual([
    ["a", 0],
    ["b", 1],
    ["a", 2],
    ["b", 3],
    ["a", 4],
    ["c", 5],
    ["a", 6],
  ]);
});

test("more points than a request may carry, and more journal than is read at once, are cut rightly", async () => {
  const { path, journal, append, log } = newJournal();
  const n = 60_000;
  for (const loss of upTo(n)) log({ loss, acc: -loss });
  expect(journal.size).toBeGreaterThan(2_000_000);
  append(finish);
  const delivery = await deliveryOf(journal);
  await delivery.drain();
  expect(valuesOf("loss")).toEqual(upTo(n));
  expect(server.count("points")).toBe((2 * n) / 10_000);
  expect(delivery.progress).toMatchObject({ points: 2 * n });
  expect((await reopened(path)).progress.delivered).toBeGreaterThan(2_000_000);
});

test("one record larger than the journal is read at once is read whole", async () => {
  const { journal, log } = newJournal();
  const keys = upTo(45_000).map((i) => `${"x".repeat(90)} ${i}`);
  log(Object.fromEntries(keys.map((key, i) => [key, i])));
  expect(journal.size).toBeGreaterThan(4_000_000);
  await (await deliveryOf(journal)).drain();
  expect(server.run.points.map(({ value }) => value)).toEqual(upTo(45_000));
}, 30_000);

test("Retry-After is honoured, in seconds and as a date", async () => {
  const { journal, log } = newJournal();
  log({ loss: 1 });
  const date = new Date(Date.now() + 2500).toUTCString();
  server.faults = [
    { status: 503, retryAfter: "2" },
    { status: 429, retryAfter: date },
  ];
  await (await deliveryOf(journal)).drain();
  const [first, second] = server.seen.map(({ at }) => at);
  expect(second! - first!).toBeGreaterThanOrEqual(1950);
  expect(server.seen[2]!.at).toBeGreaterThanOrEqual(Date.parse(date) - 50);
});

test("each attempt waits longer than the one before it", async () => {
  const { journal } = newJournal();
  server.faults = Array.from({ length: 3 }, () => ({ status: 503 }));
  await (await deliveryOf(journal)).drain();
  const times = server.seen.map(({ at }) => at);
  for (const [i, least] of [250, 500, 1000].entries()) {
    expect(times[i + 1]! - times[i]!).toBeGreaterThanOrEqual(least - 20);
    expect(times[i + 1]! - times[i]!).toBeLessThan(2 * least + 200);
  }
}, 20_000);

test("asked to drain, it tries again at once, unless the server asked for time", async () => {
  const { journal } = newJournal();
  server.faultOf = () => ({ status: 503 });
  const delivery = await deliveryOf(journal);
  const drained = delivery.drain();
  await until(() => server.seen.length === 3);
  await new Promise((resolve) => setTimeout(resolve, 100)); // it has a second or more to wait
  const began = Date.now();
  server.faultOf = () => undefined;
  await delivery.drain();
  await drained;
  expect(Date.now() - began).toBeLessThan(200);
});

test("points refused for good stay in the journal, and why is said once", async () => {
  const { path, journal, log } = newJournal();
  const delivery = await deliveryOf(journal);
  log({ loss: 1 });
  const body = JSON.stringify({ error_code: "INVALID_PARAMETER_VALUE", message: "invalid key: x" });
  server.faultOf = ({ what }) => (what === "points" ? { status: 400, body } : undefined);
  await delivery.drain();
  log({ loss: 2 });
  await delivery.drain();
  expect(delivery).toMatchObject({ isRefused: true, isFinished: false });
  expect(said).toEqual([
    expect.stringMatching(/^assay: points of run \w+ refused: invalid key: x$/),
  ]);
  server.faultOf = () => undefined;
  await (await reopened(path)).drain();
  expect(valuesOf("loss")).toEqual([1, 2]);
});

test.for([401, 403, 408, 425, 429])(
  "a status %i is asked again: it can be mended",
  async (status) => {
    const { journal, log } = newJournal();
    log({ loss: 1 });
    const body = JSON.stringify({ error_code: "UNAUTHENTICATED", message: "wrong token" });
    server.faults = [undefined, { status, body }];
    const delivery = await deliveryOf(journal, "secret");
    await delivery.drain();
    expect(valuesOf("loss")).toEqual([1]);
    expect(delivery.isRefused).toBe(false);
    expect(server.seen[1]!.headers["authorization"]).toBe("Bearer secret");
  },
);

test.for<Fault>([
  { status: 200, type: "text/html", body: "<h1>Sign in</h1>" },
  { status: 404, type: "text/html", body: "<h1>nginx</h1>" },
  { status: 502, body: "null" },
])("what a proxy says is neither a receipt nor a refusal: %j", async (fault) => {
  const { journal, log } = newJournal();
  log({ loss: 1 });
  server.faults = [undefined, fault];
  await (await deliveryOf(journal)).drain();
  expect(valuesOf("loss")).toEqual([1]);
});

test("a refused patch, line or file does not stop the points", async () => {
  const { journal, append, log } = newJournal();
  append({ op: "patch", body: { note: "x" } });
  append({ op: "print", time: 1, stream: "out", text: "x" });
  const file = join(folder, "a.txt");
  writeFileSync(file, "x");
  append({ op: "file", path: "a.txt", reference: file, type: "text/plain" });
  log({ loss: 1 });
  append(finish);
  const body = JSON.stringify({ error_code: "INVALID_PARAMETER_VALUE", message: "no" });
  server.faultOf = ({ what }) =>
    ["patch", "console", "files"].includes(what) ? { status: 400, body } : undefined;
  const delivery = await deliveryOf(journal);
  await delivery.drain();
  expect(valuesOf("loss")).toEqual([1]);
  expect(delivery.isFinished).toBe(true);
  expect(said.map((text) => text.split(" ")[1])).toEqual(["patch", "lines", "file"]);
});

test("a run that another closed is refused, not tried for ever", async () => {
  const { journal, log } = newJournal();
  const delivery = await deliveryOf(journal);
  await delivery.drain();
  server.run.finish = { state: "killed" };
  log({ loss: 1 });
  await delivery.drain();
  expect(delivery.isRefused).toBe(true);
  expect(said[0]).toContain("run is killed");
});

test("a server that hangs is given up when the delivery is stopped", async () => {
  const { journal, log } = newJournal();
  server.faults = [undefined, "hang"];
  log({ loss: 1 });
  const delivery = await deliveryOf(journal);
  const drained = delivery.drain();
  await until(() => server.seen.length === 2);
  const began = Date.now();
  delivery.stop();
  await drained;
  expect(Date.now() - began).toBeLessThan(100);
});

test("files are sent with their content, type and SHA-256, an empty one too", async () => {
  const { journal, append } = newJournal();
  const content = new Uint8Array(300_000).map((_, i) => i * 7);
  const names: [string, Uint8Array][] = [
    ["plots/кривая №1.png", content],
    ["empty", new Uint8Array()],
  ];
  for (const [path, bytes] of names)
    append({ op: "file", path, reference: await journal.keep(bytes), type: "image/png" });
  await (await deliveryOf(journal)).drain();
  for (const [path, bytes] of names)
    expect(server.run.files[path]).toEqual({
      content: Buffer.from(bytes),
      type: "image/png",
      sha256: createHash("sha256").update(bytes).digest("hex"),
    });
});

test("a file that is gone, a folder and one too large are said and passed over", async () => {
  const { journal, append } = newJournal();
  const huge = join(folder, "huge.bin");
  writeFileSync(huge, "");
  truncateSync(huge, 100_000_001);
  mkdirSync(join(folder, "folder.bin"), { recursive: true });
  for (const name of ["gone.bin", "huge.bin", "folder.bin"])
    append({ op: "file", path: name, reference: join(folder, name), type: "a/b" });
  append(finish);
  const delivery = await deliveryOf(journal);
  await delivery.drain();
  expect(delivery.isFinished).toBe(true);
  expect(said).toEqual([
    `assay: artifact gone.bin is gone: ${join(folder, "gone.bin")}`,
    "assay: artifact huge.bin is too large: 100000001 bytes, limit 100000000",
    expect.stringContaining("folder.bin"),
  ]);
  rmSync(huge);
});

test("a file on disk that changes between two attempts is sent as it is then", async () => {
  const { journal, append } = newJournal();
  const path = join(folder, "checkpoint.pt");
  writeFileSync(path, "epoch 1");
  append({ op: "file", path: "checkpoint.pt", reference: path, type: "a/b" });
  server.faultOf = ({ what }) => {
    if (what !== "files") return undefined;
    server.faultOf = () => undefined;
    writeFileSync(path, "epoch 2, longer");
    return { status: 503 };
  };
  await (await deliveryOf(journal)).drain();
  expect(server.run.files["checkpoint.pt"]!.content.toString()).toBe("epoch 2, longer");
});

/** Resolves once something is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
}
