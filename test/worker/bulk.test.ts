import { env } from "cloudflare:workers";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { beginBulk, carryOut, collectUndo, undoBulk } from "../../worker/db/bulk.ts";
import type { Env } from "../../worker/env.ts";
import { selectEvents } from "../../worker/db/events.ts";
import { newId } from "../../wire/id.ts";
import type { FieldChange } from "../../wire/bulk.ts";
import { ask, freshStores, refused, startRun } from "./worker.ts";

freshStores();

let experiment: string;
let n = 0;
beforeEach(async () => {
  experiment = `bulk ${n++}`;
});

const start = (body: Record<string, unknown> = {}) => startRun({ experiment, ...body });
const startMany = (count: number, body: (i: number) => Record<string, unknown> = () => ({})) =>
  Promise.all(Array.from({ length: count }, (_, i) => start(body(i))));
const change = (runs: unknown, what: unknown, id?: string) =>
  ask("POST", "/runs/bulk", { ...(id ? { id } : {}), runs, change: what });
const undo = (token: string) => ask("POST", `/undo/${token}`);
const runOf = async (id: string) => (await ask("GET", `/runs/${id}`)).json;
const runsOf = (ids: string[]) => Promise.all(ids.map(runOf));
const namesIn = async (query: string) =>
  ((await ask("GET", `/runs.json?columns=name&${query}`)).json as { name: string }[])
    .map(({ name }) => name)
    .sort();
/** What the runs are but for the time of their last change. */
const stateOf = async (): Promise<Record<string, unknown>[]> => {
  const { results } = await env.DB.prepare(
    "SELECT id, experiment, number, name, state, json(tags) AS tags, note, parent, archived, deleted, points FROM runs ORDER BY no",
  ).all();
  return results.map((row) => ({ ...row, tags: JSON.parse(row["tags"] as string) }));
};
const eventsFrom = async (after: number) =>
  (await selectEvents(env.DB, { after, limit: 100_000 })).map(
    ({ what, subject }) => `${what} ${subject}`,
  );
const lastEvent = async () =>
  (await env.DB.prepare("SELECT coalesce(max(no), 0) AS no FROM events").first<{ no: number }>())!
    .no;

const kinds: [name: string, change: Record<string, unknown>, is: Record<string, unknown>][] = [
  ["tag and untag", { tags: { team: "a", old: null } }, { tags: { kept: "1", team: "a" } }],
  ["group", { group: "5 seeds" }, { tags: { kept: "1", old: "x", team: "b", group: "5 seeds" } }],
  ["note", { note: "Lion wins.\n\u0000 “é” 😀" }, { note: "Lion wins.\n\u0000 “é” 😀" }],
  ["archive", { archived: true }, { archived: expect.any(Number) }],
  ["delete", { deleted: true }, { deleted: expect.any(Number) }],
];

describe.for(["ids", "a filter"])("named by %s", (by) => {
  test.for(kinds)("%s, and undo gives back what was there", async ([, what, is]) => {
    const runs = await startMany(5, (i) => ({
      tags: { kept: "1", old: "x", team: "b" },
      note: `before ${i}`,
      params: { i },
    }));
    const before = await stateOf();
    const [a, b, c, d, e] = runs as [string, string, string, string, string];
    const answer =
      by === "ids"
        ? await change([a, b, c, a], what)
        : await change({ experiment, where: "params.i < 3" }, what);
    expect([answer.status, answer.json]).toEqual([
      200,
      {
        changed: 3,
        unchanged: 0,
        undo: expect.stringMatching(/^[0-9a-f]{32}$/),
        expires: expect.any(Number),
      },
    ]);
    expect(Math.abs(answer.json.expires - Date.now() - 3_600_000)).toBeLessThan(10_000);
    for (const run of await runsOf([a, b, c])) expect(run).toMatchObject(is);
    for (const run of await runsOf([d, e])) expect(run).not.toMatchObject(is);
    const undone = await undo(answer.json.undo);
    expect([undone.status, undone.json]).toEqual([200, { restored: 3, changedSince: 0 }]);
    expect(await stateOf()).toEqual(before);
  });
});

