import { Buffer } from "node:buffer";
import { gunzipSync } from "node:zlib";
import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { tableFromIPC } from "@uwdata/flechette";
import * as fc from "fast-check";
import { parquetReadObjects } from "hyparquet";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import worker from "../../worker/index.ts";
import { emptyPoints, pointsFromJSON, type Points } from "../../wire/point.ts";
import { collectAnswers } from "../../worker/db/answers.ts";
import { compactRun } from "../../worker/db/compact.ts";
import { appendPoints } from "../../worker/db/tail.ts";
import { freshStores, startRun } from "./worker.ts";

freshStores();
afterEach(() => vi.restoreAllMocks());

const formats = ["arrow", "csv", "json", "parquet"] as const;
type Format = (typeof formats)[number];

/** Asks the Worker directly: on the way through a fetch the platform would inflate an answer. */
async function get(path: string, headers: Record<string, string> = {}, method = "GET") {
  const request = new Request(`http://127.0.0.1/api/v1/${path}`, { method, headers });
  const answer = await worker.fetch(request, env, createExecutionContext());
  const bytes = Buffer.from(await answer.arrayBuffer());
  return { status: answer.status, headers: answer.headers, bytes };
}
const head = (path: string, headers?: Record<string, string>) => get(path, headers, "HEAD");

/** Appends points past the route, after which they would be compacted. */
async function append(run: string, ...requests: Points[]): Promise<number> {
  let no = 0;
  for (const points of requests)
    ({ no } = await appendPoints(env.DB, run, crypto.randomUUID(), 0, points));
  return no;
}

const isTime = (name: string) => name === "time" || /^(first|last)Time$/.test(name);
const isText = (name: string) => name === "run" || name === "key";

const numberOf = (cell: unknown) =>
  Number(typeof cell === "string" ? cell.replace(/inf$/, "Infinity") : cell);

/** The cells of a row that are not missing, as text that equal rows have in common, NaN and −0 told apart. */
const rowText = (cells: Iterable<[string, unknown]>) =>
  [...cells]
    .filter(([, cell]) => cell !== null && cell !== undefined && cell !== "")
    .map(([name, cell]) => {
      if (isText(name)) return `${name}=${cell as string}`;
      const number = isTime(name) ? Number(new Date(cell as string | Date)) : numberOf(cell);
      return `${name}=${Object.is(number, -0) ? "-0" : number}`;
    })
    .sort()
    .join(" ");

const csvRecord = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n)/g;
function* recordsOf(csv: string): Generator<string[]> {
  let record: string[] = [];
  for (const [, field = "", end] of csv.matchAll(csvRecord)) {
    record.push(field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field);
    if (end === ",") continue;
    yield record;
    record = [];
  }
}

const readers: Record<Format, (bytes: Buffer) => string[] | Promise<string[]>> = {
  arrow(bytes) {
    const table = tableFromIPC(new Uint8Array(bytes), { useDate: false });
    const columns = table.names.map((_, i) => table.getChildAt(i));
    return Array.from({ length: table.numRows }, (_, row) =>
      rowText(table.names.map((name, i) => [name, columns[i]!.at(row)])),
    );
  },
  csv(bytes) {
    const [names, ...records] = recordsOf(bytes.toString());
    return records.map((record) => rowText(names!.map((name, i) => [name, record[i]])));
  },
  json: (bytes) =>
    (JSON.parse(bytes.toString()) as object[]).map((row) => rowText(Object.entries(row))),
  parquet: async (bytes) => (await parquetOf(bytes)).map((row) => rowText(Object.entries(row))),
};

const parquetOf = (bytes: Buffer) =>
  parquetReadObjects({
    file: new Uint8Array(bytes).buffer,
    compressors: { GZIP: (zipped) => gunzipSync(zipped) },
  });

async function rowsOf(format: Format, query: string): Promise<string[]> {
  const { status, bytes } = await get(`points.${format}?${query}`);
  if (status !== 200) throw new Error(bytes.toString());
  return readers[format](bytes);
}

interface Point {
  key: string;
  step: number;
  time: number;
  value: number;
}

const longText = (run: string, points: Point[]) =>
  points.map((point) => rowText(Object.entries({ run, ...point })));

