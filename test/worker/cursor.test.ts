import { env } from "cloudflare:workers";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { newId } from "../../wire/id.ts";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

test("reading since a cursor gives each point once, however appends and reads interleave", async () => {
  const runs = await Promise.all(Array.from({ length: 4 }, () => startRun({ experiment: "live" })));
  const seen: string[] = [];
  let cursor = "";
  const read = async () => {
    const { json, headers } = await ask(
      "GET",
      `/points.json?experiment=live${cursor && `&since=${cursor}`}`,
    );
    seen.push(
      ...json.map(({ run, step }: { run: string; step: number }) => `${runs.indexOf(run)}:${step}`),
    );
    cursor = headers.get("x-assay-cursor")!;
  };
  const sent: string[] = [];
  for (let round = 0; round < 60; round++) {
    const lots = Array.from({ length: round % 4 }, (_, i) => ({
      run: (round * 7 + i) % 4,
      step: round * 10 + i,
    }));
    sent.push(...lots.map(({ run, step }) => `${run}:${step}`));
    await Promise.all([
      ...lots.map(({ run, step }) =>
        ask("POST", `/runs/${runs[run]}/points`, [{ key: "k", step, value: 1 }]),
      ),
      ...(round % 3 ? [read()] : []),
    ]);
  }
  await read();
  expect(seen.sort()).toEqual(sent.sort());
  const before = seen.length;
  await read();
  expect(seen).toHaveLength(before);
});

test("runs since a cursor are those that changed, deleted ones with the time they were deleted", async () => {
  const [a, b] = [
    await startRun({ experiment: "turns", name: "a" }),
    await startRun({ experiment: "turns", name: "b" }),
  ];
  const columns = "columns=name,state,deleted";
  let { headers } = await ask("GET", `/runs.json?experiment=turns&${columns}`);
  const next = async () => {
    const answer = await ask(
      "GET",
      `/runs.json?experiment=turns&${columns}&since=${headers.get("x-assay-cursor")}`,
    );
    headers = answer.headers;
    return answer.json;
  };
  expect(await next()).toEqual([]);
  await ask("POST", `/runs/${a}/finish`, { state: "finished" });
  expect(await next()).toEqual([{ name: "a", state: "finished" }]);
  await ask("DELETE", `/runs/${b}`);
  expect(await next()).toEqual([{ name: "b", state: "running", deleted: expect.any(Number) }]);
  expect(await next()).toEqual([]);
  expect((await ask("GET", "/runs.json?experiment=turns&columns=name")).json).toEqual([
    { name: "a" },
  ]);
});

test("concurrent writers of one run all land, and the same request sent twenty times at once lands once", async () => {
  const run = await startRun();
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      ask("POST", `/runs/${run}/points?writer=w${i}&seq=0`, [{ key: "k", step: i, value: i }]),
    ),
  );
  const answers = await Promise.all(
    Array.from({ length: 20 }, () =>
      ask("POST", `/runs/${run}/points?writer=same&seq=1`, [{ key: "k", step: 99, value: 1 }]),
    ),
  );
  expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(['{"accepted":1}']));
  const { json } = await ask("GET", `/points.json?run=${run}`);
  expect(json.map(({ step }: { step: number }) => step)).toEqual([...Array(20).keys(), 99]);
  expect((await ask("GET", `/runs/${run}`)).json).toMatchObject({
    points: 21,
    metrics: { k: { count: 21 } },
  });
});

test("the three formats of an answer agree, gzipped or not", async () => {
  const run = await startRun();
  await ask("POST", `/runs/${run}/points`, [
    { key: "a,b", step: 0.5, value: 1e-7, time: 5 },
    { key: 'q"', step: 1, value: "NaN", time: 6 },
  ]);
  const csv = (await ask("GET", `/points.csv?run=${run}`)).text;
  expect(csv).toBe(
    `run,key,step,time,value\r\n${run},"a,b",0.5,1970-01-01T00:00:00.005Z,1e-7\r\n${run},"q""",1.0,1970-01-01T00:00:00.006Z,NaN\r\n`,
  );
  const zipped = await ask("GET", `/points.csv?run=${run}`, undefined, {
    "accept-encoding": "gzip",
  });
  expect(zipped.text).toBe(csv);
});

