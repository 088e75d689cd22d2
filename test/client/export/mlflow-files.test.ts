import fc from "fast-check";
import { expect, test } from "vitest";
import { writeMlflowFiles } from "../../../client/export/mlflow-files.ts";
import { StoreNames } from "../../../client/export/mlflow-names.ts";
import { metaToYAML } from "../../../client/export/mlflow-yaml.ts";
import type { Found, FoundExperiment, FoundRun } from "../../../client/import/found.ts";
import { readMlflowFiles } from "../../../client/import/mlflow-files.ts";
import { parseMeta } from "../../../client/import/mlflow-meta.ts";
import { emptyPoints, type Points } from "../../../wire/point.ts";
import { comparable } from "../import/comparable.ts";
import { MemorySink } from "./memory-sink.ts";

const anyText = fc.string({ unit: "grapheme" });

test("any text in a meta.yaml is read back as it was", () => {
  fc.assert(
    fc.property(fc.oneof(anyText, fc.string({ unit: "binary" })), (text) => {
      const meta = { name: text, list: [text], map: { [`key ${text}`]: text }, none: null };
      expect(parseMeta(metaToYAML(meta))).toEqual(meta);
    }),
  );
});

test("numbers in a meta.yaml are read back as their text", () => {
  const meta = parseMeta(metaToYAML({ start_time: 1_760_000_000_000, status: 3 }));
  expect(meta).toEqual({ start_time: "1760000000000", status: "3" });
});

/** A name that MLflow takes and a file store has room for. */
const name = fc
  .array(fc.stringMatching(/^[A-Za-z0-9_é损][A-Za-z0-9_. :é损-]{0,8}$/), {
    minLength: 1,
    maxLength: 3,
  })
  .map((parts) => parts.join("/"));
const texts = fc
  .dictionary(name, anyText, { maxKeys: 6 })
  .filter((all) => hasRoom(Object.keys(all)));
const id = fc.stringMatching(/^[0-9a-f]{32}$/);
const time = fc.integer({ min: 1, max: 253_402_300_799_999 });
const value = fc.oneof(fc.double(), fc.constantFrom(NaN, Infinity, -Infinity, -0, 5e-324, 1e21));
const step = fc.oneof(fc.maxSafeInteger(), fc.nat(100));

function hasRoom(keys: string[]): boolean {
  const names = new StoreNames();
  return keys.every((key) => names.nameOf(key) === key);
}

const points = fc
  .record({
    keys: fc.uniqueArray(name, { minLength: 1, maxLength: 4 }).filter(hasRoom),
    rows: fc.array(fc.tuple(fc.nat(3), step, time, value), { maxLength: 40 }),
  })
  .map(({ keys, rows }): Points => {
    const all = emptyPoints(keys, rows.length);
    rows.forEach(([k, step, time, value], i) => {
      all.key[i] = k % keys.length;
      all.step[i] = step;
      all.time[i] = time;
      all.value[i] = value;
    });
    return all;
  });

const run = fc
  .record({
    id,
    name: fc.oneof(fc.constant(""), anyText),
    state: fc.constantFrom("running", "scheduled", "finished", "failed", "killed"),
    params: texts,
    tags: texts,
    note: anyText,
    parent: fc.option(id),
    started: fc.option(time),
    ended: fc.option(time),
    deleted: fc.boolean(),
    points,
    files: fc.dictionary(name, anyText, { maxKeys: 3 }).filter((all) => hasRoom(Object.keys(all))),
  })
  .map(({ points, files, ...fields }): FoundRun => ({
    kind: "run",
    experiment: "1",
    paramsAreText: true,
    source: "",
    inputs: [],
    modelInputs: [],
    modelOutputs: [],
    ...fields,
    async *points() {
      if (points.key.length) yield points;
    },
    async *files() {
      for (const [path, text] of Object.entries(files))
        yield { path, open: async () => new Blob([text]) };
    },
  }));