/** The rows of the wide table, from the sorted rows of the long one. */
function wideText(points: Point[]): string[] {
  const places = Map.groupBy(points, ({ step, time }) => `${step} ${time}`);
  return [...places.values()]
    .sort(([a], [b]) => a!.step - b!.step || a!.time - b!.time)
    .flatMap((own) => {
      const { step, time } = own[0]!;
      const series = [...Map.groupBy(own, ({ key }) => key)];
      const height = Math.max(...series.map(([, { length }]) => length));
      return Array.from({ length: height }, (_, row) =>
        rowText([
          ...Object.entries({ step, time }),
          ...series.map(([key, values]): [string, unknown] => [key, values[row]?.value]),
        ]),
      );
    });
}

const compareValues = (a: number, b: number) =>
  Number(Number.isNaN(a)) - Number(Number.isNaN(b)) ||
  Number(a > b) - Number(a < b) ||
  Number(Object.is(b, -0)) - Number(Object.is(a, -0));
const sorted = (points: Point[]) =>
  points.toSorted(
    (a, b) =>
      (a.key < b.key ? -1 : Number(a.key > b.key)) ||
      a.step - b.step ||
      a.time - b.time ||
      compareValues(a.value, b.value),
  );

/** Points as the route for JSON takes them. */
const toPoints = (points: Point[]) =>
  pointsFromJSON(
    points.map((p) => ({ ...p, value: Number.isFinite(p.value) ? p.value : String(p.value) })),
  );

const point = fc.record({
  key: fc.constantFrom("loss", "a,b", 'q"', "ü 😀", "7", "run.key"),
  step: fc.oneof(fc.integer({ min: -2, max: 3 }), fc.double({ min: -1, max: 1, noNaN: true })),
  time: fc.integer({ min: 1000, max: 1002 }),
  value: fc.oneof(fc.constantFrom(NaN, Infinity, -Infinity, 0, -0), fc.double({ noNaN: true })),
});

test("all formats say the same rows, long and wide, nothing lost and nothing made up", async () => {
  const lot = fc.array(
    point.map((p) => ({ ...p, step: p.step + 0 })),
    { maxLength: 25 },
  );
  await fc.assert(
    fc.asyncProperty(lot, lot, async (stored, tail) => {
      const run = await startRun();
      if (stored.length) await compactRun(env, await append(run, toPoints(stored)));
      if (tail.length) await append(run, toPoints(tail));
      const points = sorted([...stored, ...tail]);
      for (const format of formats) {
        expect(await rowsOf(format, `run=${run}`)).toEqual(longText(run, points));
        expect(await rowsOf(format, `run=${run}&layout=wide`)).toEqual(wideText(points));
      }
    }),
    { numRuns: 40 },
  );
}, 20_000);

test("all formats say the same buckets", async () => {
  const run = await startRun();
  const series = (key: string, value: (i: number) => number) =>
    Array.from({ length: 2000 }, (_, i) => ({ key, step: i / 4, time: 5000 + i, value: value(i) }));
  const points = [
    ...series("noise", (i) => Math.sin(i * i)),
    ...series("special", (i) => [NaN, Infinity, -Infinity, -0, 0][i % 5]!),
    ...series("nothing", () => NaN),
  ];
  await compactRun(env, await append(run, toPoints(points)));
  const query = `run=${run}&buckets=100&from=3`;
  const rows = await rowsOf("arrow", query);
  expect(rows.length).toBeGreaterThan(150);
  for (const format of formats) expect(await rowsOf(format, query)).toEqual(rows);
});

test("a run without points and a run with one are answered in every format and layout", async () => {
  const run = await startRun();
  const one = { key: "loss", step: 3, time: 7000, value: NaN };
  const answers = () =>
    Promise.all(
      ["", "layout=wide", "buckets=5", "key=none", "key=none&layout=wide"].flatMap((more) =>
        formats.map(async (format) => (await rowsOf(format, `run=${run}&${more}`)).length),
      ),
    );
  expect(new Set(await answers())).toEqual(new Set([0]));
  await append(run, toPoints([one]));
  expect(await answers()).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  for (const format of formats) {
    expect(await rowsOf(format, `run=${run}`)).toEqual(longText(run, [one]));
    expect(await rowsOf(format, `run=${run}&layout=wide`)).toEqual(["loss=NaN step=3 time=7000"]);
  }
});