test("several readers with their own cursors each see every point and every changed run once, whatever happens between", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.tuple(
          fc.constantFrom("append", "append", "start", "print", "finish", "read", "read both"),
          fc.nat(3),
        ),
        { minLength: 10, maxLength: 25 },
      ),
      async (steps) => {
        const experiment = `live ${newId()}`;
        const runs = [await startRun({ experiment }), await startRun({ experiment })];
        const readers = [0, 1].map(() => ({
          points: "",
          runs: "",
          seen: [] as number[],
          states: new Map<string, unknown>(),
        }));
        const sent: number[] = [];
        const read = async (reader: (typeof readers)[0]) => {
          const points = await ask(
            "GET",
            `/points.json?experiment=${experiment}&since=${reader.points}`,
          );
          reader.points = points.headers.get("x-assay-cursor")!;
          reader.seen.push(...points.json.map((p: any) => p.value));
          const changed = await ask(
            "GET",
            `/runs.json?experiment=${experiment}&columns=id,state,points,lines&since=${reader.runs}`,
          );
          reader.runs = changed.headers.get("x-assay-cursor")!;
          for (const { id, ...state } of changed.json) {
            expect(reader.states.get(id)).not.toEqual(state); // told only what is new
            reader.states.set(id, state);
          }
        };
        const act = async (what: string, which: number) => {
          const run = runs[which % runs.length]!;
          if (
            what === "append" &&
            (await ask("POST", `/runs/${run}/points`, [{ key: "k", step: 0, value: sent.length }]))
              .status === 200
          )
            sent.push(sent.length);
          if (what === "start") runs.push(await startRun({ experiment }));
          if (what === "print") await ask("POST", `/runs/${run}/console`, ["line"]);
          if (what === "finish") await ask("POST", `/runs/${run}/finish`, { state: "finished" });
          if (what === "read") await read(readers[which % 2]!);
          if (what === "read both")
            await Promise.all([...readers.map(read), ask("POST", `/runs/${run}/heartbeat`)]);
        };
        for (const [what, which] of steps) await act(what, which);
        for (const reader of readers) {
          await read(reader);
          expect(reader.seen.sort((a, b) => a - b)).toEqual(sent);
          expect([...reader.states.keys()].sort()).toEqual(runs.toSorted());
        }
      },
    ),
    { numRuns: 8 },
  );
});

test("a run started after the newest one was purged is not taken for it, even if the clock was set back", async () => {
  const experiment = "purged";
  const old = await startRun({ experiment });
  await env.DB.prepare("UPDATE runs SET touched = touched + 5000 WHERE id = ?").bind(old).run();
  await ask("POST", `/runs/${old}/points`, [{ key: "k", step: 0, value: 1 }]);
  const { headers } = await ask("GET", `/points.json?experiment=${experiment}`);
  await ask("DELETE", `/runs/${old}`);
  await ask("POST", `/runs/${old}/purge`);
  const fresh = await startRun({ experiment });
  await ask("POST", `/runs/${fresh}/points`, [{ key: "k", step: 0, value: 2 }]);
  const since = await ask(
    "GET",
    `/points.json?experiment=${experiment}&since=${headers.get("x-assay-cursor")}`,
  );
  expect(since.json.map(({ value }: any) => value)).toEqual([2]);
});

test("runs told by cursor have their names, however soon they are asked for", async () => {
  const cursors = ask("GET", "/runs.json?columns=name");
  const started = Promise.all(Array.from({ length: 10 }, () => startRun({ experiment: "named" })));
  const early = await Promise.all(
    Array.from({ length: 10 }, () => ask("GET", "/runs.json?experiment=named&columns=name")),
  );
  await Promise.all([cursors, started]);
  for (const { status, json } of early)
    if (status === 200) for (const { name } of json) expect(name).toMatch(/^\w+-\w+-\d+$/);
});