test("restore and unarchive find by a filter what lists hide, and change nothing else", async () => {
  const [a, b, c] = (await startMany(3, (i) => ({ name: `run ${i}` }))) as [string, string, string];
  await change([a], { deleted: true });
  await change([b], { archived: true });
  expect(await namesIn(`experiment=${experiment}`)).toEqual(["run 2"]);
  expect((await change({ experiment }, { archived: false })).json).toMatchObject({
    changed: 1,
    unchanged: 1,
  });
  const { deleted } = await runOf(a);
  const restored = await change({ experiment }, { deleted: false });
  expect(restored.json).toMatchObject({ changed: 1, unchanged: 2 });
  expect(await namesIn(`experiment=${experiment}`)).toEqual(["run 0", "run 1", "run 2"]);
  expect((await undo(restored.json.undo)).json).toEqual({ restored: 1, changedSince: 0 });
  expect((await runOf(a)).deleted).toBe(deleted); // when it was deleted is what it was
  expect((await runOf(c)).deleted).toBeNull();
});

test("archived runs are left out of lists, counts and an experiment's points unless asked for; each is still read by itself", async () => {
  const [a, b] = (await startMany(2, (i) => ({ name: `run ${i}` }))) as [string, string];
  for (const run of [a, b])
    await ask("POST", `/runs/${run}/points`, [{ key: "loss", step: 1, value: 2 }]);
  const { headers } = await ask("GET", `/runs.json?experiment=${experiment}`);
  const cursor = headers.get("x-assay-cursor")!;
  await change([a], { archived: true });
  const since = await ask(
    "GET",
    `/runs.json?experiment=${experiment}&columns=id,archived&since=${cursor}`,
  );
  expect(since.json).toEqual([{ id: a, archived: expect.anything() }]);
  expect(await namesIn(`experiment=${experiment}`)).toEqual(["run 1"]);
  expect(await namesIn(`experiment=${experiment}&archived=true`)).toEqual(["run 0", "run 1"]);
  expect((await ask("GET", `/experiments/${experiment}`)).json.runs).toBe(1);
  const points = async (query: string) => (await ask("GET", `/points.json?${query}`)).json.length;
  expect([await points(`experiment=${experiment}`), await points(`run=${a}`)]).toEqual([1, 1]);
  expect((await runOf(a)).archived).toEqual(expect.any(Number));
});

describe("move", () => {
  test("moved runs get the next numbers in their old order, and keep their points; undo gives the old numbers back", async () => {
    const target = `${experiment} target`;
    await startRun({ experiment: target });
    const runs = await startMany(4, (i) => ({ params: { i } }));
    await ask("POST", `/runs/${runs[1]}/points`, [{ key: "loss", step: 1, value: 2 }]);
    const before = await stateOf();
    const { json } = await change({ experiment, where: "params.i > 0" }, { experiment: target });
    expect(json).toMatchObject({ changed: 3, unchanged: 0 });
    const to = (await ask("GET", `/experiments/${target}`)).json;
    const moved = (await runsOf(runs)).filter((run) => run.experiment === to.id);
    expect(moved.map(({ number }) => number).sort((a, b) => a - b)).toEqual([2, 3, 4]);
    const byNumber = moved.toSorted((a, b) => a.number - b.number).map(({ id }) => id);
    const byOld = before
      .filter(({ id }) => byNumber.includes(id))
      .toSorted((a, b) => Number(a["number"]) - Number(b["number"]));
    expect(byNumber).toEqual(byOld.map(({ id }) => id));
    const counts = async () =>
      Promise.all(
        [experiment, target].map(
          async (name) => (await ask("GET", `/experiments/${name}`)).json.runs,
        ),
      );
    expect(await counts()).toEqual([1, 4]);
    const points = (await ask("GET", `/points.json?experiment=${target}`)).json;
    expect(points).toMatchObject([{ run: runs[1], value: 2 }]);
    expect((await change(runs, { experiment: to.id })).json).toMatchObject({
      changed: 1,
      unchanged: 3,
    });
    expect((await undo(json.undo)).json).toEqual({ restored: 3, changedSince: 0 });
    expect(await counts()).toEqual([3, 2]);
    const places = (state: Record<string, unknown>[]) =>
      state.filter(({ id }) => id !== runs[0]).map(({ id, number }) => [id, number]);
    expect(places(await stateOf())).toEqual(places(before));
  });

  test("an old number that was taken meanwhile is not given back; the next one is", async () => {
    const target = `${experiment} target`;
    await startRun({ experiment: target });
    const runs: string[] = [];
    for (let i = 0; i < 4; i++) runs.push(await start());
    const { json } = await change(runs.slice(1), { experiment: target });
    const taker = await start(); // takes number 2
    expect((await undo(json.undo)).json).toEqual({ restored: 3, changedSince: 0 });
    const numbers = (await runsOf([...runs, taker])).map(({ number }) => number);
    expect(numbers).toEqual([1, 5, 3, 4, 2]);
  });

  test("a run moved on since stays where it is", async () => {
    const [target, third] = [`${experiment} target`, `${experiment} third`];
    for (const name of [target, third]) await startRun({ experiment: name });
    const [a, b] = (await startMany(2)) as [string, string];
    const { json } = await change([a, b], { experiment: target });
    await change([a], { experiment: third });
    expect((await undo(json.undo)).json).toEqual({ restored: 1, changedSince: 1 });
    const names = await namesIn(`experiment=${experiment}`);
    expect(names).toHaveLength(1);
    expect(await namesIn(`experiment=${third}`)).toHaveLength(2);
  });

  test("whoever follows an experiment is told of runs that left it, and of their return", async () => {
    const target = `${experiment} target`;
    const third = `${experiment} third`;
    for (const name of [target, third]) await startRun({ experiment: name });
    const run = await start();
    const next = async (since: string) => {
      const { headers, json } = await ask(
        "GET",
        `/runs.json?experiment=${experiment}&columns=id,experiment&since=${since}`,
      );
      return [json, headers.get("x-assay-cursor")!] as const;
    };
    const list = await ask("GET", `/runs.json?experiment=${experiment}`);
    let cursor = list.headers.get("x-assay-cursor")!;
    const undos: string[] = [];
    for (const name of [target, third])
      undos.push((await change([run], { experiment: name })).json.undo);
    let told: unknown;
    [told, cursor] = await next(cursor);
    expect(told).toEqual([{ id: run, experiment: third }]);
    for (const token of undos.toReversed()) await undo(token);
    [told, cursor] = await next(cursor);
    expect(told).toEqual([{ id: run, experiment }]);
    expect((await next(cursor))[0]).toEqual([]);
    expect(await namesIn(`experiment=${target}`)).toHaveLength(1);
  });

  test("an experiment that is not there is not created", async () => {
    const run = await start();
    expect(await change([run], { experiment: "nowhere" })).toMatchObject(
      refused("experiment not found: nowhere", 404, "RESOURCE_DOES_NOT_EXIST"),
    );
  });
});