test("Parquet has text, doubles and times as such, and null where a wide row has no value", async () => {
  const run = await startRun();
  const points = [
    { key: "a", step: 0, time: 1000, value: NaN },
    { key: "a", step: 1, time: 1001, value: -0 },
    { key: "b", step: 1.5, time: 253_402_300_799_999, value: -Infinity },
  ];
  await append(run, toPoints(points));
  const { bytes } = await get(`points.parquet?run=${run}`);
  expect(await parquetOf(bytes)).toEqual(
    points.map(({ time, ...rest }) => ({ run, ...rest, time: new Date(time) })),
  );
  const wide = await get(`points.parquet?run=${run}&layout=wide`);
  expect(await parquetOf(wide.bytes)).toEqual([
    { step: 0, time: new Date(1000), a: NaN, b: null },
    { step: 1, time: new Date(1001), a: -0, b: null },
    { step: 1.5, time: new Date(253_402_300_799_999), a: null, b: -Infinity },
  ]);
});

test("a wide table has the metrics named step and time, too, beside the steps and times", async () => {
  const run = await startRun();
  const values = { step: 10.5, time: 20.5, a: 30.5 };
  const points = Object.entries(values).map(([key, value]) => ({ key, step: 1, time: 2, value }));
  await append(run, toPoints(points));
  for (const format of formats) {
    const [row] = await rowsOf(format, `run=${run}&layout=wide`);
    const names = row!.split(" ").map((cell) => cell.split("=")[0]);
    expect([format, names.length, new Set(names).size]).toEqual([format, 5, 5]);
    expect([format, row]).toEqual([format, expect.stringMatching(/(^| )step=1( |$)/)]);
  }
});

/** A run of 6 keys at 75,000 steps, some missing: windows, row groups and parts of a kept answer are several. */
async function longRun(): Promise<string> {
  const run = await startRun();
  const lots = Array.from({ length: 9 }, (_, lot) => {
    const points = emptyPoints(["k0", "k1", "k2", "k3", "k4", "k5"], 50_000);
    for (let i = 0; i < 50_000; i++) {
      const n = lot * 50_000 + i;
      points.key[i] = n % 6;
      points.step[i] = Math.floor(n / 6) - 1000;
      points.time[i] = isLater(n) ? 1 : 0;
      points.value[i] = n;
    }
    return points;
  });
  await compactRun(env, await append(run, ...lots));
  return run;
}
/** Some points of a step have another time, and so rows of their own. */
const isLater = (n: number) => n % 35 === 0;

describe("a run of 450,000 points", () => {
  let run: string;
  beforeAll(async () => void (run = await longRun()));

  test("is a wide table, read range by range of steps", async () => {
    const { bytes } = await get(`points.arrow?run=${run}&layout=wide`);
    const table = tableFromIPC(new Uint8Array(bytes), { useDate: false });
    const [step, time, ...keys] = table.names.map((_, i) => table.getChildAt(i));
    let row = 0;
    for (let s = 0; s < 75_000; s++)
      for (const t of [0, 1]) {
        const cells = keys.map((_, k) => (isLater(s * 6 + k) === (t === 1) ? s * 6 + k : null));
        if (cells.every((cell) => cell === null)) continue;
        const found = [step!.at(row), time!.at(row), ...keys.map((column) => column.at(row))];
        if (!found.every((cell, i) => cell === [s - 1000, t, ...cells][i]))
          expect(found).toEqual([s - 1000, t, ...cells]);
        row++;
      }
    expect(table.numRows).toBe(row);
  });

  test("is the same in every format, in many blocks", async () => {
    const query = `run=${run}&key=k0&key=k1&from=-900`;
    const rows = await rowsOf("arrow", query);
    expect(rows.length).toBe(149_800);
    for (const format of formats) expect(await rowsOf(format, query)).toEqual(rows);
  });

  test("is a file larger than a part of an upload, and any range of it is that of the whole", async () => {
    const path = `points.csv?run=${run}&prefix=k&to=40000`;
    const { bytes } = await get(path);
    const part = 5 * 1024 * 1024;
    expect(bytes.length).toBeGreaterThan(2 * part);
    expect(Number((await head(path)).headers.get("content-length"))).toBe(bytes.length);
    for (const [first, last] of [
      [0, 99],
      [part - 50, part + 49],
      [bytes.length - 100, bytes.length - 1],
    ] as const) {
      const range = await get(path, { range: `bytes=${first}-${last}` });
      expect(range.bytes.toString()).toBe(bytes.toString("utf8", first, last + 1));
    }
  });
});