const experiment = fc
  .record({
    name: anyText.filter((text) => text !== ""),
    note: anyText,
    tags: texts,
    created: fc.option(time),
    deleted: fc.boolean(),
  })
  .map((fields): FoundExperiment => ({ kind: "experiment", id: "1", ...fields }));

async function* stream(...all: Found[]): AsyncGenerator<Found> {
  yield* all;
}

test("what is written as a file store is read back as it was", async () => {
  await fc.assert(
    fc.asyncProperty(
      experiment,
      fc.uniqueArray(run, { maxLength: 3, selector: ({ id }) => id }),
      async (one, runs) => {
        const sink = new MemorySink();
        const { skipped } = await writeMlflowFiles(stream(one, ...runs), sink);
        expect(skipped).toEqual([]);
        const again = await comparable(readMlflowFiles(sink.tree()));
        expect(again).toEqual(await comparable(stream(one, ...runs)));
      },
    ),
  );
});

test("a key that MLflow takes not has the nearest name there, and no two have the same", () => {
  const names = new StoreNames();
  expect(
    ["loss", "loss@k", "loss?k", "a", "a/b", "c/d", "c", "/abs", "../up", ".", "x//y"].map((key) =>
      names.nameOf(key),
    ),
  ).toEqual([
    "loss",
    "loss_k",
    undefined,
    "a",
    undefined,
    "c/d",
    undefined,
    "_/abs",
    "__/up",
    undefined,
    "x/_/y",
  ]);
});

test("what a stranger's nouns name never leads out of the folder", async () => {
  const sink = new MemorySink();
  const evil = "../../../evil";
  await writeMlflowFiles(
    stream(
      {
        kind: "experiment",
        id: evil,
        name: evil,
        note: "",
        tags: { [evil]: "x" },
        created: 1,
        deleted: false,
      },
      {
        kind: "run",
        id: evil,
        experiment: evil,
        name: evil,
        state: "finished",
        params: { [evil]: "x", "/etc/passwd": "x" },
        paramsAreText: true,
        tags: { [evil]: "x" },
        note: "",
        parent: null,
        source: "",
        started: 1,
        ended: 2,
        deleted: false,
        inputs: [
          {
            name: evil,
            digest: evil,
            sourceType: "",
            source: "",
            schema: null,
            profile: null,
            tags: {},
          },
        ],
        modelInputs: [evil],
        modelOutputs: [{ model: evil, step: 0 }],
        async *points() {
          yield { ...emptyPoints([evil], 1) };
        },
        async *files() {
          for (const path of [evil, "/etc/passwd", "a/../../b", "..\\up", "fine.txt"])
            yield { path, open: async () => new Blob(["x"]) };
        },
      },
      {
        kind: "loggedModel",
        id: evil,
        experiment: evil,
        name: evil,
        status: "ready",
        type: null,
        run: evil,
        created: 1,
        updated: 1,
        params: { [evil]: "x" },
        tags: {},
        metrics: [{ key: evil, step: 0, time: 1, value: 1, run: evil, dataset: null }],
        deleted: false,
        async *files() {
          yield { path: evil, open: async () => new Blob(["x"]) };
        },
      },
      {
        kind: "model",
        name: "..",
        description: "",
        tags: {},
        aliases: { [evil]: "1" },
        versions: [],
        isPrompt: false,
        created: 1,
        updated: 1,
      },
      {
        kind: "model",
        name: "fine",
        description: "",
        tags: {},
        aliases: { [evil]: "1" },
        versions: [
          {
            version: evil,
            description: "",
            tags: {},
            stage: "None",
            status: "READY",
            source: "",
            run: null,
            loggedModel: null,
            created: 1,
            updated: 1,
          },
        ],
        isPrompt: false,
        created: 1,
        updated: 1,
      },
    ),
    sink,
  );
  const paths = [...sink.files.keys()];
  expect(paths.filter((path) => path.startsWith("/") || path.split("/").includes(".."))).toEqual(
    [],
  );
  expect(paths.some((path) => path.endsWith("fine.txt"))).toBe(true);
});