describe("what is refused changes nothing", () => {
  const gone = (i: number) => String(i).padStart(32, "0");
  test.for<[string, (run: string) => [runs: unknown, change: unknown], string | RegExp, number?]>([
    ["an unknown run", (run) => [[run, gone(1)], { note: "x" }], `run not found: ${gone(1)}`, 404],
    [
      "many unknown runs",
      (run) => [[gone(5), gone(4), run, gone(4), gone(3), gone(2), gone(1)], { note: "x" }],
      `runs not found: ${[5, 4, 3].map(gone).join(", ")} and 2 more`,
      404,
    ],
    ["what is no id", () => [["x"], { note: "x" }], /^invalid runs\.0: x \(expected 32/],
    ["no runs at all", () => [undefined, { note: "x" }], "missing field: runs"],
    [
      "a filter that would find everything",
      () => [{}, { note: "x" }],
      "invalid runs: {} (expected an experiment or a filter)",
    ],
    [
      "a filter that is wrong",
      () => [{ where: "params.lr <" }, { note: "x" }],
      /^invalid where: expected a value/,
    ],
    [
      "an unknown experiment",
      () => [{ experiment: "nowhere" }, { note: "x" }],
      "experiment not found: nowhere",
      404,
    ],
    [
      "no change",
      (run) => [[run], {}],
      "invalid change: {} (expected one of tags, group, note, archived, deleted, experiment)",
    ],
    ["two changes", (run) => [[run], { note: "x", archived: true }], /\(expected one of tags, /],
    ["an unknown change", (run) => [[run], { purge: true }], "unknown field: change.purge"],
    ["a tag that is none", (run) => [[run], { tags: { a: {} } }], "invalid tag a: {}"],
    [
      "too many runs",
      () => [Array.from({ length: 10_001 }, (_, i) => gone(i)), { note: "x" }],
      /\(expected at most 10000 runs\)$/,
    ],
  ])("%s", async ([, asked, message, status = 400]) => {
    const run = await start();
    const before = await stateOf();
    expect(await change(...asked(run))).toMatchObject(
      refused(message, status, status === 404 ? "RESOURCE_DOES_NOT_EXIST" : undefined),
    );
    expect(await stateOf()).toEqual(before);
  });
});

describe("sent again", () => {
  test("a request changes nothing and answers the same, whatever happened to the runs since", async () => {
    const [a, b, c] = (await startMany(3, (i) => ({ params: { i } }))) as [string, string, string];
    const id = newId();
    const asked = [{ experiment, where: "params.i < 2" }, { deleted: true }, id] as const;
    const first = await change(...asked);
    expect(first.json).toMatchObject({ changed: 2, unchanged: 0, undo: id });
    await ask("POST", `/runs/${a}/restore`);
    await ask("POST", `/runs/${b}/purge`);
    const events = await lastEvent();
    expect((await change(...asked)).text).toBe(first.text);
    await undo(id);
    expect((await change(...asked)).text).toBe(first.text);
    expect((await runOf(a)).deleted).toBeNull();
    expect((await runOf(c)).deleted).toBeNull();
    expect(await eventsFrom(events)).toEqual([]); // and nothing was left to undo, either
    expect(await change(asked[0], { deleted: false }, id)).toMatchObject(
      refused(
        `bulk change already exists with other content: ${id}`,
        409,
        "RESOURCE_ALREADY_EXISTS",
      ),
    );
  });

  test("ten times at once, it is done once", async () => {
    const runs = await startMany(10);
    const events = await lastEvent();
    const id = newId();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => change(runs, { tags: { a: "1" } }, id)),
    );
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers[0]!.json).toMatchObject({ changed: 10, unchanged: 0 });
    expect((await eventsFrom(events)).sort()).toEqual(runs.map((run) => `run.patch ${run}`).sort());
    const undone = await Promise.all(Array.from({ length: 10 }, () => undo(id)));
    expect(new Set(undone.map(({ text }) => text))).toEqual(
      new Set(['{"restored":10,"changedSince":0}']),
    );
    expect(await eventsFrom(events)).toHaveLength(20);
  });
});