test("a wide table of 2,000 keys has each point in its column, in every format", async () => {
  const run = await startRun();
  const points = Array.from({ length: 48_000 }, (_, i) => {
    const step = Math.floor(i / 80);
    return { key: `k${(i * 7 + step) % 2000}`, step, time: 1000, value: i };
  });
  await compactRun(env, await append(run, toPoints(points.slice(0, 40_000))));
  await append(run, toPoints(points.slice(40_000)));
  const expected = wideText(sorted(points));
  expect(expected.length).toBe(600);
  for (const format of formats) {
    const rows = await rowsOf(format, `run=${run}&layout=wide`);
    expect(rows.every((row, i) => row === expected[i])).toBe(true);
    expect(rows.length).toBe(600);
  }
}, 20_000);

async function smallRun(): Promise<string> {
  const run = await startRun();
  const points = Array.from({ length: 3000 }, (_, step) => ({
    key: "loss",
    step,
    time: 1000 + step,
    value: Math.sin(step),
  }));
  await append(run, toPoints(points));
  return run;
}
const more = toPoints([{ key: "more", step: 0, time: 1, value: 1 }]);
const kept = async () => (await env.FILES.list({ prefix: "answers/" })).objects.length;

describe.for(["csv", "parquet"] as const)("%s as a file", (format) => {
  const served = async () => {
    const path = `points.${format}?run=${await smallRun()}`;
    return { path, whole: (await get(path)).bytes };
  };

  test("HEAD tells the size of the whole, and that it may be had in ranges", async () => {
    const { path, whole } = await served();
    const { status, headers, bytes } = await head(path, { "accept-encoding": "gzip" });
    expect([status, bytes.length, headers.get("content-length")]).toEqual([
      200,
      0,
      String(whole.length),
    ]);
    expect(headers.get("accept-ranges")).toBe("bytes");
    expect(headers.get("content-encoding")).toBeNull();
  });

  test("a range is that of the whole: first, middle, last, open, one byte, cut at the end", async () => {
    const { path, whole } = await served();
    const size = whole.length;
    for (const [range, first, end] of [
      ["0-99", 0, 100],
      ["1000-1999", 1000, 2000],
      ["-8", size - 8, size],
      [`-${size + 5}`, 0, size],
      ["500-", 500, size],
      [`${size - 1}-${size - 1}`, size - 1, size],
      [`100-${size + 1000}`, 100, size],
    ] as const) {
      const { status, headers, bytes } = await get(path, { range: `bytes=${range}` });
      expect([range, status, headers.get("content-range")]).toEqual([
        range,
        206,
        `bytes ${first}-${end - 1}/${size}`,
      ]);
      expect(headers.get("content-length")).toBe(String(end - first));
      expect(Buffer.compare(bytes, whole.subarray(first, end))).toBe(0);
    }
  });

  test("a range beyond the end is refused, several ranges and other units are answered whole", async () => {
    const { path, whole } = await served();
    const { status, bytes } = await get(path, { range: `bytes=${whole.length}-` });
    expect([status, JSON.parse(bytes.toString())]).toEqual([
      416,
      {
        error_code: "RANGE_NOT_SATISFIABLE",
        message: `invalid range: bytes=${whole.length}- of ${whole.length} bytes`,
      },
    ]);
    for (const range of ["bytes=0-1,4-5", "lines=0-9", "bytes=a-b"]) {
      const answer = await get(path, { range });
      expect([range, answer.status]).toEqual([range, 200]);
      expect(Buffer.compare(answer.bytes, whole)).toBe(0);
    }
  });

  test("a range of what has changed since is answered whole", async () => {
    const { path, whole } = await served();
    const etag = (await head(path)).headers.get("etag")!;
    const conditional = (tag: string) => get(path, { range: "bytes=0-9", "if-range": tag });
    expect((await conditional(etag)).bytes).toEqual(whole.subarray(0, 10));
    for (const other of ['"0123"', "Wed, 21 Oct 2026 07:28:00 GMT"]) {
      const { status, bytes } = await conditional(other);
      expect([status, Buffer.compare(bytes, whole)]).toEqual([200, 0]);
    }
  });

  test("is made once for all its ranges, and again when it has been collected", async () => {
    const { path, whole } = await served();
    await collectAnswers(env.FILES, { grace: -1000 });
    expect(await kept()).toBe(0);
    await head(path);
    expect(await kept()).toBe(1);
    const put = vi.spyOn(env.FILES, "put");
    for (const range of ["bytes=0-9", "bytes=-9"]) await get(path, { range });
    expect(put).not.toHaveBeenCalled();
    expect(await collectAnswers(env.FILES)).toBe(0); // within the day of grace
    expect(await collectAnswers(env.FILES, { grace: -1000 })).toBe(1);
    expect((await get(path, { range: "bytes=10-99" })).bytes).toEqual(whole.subarray(10, 100));
    expect(await kept()).toBe(1);
  });
});

