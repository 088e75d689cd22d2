import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { collectUndo } from "../../worker/db/bulk.ts";
import { selectEvents } from "../../worker/db/events.ts";
import { newId } from "../../wire/id.ts";
import { askOver, faulty, type When } from "./faulty.ts";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const decode = (bytes: Uint8Array | undefined) => JSON.parse(new TextDecoder().decode(bytes));

/** What runs are, and how many events tell of them. */
async function stateOf(runs: string[]) {
  const { results } = await env.DB.prepare(
    "SELECT id, experiment, number, json(tags) AS tags, note, archived, deleted, rev FROM runs WHERE id IN (SELECT value FROM json_each(?)) ORDER BY no",
  )
    .bind(JSON.stringify(runs))
    .all();
  return results;
}
const withoutRev = (state: Record<string, unknown>[]) => state.map(({ rev: _, ...rest }) => rest);
const eventsOf = async (runs: string[]) =>
  (await selectEvents(env.DB, { limit: 1_000_000 })).filter(({ subject }) => runs.includes(subject))
    .length;

const changes = {
  "a tag": { tags: { team: "a", old: null } },
  "a note": { note: "after" },
  deletion: { deleted: true },
  "a move": { experiment: "target" },
};

describe.for<When>(["before it is done", "after it was done"])("each call failing %s", (when) => {
  test.for(Object.entries(changes))(
    "%s is made once and taken back once, sent again until it is answered",
    { timeout: 120_000 },
    async ([, change]) => {
      await startRun({ experiment: "target" });
      let n = 0;
      for (; ; n++) {
        const experiment = `faults ${newId()}`;
        const runs: string[] = [];
        for (let i = 0; i < 3; i++)
          runs.push(await startRun({ experiment, note: `before ${i}`, tags: { old: String(i) } }));
        const [before, eventsBefore] = [await stateOf(runs), await eventsOf(runs)];
        const { stores, fault } = faulty(n, when);
        const until = async (path: string, body?: unknown) => {
          for (let tries = 0; ; tries++) {
            const { status, bytes } = await askOver(
              stores,
              "POST",
              path,
              body === undefined ? undefined : encode(body),
            );
            if (status === 200) return decode(bytes);
            expect([status, tries]).toEqual([503, 0]); // busy, and only once
          }
        };
        // By a filter that no longer finds the runs once they are changed.
        const asked = { id: newId(), runs: { experiment, where: "tags.old >= '0'" }, change };
        const answer = await until("/runs/bulk", asked);
        expect(answer).toMatchObject({ changed: 3, unchanged: 0 });
        const after = await stateOf(runs);
        expect(after.map(({ rev }) => rev)).toEqual(before.map(({ rev }) => Number(rev) + 1));
        expect(withoutRev(after)).not.toEqual(withoutRev(before));
        expect((await ask("POST", "/runs/bulk", asked)).json).toEqual(answer);
        expect(await until(`/undo/${answer.undo}`)).toEqual({ restored: 3, changedSince: 0 });
        const undone = await stateOf(runs);
        expect(withoutRev(undone)).toEqual(withoutRev(before));
        expect(undone.map(({ rev }) => rev)).toEqual(before.map(({ rev }) => Number(rev) + 2));
        expect(await eventsOf(runs)).toBe(eventsBefore + 6);
        expect((await ask("POST", `/undo/${answer.undo}`)).json).toEqual({
          restored: 3,
          changedSince: 0,
        });
        expect(await stateOf(runs)).toEqual(undone);
        if (!fault.has) break;
      }
      expect(n).toBeGreaterThan(5); // there were calls to fail
    },
  );

  test("the cron's collection, run again, leaves nothing", async () => {
    for (let n = 0; ; n++) {
      const run = await startRun({ experiment: "collected" });
      await ask("POST", "/runs/bulk", { runs: [run], change: { note: "x" } });
      const { stores, fault } = faulty(n, when);
      await collectUndo(stores, { grace: -8_000_000 }).catch(() => undefined);
      await collectUndo(env, { grace: -8_000_000 });
      expect((await env.FILES.list({ prefix: "undo/" })).objects).toEqual([]);
      const left = await env.DB.prepare(
        "SELECT count(*) AS n FROM bulks WHERE runs IS NOT NULL",
      ).first();
      expect(left).toEqual({ n: 0 });
      if (!fault.has) break;
    }
  });
});