/** Runs named by their numbers, changed in chunks of a test's own size. */
async function begin(runs: string[], what: FieldChange): Promise<string> {
  const id = newId();
  const { results } = await env.DB.prepare(
    "SELECT no FROM runs WHERE id IN (SELECT value FROM json_each(?)) ORDER BY no",
  )
    .bind(JSON.stringify(runs))
    .all<{ no: number }>();
  await beginBulk(env.DB, id, "d", { change: what, runs: results.map(({ no }) => no) });
  return id;
}

describe("chunk by chunk", () => {
  test.for([1, 2, 3, 6, 7])("of %i runs", async (size) => {
    const runs = await startMany(7, (i) => ({ note: `before ${i}`, tags: { i: String(i % 2) } }));
    const before = await stateOf();
    const changes: FieldChange[] = [
      { field: "note", to: "after" },
      { field: "tags", to: { i: "1", new: "x" } },
      { field: "archived", to: true },
    ];
    const ids: string[] = [];
    for (const what of changes) {
      ids.push(await begin(runs, what));
      expect(await carryOut(env, ids.at(-1)!, "ada", { size })).toMatchObject({ changed: 7 });
    }
    for (const run of await runsOf(runs))
      expect(run).toMatchObject({
        note: "after",
        tags: { i: "1", new: "x" },
        archived: expect.any(Number),
      });
    for (const id of ids.toReversed())
      expect(await undoBulk(env, id, "ada", { size: Math.max(1, size - 1) })).toEqual({
        restored: 7,
        changedSince: 0,
      });
    expect(await stateOf()).toEqual(before);
  });

  test("chunks are cut by what the runs hold, too, and notes of 100 kB come back whole", async () => {
    const long = (i: number) => `${i}\u0001"\\é😀`.repeat(Math.floor(100_000 / 8)).slice(0, 99_000);
    const runs = await startMany(9, (i) => ({ note: long(i) }));
    const before = await stateOf();
    const id = await begin(runs, { field: "note", to: "short" });
    await carryOut(env, id, "ada", { bytes: 400_000 });
    const { objects } = (await env.DB.prepare("SELECT objects FROM bulks WHERE id = ?")
      .bind(id)
      .first<{ objects: string }>())!;
    expect(JSON.parse(objects).length).toBeGreaterThan(2);
    expect((await undo(id)).json).toEqual({ restored: 9, changedSince: 0 });
    expect(await stateOf()).toEqual(before);
    // All in one chunk, what is given back takes more than one statement.
    const whole = await begin(runs, { field: "note", to: long(10) });
    expect(await carryOut(env, whole, "ada")).toMatchObject({ changed: 9 });
    expect((await undo(whole)).json).toEqual({ restored: 9, changedSince: 0 });
    expect(await stateOf()).toEqual(before);
  });

  test("a request that cannot do all at once says so, and goes on when it is sent again", async () => {
    const runs = await startMany(6);
    const id = await begin(runs, { field: "note", to: "x" });
    const some = { size: 2, most: 2 };
    await expect(carryOut(env, id, "ada", some)).rejects.toMatchObject({
      status: 503,
      message: `bulk change is under way, 4 of 6 runs: ${id} (send it again to go on)`,
    });
    expect(await carryOut(env, id, "ada", some)).toMatchObject({ changed: 6 });
    await expect(undoBulk(env, id, "ada", { size: 1, most: 3 })).rejects.toMatchObject({
      status: 503,
    });
    expect(await undoBulk(env, id, "ada")).toEqual({ restored: 6, changedSince: 0 });
  });

  test("undone half way, a change ends there", async () => {
    const runs = await startMany(6);
    const before = await stateOf();
    const id = await begin(runs, { field: "note", to: "x" });
    await expect(carryOut(env, id, "ada", { size: 2, most: 2 })).rejects.toThrow("4 of 6");
    expect((await undo(id)).json).toEqual({ restored: 4, changedSince: 0 });
    await expect(carryOut(env, id, "ada")).rejects.toMatchObject({
      status: 409,
      message: `bulk change was undone after 4 of 6 runs: ${id}`,
    });
    expect(await stateOf()).toEqual(before);
  });

  test("any tags, any patch, any later changes by others: each run is as if changed alone, and undo leaves theirs", async () => {
    const name = fc.constantFrom("a", "b", "constructor", "__proto__", "x.y", "“é”");
    const text = fc.constantFrom("", "1", "2");
    const tags = fc.array(fc.tuple(name, text), { maxLength: 5 });
    const patch = fc.array(fc.tuple(name, fc.option(text)), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ tags, later: fc.option(patch) }), { minLength: 1, maxLength: 6 }),
        patch,
        fc.integer({ min: 1, max: 4 }),
        async (runs, asked, size) => {
          const ids: string[] = [];
          for (const { tags } of runs) ids.push(await start({ tags: Object.fromEntries(tags) }));
          const maps = runs.map(({ tags }) => new Map(tags));
          const to = new Map(asked);
          const apply = (map: Map<string, string>, patch: Iterable<[string, string | null]>) => {
            const next = new Map(map);
            for (const [name, text] of patch)
              if (text === null) next.delete(name);
              else next.set(name, text);
            return next;
          };
          const isSame = (a: Map<string, string>, b: Map<string, string>) =>
            a.size === b.size && [...a].every(([name, text]) => b.get(name) === text);
          const found = async () =>
            (await runsOf(ids)).map(({ tags }) => new Map(Object.entries<string>(tags)));
          const id = await begin(ids, { field: "tags", to: Object.fromEntries(asked) });
          const { changed, unchanged } = await carryOut(env, id, "ada", { size });
          const after = maps.map((map) => apply(map, to));
          expect(await found()).toEqual(after);
          expect(changed).toBe(maps.filter((map, i) => !isSame(map, after[i]!)).length);
          expect(changed + unchanged).toBe(runs.length);
          const later = after.map((map, i) => apply(map, new Map(runs[i]!.later)));
          for (const [i, { later }] of runs.entries())
            if (later) await ask("PATCH", `/runs/${ids[i]}`, { tags: Object.fromEntries(later) });
          const back = later.map((map, i) => {
            const touched = [...to.keys()].filter((k) => maps[i]!.get(k) !== after[i]!.get(k));
            const own = touched.filter((k) => map.get(k) === after[i]!.get(k));
            return {
              tags: apply(
                map,
                own.map((k) => [k, maps[i]!.get(k) ?? null]),
              ),
              isTouched: touched.length > 0,
              isWhole: own.length === touched.length,
            };
          });
          const { restored, changedSince } = await undoBulk(env, id, "ada", { size });
          expect(await found()).toEqual(back.map(({ tags }) => tags));
          expect(restored).toBe(back.filter((b) => b.isTouched && b.isWhole).length);
          expect(changedSince).toBe(back.filter((b) => b.isTouched && !b.isWhole).length);
        },
      ),
      { numRuns: 25 },
    );
  }, 60_000);
});