test.for(["csv", "parquet"])(
  "under one strong tag the bytes of a file are the same, compacted in between or not: %s",
  async (format) => {
    const run = await startRun();
    const points = emptyPoints(["loss"], 50_000);
    points.time.fill(1000);
    points.step.set([...points.step.keys()]);
    const later = { ...points, step: points.step.map((step) => step + 50_000) };
    const no = await append(run, points, later);
    const read = () => get(`points.${format}?run=${run}`, { range: "bytes=0-" });
    const before = await read();
    await collectAnswers(env.FILES, { grace: -1000 });
    await compactRun(env, no);
    const after = await read();
    if (before.headers.get("etag") === after.headers.get("etag"))
      expect(Buffer.compare(before.bytes, after.bytes)).toBe(0);
  },
);

test("who has an answer is told so, until there are more points", async () => {
  const run = await smallRun();
  for (const format of formats)
    for (const method of ["GET", "HEAD"]) {
      const path = `points.${format}?run=${run}`;
      const etag = (await get(path, {}, method)).headers.get("etag")!;
      for (const tag of [etag, `W/${etag.replace("W/", "")}`, `"other", ${etag}`, "*"]) {
        const { status, headers, bytes } = await get(path, { "if-none-match": tag }, method);
        expect([tag, status, bytes.length]).toEqual([tag, 304, 0]);
        expect(headers.get("etag")).toBe(etag);
      }
      await append(run, more);
      const { status, headers } = await get(path, { "if-none-match": etag }, method);
      expect([status, headers.get("etag") === etag]).toEqual([200, false]);
    }
});

test.for(["", "layout=wide", "buckets=10"])(
  "with until an answer is immutable, whatever comes after it: %s",
  async (query) => {
    const run = await smallRun();
    const cursor = (await head(`points.arrow?run=${run}`)).headers.get("x-assay-cursor")!;
    const paths = formats.map((format) => `points.${format}?run=${run}&until=${cursor}&${query}`);
    const before = await Promise.all(paths.map((path) => get(path)));
    for (const { headers } of before)
      expect([headers.get("cache-control"), headers.get("x-assay-cursor")]).toEqual([
        "private, max-age=31536000, immutable",
        cursor,
      ]);
    await append(run, more);
    const after = await Promise.all(paths.map((path) => get(path)));
    expect(after.map(({ headers }) => headers.get("etag"))).toEqual(
      before.map(({ headers }) => headers.get("etag")),
    );
    for (const [i, format] of formats.entries()) {
      expect(await readers[format](after[i]!.bytes)).toEqual(
        await readers[format](before[i]!.bytes),
      );
      if (format !== "arrow")
        expect([format, after[i]!.bytes.length]).toEqual([format, before[i]!.bytes.length]);
    }
  },
);

test("without until an answer is asked for anew each time, and hands out the cursor for the next", async () => {
  const run = await smallRun();
  for (const format of formats) {
    const { headers } = await get(`points.${format}?run=${run}`);
    expect(headers.get("cache-control")).toBe("private, no-cache");
    const since = headers.get("x-assay-cursor")!;
    expect(await rowsOf(format, `run=${run}&since=${since}`)).toEqual([]);
    await append(run, more);
    expect(await rowsOf(format, `run=${run}&since=${since}`)).toEqual([
      `key=more run=${run} step=0 time=1 value=1`,
    ]);
  }
});

test.for(["", "layout=wide", "buckets=50"])(
  "gzipped or not an answer is the same bytes; Parquet is compressed in itself: %s",
  async (query) => {
    const run = await smallRun();
    for (const format of formats) {
      const path = `points.${format}?run=${run}&${query}`;
      const plain = await get(path, { "accept-encoding": "identity" });
      const zipped = await get(path, { "accept-encoding": "gzip" });
      const encodings = [plain, zipped].map(({ headers }) => headers.get("content-encoding"));
      expect([format, encodings]).toEqual([format, [null, format === "parquet" ? null : "gzip"]]);
      const unzipped = format === "parquet" ? zipped.bytes : gunzipSync(zipped.bytes);
      expect(Buffer.compare(unzipped, plain.bytes)).toBe(0);
    }
  },
);