describe("undo", () => {
  test("leaves what somebody changed since, and counts it; a second time it changes nothing", async () => {
    const [a, b, c, d] = (await startMany(4)) as [string, string, string, string];
    const { json } = await change([a, b, c, d], { note: "all" });
    await ask("PATCH", `/runs/${a}`, { note: "mine" });
    await ask("PATCH", `/runs/${b}`, { name: "renamed", tags: { x: "1" } });
    await ask("DELETE", `/runs/${d}`);
    await ask("POST", `/runs/${d}/purge`);
    const undone = await undo(json.undo);
    expect(undone.json).toEqual({ restored: 2, changedSince: 2 });
    const found = await runsOf([a, b, c]);
    expect(found.map(({ note }) => note)).toEqual(["mine", "", ""]);
    expect(found[1]).toMatchObject({ name: "renamed", tags: { x: "1" } });
    await change([a, b, c], { note: "all" });
    const before = await stateOf();
    expect((await undo(json.undo)).text).toBe(undone.text);
    expect(await stateOf()).toEqual(before);
  });

  test("a run deleted anew since stays deleted", async () => {
    const run = await start();
    const { json } = await change([run], { deleted: true });
    await ask("POST", `/runs/${run}/restore`);
    await new Promise((resolve) => setTimeout(resolve, 5)); // deletions are told apart by their ms
    await ask("DELETE", `/runs/${run}`);
    expect((await undo(json.undo)).json).toEqual({ restored: 0, changedSince: 1 });
    expect((await runOf(run)).deleted).not.toBeNull();
  });

  test("changes one upon another are taken back from the last", async () => {
    const runs = await startMany(3);
    const before = await stateOf();
    const undos: string[] = [];
    for (const team of ["a", "b", "c"])
      undos.push((await change(runs, { tags: { team } })).json.undo);
    expect((await undo(undos[0]!)).json).toEqual({ restored: 0, changedSince: 3 });
    for (const token of undos.slice(1).toReversed())
      expect((await undo(token)).json).toEqual({ restored: 3, changedSince: 0 });
    for (const run of await runsOf(runs)) expect(run.tags).toEqual({ team: "a" });
    expect((await stateOf()).map(({ tags: _, ...rest }) => rest)).toEqual(
      before.map(({ tags: _, ...rest }) => rest),
    );
  });

  test("what expired is told so, and is unlike what never was", async () => {
    const runs = await startMany(2);
    const { json } = await change(runs, { note: "x" });
    await env.DB.prepare("UPDATE bulks SET expires = 1000 WHERE id = ?").bind(json.undo).run();
    const before = await stateOf();
    expect(await undo(json.undo)).toMatchObject(
      refused(`undo has expired: ${json.undo} (1970-01-01T00:00:01.000Z)`, 410, "INVALID_STATE"),
    );
    expect(await stateOf()).toEqual(before);
    for (const token of ["0".repeat(32), "x"])
      expect(await undo(token)).toMatchObject(
        refused(`undo not found: ${token}`, 404, "RESOURCE_DOES_NOT_EXIST"),
      );
  });

  test("of nothing is nothing", async () => {
    const run = await start({ note: "x" });
    const { json } = await change([run], { note: "x" });
    expect(json).toMatchObject({ changed: 0, unchanged: 1 });
    expect((await undo(json.undo)).json).toEqual({ restored: 0, changedSince: 0 });
    expect((await change([], { note: "x" })).json).toMatchObject({ changed: 0, unchanged: 0 });
  });
});

test("what a change left half way can no longer do after the hour, it says", async () => {
  const runs = await startMany(4);
  const id = await begin(runs, { field: "note", to: "x" });
  await expect(carryOut(env, id, "ada", { size: 2, most: 1 })).rejects.toThrow("2 of 4");
  await env.DB.prepare("UPDATE bulks SET expires = 1000 WHERE id = ?").bind(id).run();
  await expect(carryOut(env, id, "ada")).rejects.toMatchObject({
    status: 410,
    message: `bulk change ended unfinished after 2 of 4 runs: ${id}`,
  });
});

test("each run that changes writes one event with the request's digest, and its undo another", async () => {
  const [a, b, c] = (await startMany(3, (i) => ({ note: i ? "" : "x" }))) as [
    string,
    string,
    string,
  ];
  await startRun({ experiment: `${experiment} target` });
  const after = await lastEvent();
  const { json } = await change([a, b, c], { note: "x" });
  await undo(json.undo);
  const events = await selectEvents(env.DB, { after });
  expect(events.map(({ who, what, subject }) => `${who} ${what} ${subject}`).sort()).toEqual(
    ["run.patch", "run.undo"].flatMap((what) => [b, c].map((id) => `owner ${what} ${id}`)).sort(),
  );
  expect(new Set(events.map(({ digest }) => digest)).size).toBe(1);
  const words = [
    ["run.archive", { archived: true }],
    ["run.unarchive", { archived: false }],
    ["run.delete", { deleted: true }],
    ["run.restore", { deleted: false }],
    ["run.move", { experiment: `${experiment} target` }],
    ["run.patch", { group: "g" }],
  ] as const;
  for (const [what, asked] of words) {
    const before = await lastEvent();
    await change([a], asked);
    expect(await eventsFrom(before)).toEqual([`${what} ${a}`]);
  }
});

test("a changed run is told to whoever asks what changed since, an unchanged one is not", async () => {
  const [a, b] = (await startMany(2, (i) => ({ tags: i ? {} : { team: "a" } }))) as [
    string,
    string,
  ];
  const { headers } = await ask("GET", `/runs.json?experiment=${experiment}`);
  const cursor = headers.get("x-assay-cursor")!;
  const { json } = await change([a, b], { tags: { team: "a" } });
  expect(json).toMatchObject({ changed: 1, unchanged: 1 });
  const since = await ask("GET", `/runs.json?experiment=${experiment}&columns=id&since=${cursor}`);
  expect(since.json).toEqual([{ id: b }]);
});

/** The stores, between reading and writing of which somebody else is quicker, so many times. */
function contended(times: number, meddle: (n: number) => Promise<unknown>) {
  const real = env.FILES;
  let n = 0;
  const FILES = new Proxy(real, {
    get(_, name: keyof R2Bucket) {
      if (name !== "put") return (real[name] as () => void).bind(real);
      return async (...args: Parameters<R2Bucket["put"]>) => {
        if (n++ < times) await meddle(n);
        return real.put(...args);
      };
    },
  });
  return { ...env, FILES } as unknown as Env;
}

const objectsOf = async (id: string) =>
  (await env.FILES.list({ prefix: `undo/default/${id}/` })).objects.length;

describe("others at the same runs", () => {
  test("between reading and writing: both changes are there, and undo takes back its own", async () => {
    const runs = await startMany(8);
    const id = await begin(runs, { field: "tags", to: { mine: "1" } });
    const stores = contended(4, (n) =>
      ask("PATCH", `/runs/${runs[n]}`, { tags: { theirs: String(n) }, note: "theirs" }),
    );
    expect(await carryOut(stores, id, "ada")).toMatchObject({ changed: 8, unchanged: 0 });
    const found = await runsOf(runs);
    expect(found.map(({ tags }) => tags.mine)).toEqual(runs.map(() => "1"));
    expect(found.filter(({ note, tags }) => note && tags.theirs)).toHaveLength(4);
    const row = await env.DB.prepare(
      "SELECT json_array_length(objects) AS n FROM bulks WHERE id = ?",
    )
      .bind(id)
      .first<{ n: number }>();
    expect(await objectsOf(id)).toBe(row!.n); // those of tries in vain are gone
    expect((await undo(id)).json).toEqual({ restored: 8, changedSince: 0 });
    expect((await runsOf(runs)).filter(({ tags }) => tags.theirs)).toHaveLength(4);
  });

  test("a run started in the target while others move there has a number of its own", async () => {
    const target = `${experiment} target`;
    await startRun({ experiment: target });
    const runs = await startMany(3);
    const to = (await ask("GET", `/experiments/${target}`)).json.id;
    const id = await begin(runs, { field: "experiment", to });
    const stores = contended(2, () => startRun({ experiment: target }));
    expect(await carryOut(stores, id, "ada")).toMatchObject({ changed: 3 });
    const { results } = await env.DB.prepare("SELECT number FROM runs WHERE experiment = ?")
      .bind(to)
      .all<{ number: number }>();
    expect(results.map(({ number }) => number).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("two changes and thirty patches at once: nothing is lost, and each undo takes back its own", async () => {
    const runs = await startMany(30);
    const [one, two] = await Promise.all([
      change(runs, { tags: { one: "1", both: "one" } }),
      change(runs, { tags: { two: "2", both: "two" } }),
      ...runs.map((run, i) => ask("PATCH", `/runs/${run}`, { tags: { third: String(i) } })),
    ]);
    expect([one.json.changed, two.json.changed]).toEqual([30, 30]);
    for (const [i, { tags }] of (await runsOf(runs)).entries())
      expect(tags).toEqual({
        one: "1",
        two: "2",
        third: String(i),
        both: expect.stringMatching(/^(one|two)$/),
      });
    const undone = await Promise.all([undo(one.json.undo), undo(two.json.undo)]);
    for (const { json } of undone) expect(json.restored + json.changedSince).toBe(30);
    for (const { tags } of await runsOf(runs)) {
      expect(tags).not.toHaveProperty("one");
      expect(tags).not.toHaveProperty("two");
      expect(tags).toHaveProperty("third");
    }
  });
});

test("the cron collects what undo needed after the hour, orphans too, and a replay still answers the same", async () => {
  const runs = await startMany(2);
  const [old, fresh] = [newId(), newId()];
  const first = await change(runs, { note: "old" }, old);
  await change(runs, { note: "fresh" }, fresh);
  await env.FILES.put(`undo/default/${old}/orphan`, "{}");
  expect(await collectUndo(env)).toBe(0);
  expect([await objectsOf(old), await objectsOf(fresh)]).toEqual([2, 1]);
  // As if two hours went by for all that is there.
  expect(await collectUndo(env, { grace: -2 * 3_600_000 })).toBeGreaterThanOrEqual(3);
  expect([await objectsOf(old), await objectsOf(fresh)]).toEqual([0, 0]);
  const { n } = (await env.DB.prepare(
    "SELECT count(*) AS n FROM bulks WHERE runs IS NOT NULL",
  ).first<{ n: number }>())!;
  expect(n).toBe(0);
  expect((await change(runs, { note: "old" }, old)).text).toBe(first.text);
});

describe("10,000 runs, each with 60 columns", () => {
  beforeEach(async () => {
    await startRun({ experiment });
    await startRun({ experiment: `${experiment} target` });
    const json = (prefix: string, value: unknown) =>
      JSON.stringify(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [prefix + i, value])));
    const summary = {
      last: 1,
      step: 9,
      min: 0,
      minStep: 1,
      max: 2,
      maxStep: 3,
      sum: 9,
      count: 9,
      nan: 0,
    };
    await env.DB.prepare(
      `WITH RECURSIVE counted (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM counted WHERE value < 9999)
       INSERT INTO runs (workspace, id, experiment, number, name, state, params, tags, note, parent, source, metrics, started, heartbeat, touched, digest)
       SELECT workspace, printf('%032x', ?1 * 100000 + value), experiment, value + 10, 'r', 'finished', jsonb(?2), jsonb(?3), printf('note %d ' || hex(zeroblob(150)), value), NULL, '', jsonb(?4), 1, 1, 1, ''
       FROM runs, counted WHERE experiment = (SELECT id FROM experiments WHERE name = ?5)`,
    )
      .bind(n, json("p", 0.1), json("t", "x"), json("m", summary), experiment)
      .run();
  }, 60_000);

  test.for([
    ["tag", { tags: { team: "a", t3: null } }],
    ["note", { note: "n".repeat(1000) }],
    ["delete", { deleted: true }],
    ["move", { experiment: "target" }],
  ] as const)("%s, and undo, each in some seconds", { timeout: 120_000 }, async ([name, asked]) => {
    const what = name === "move" ? { experiment: `${experiment} target` } : asked;
    const times = [Date.now()];
    const { json } = await change({ experiment }, what);
    times.push(Date.now());
    expect(json).toMatchObject({ changed: 10_000, unchanged: 0 });
    expect((await undo(json.undo)).json).toEqual({ restored: 10_000, changedSince: 0 });
    times.push(Date.now());
    expect(times[1]! - times[0]!).toBeLessThan(15_000);
    expect(times[2]! - times[1]!).toBeLessThan(15_000);
  });

  test("one run more is too many", async () => {
    await startRun({ experiment });
    expect(await change({ experiment }, { deleted: true })).toMatchObject(
      refused("too many runs: 10001, limit 10000"),
    );
  });
});
