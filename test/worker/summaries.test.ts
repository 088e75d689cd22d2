import * as fc from "fast-check";
import { expect, test } from "vitest";
import { pointsFromJSON } from "../../wire/point.ts";
import { summarize } from "../../wire/summary.ts";
import { ask, freshStores, startRun } from "./worker.ts";

freshStores();

const value = fc.oneof(
  fc.double({ min: -1e150, max: 1e150 }), // sums that overflow depend on their order
  fc.constantFrom("NaN", "Infinity", "-Infinity", 0, 1, 0.1, 1e-300),
);
const point = fc.record({
  key: fc.constantFrom("loss", "val/acc", 'q"uote', "$.x", "ü", "a.b", "__proto__"),
  step: fc.oneof(fc.integer({ min: -3, max: 6 }), fc.double({ min: -5, max: 5, noNaN: true })),
  time: fc.integer({ min: 1_795_432_172_440, max: 1_795_432_172_444 }),
  value: value.map((v) => (typeof v === "number" && !Number.isFinite(v) ? String(v) : v)),
});
const numberOf = (v: unknown): unknown => (typeof v === "string" ? Number(v) : v);

test("the summary of a run is that of all its points, whatever the order, the writers and the retries", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(point, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 5 }),
      async (requests) => {
        const run = await startRun();
        for (const [seq, points] of requests.entries())
          for (let again = 0; again <= seq % 2; again++) {
            // JSON.stringify would lose the sign of −0, here as in any client.
            const answer = await ask(
              "POST",
              `/runs/${run}/points?writer=w${seq % 3}&seq=${seq}`,
              points,
            );
            expect(answer.json).toEqual({ accepted: points.length });
          }
        const sent = JSON.parse(JSON.stringify(requests.flat()));
        const expected = summarize(pointsFromJSON(sent));
        const { metrics, points } = (await ask("GET", `/runs/${run}`)).json;
        expect(points).toBe(sent.length);
        expect(Object.keys(metrics).sort()).toEqual([...expected.keys()].sort());
        for (const [key, { sum, ...rest }] of expected) {
          const { sum: found, ...others } = Object.getOwnPropertyDescriptor(metrics, key)!.value;
          expect(
            Object.fromEntries(Object.entries(others).map(([name, v]) => [name, numberOf(v)])),
          ).toEqual(rest);
          if (Number.isFinite(sum))
            expect(Math.abs(Number(found) - sum)).toBeLessThanOrEqual(
              1e-9 * Math.abs(sum) + 1e-300,
            );
          else expect(numberOf(found)).toEqual(sum);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test("numbers come out of the database with every digit they went in with", async () => {
  const run = await startRun();
  const values = [
    0.1 + 0.2,
    1 / 3,
    Math.PI * 1e-200,
    5e-324,
    -1.7976931348623157e308,
    123456789.12345679,
  ];
  for (const [i, v] of values.entries())
    await ask("POST", `/runs/${run}/points`, [{ key: `k${i}`, step: 0, value: v }]);
  for (const [i] of values.entries())
    await ask("POST", `/runs/${run}/points`, [{ key: `k${i}`, step: -1, value: 0 }]);
  const { metrics } = (await ask("GET", `/runs/${run}`)).json;
  expect(values.map((_, i) => metrics[`k${i}`].last)).toEqual(values);
});

test("of 0 and −0 at one step and time it is not the order of arrival that decides", async () => {
  const zeros = ["0", "-0.0", "0", "-0.0"];
  for (const [i, first] of [zeros, zeros.toReversed()].entries()) {
    const run = await startRun();
    for (const value of first)
      await ask("POST", `/runs/${run}/points`, `[{"key":"z","step":1,"time":5,"value":${value}}]`);
    const { z } = (await ask("GET", `/runs/${run}`)).json.metrics;
    expect([i, z.last, z.min, z.max, z.count]).toEqual([i, 0, -0, 0, 4]);
  }
});

test("writers who append at once, and again, make the summary of all their points", async () => {
  const run = await startRun();
  const lots = Array.from({ length: 20 }, (_, w) =>
    Array.from({ length: 5 }, (_, i) => ({
      key: `k${i % 2}`,
      step: (w * 7 + i) % 10,
      time: 1000 + (w % 3),
      value: w % 4 ? Math.sin(w * 5 + i) : "NaN",
    })),
  );
  const send = (points: object[], w: number) =>
    ask("POST", `/runs/${run}/points?writer=w${w}&seq=0`, points);
  await Promise.all([...lots.map(send), ...lots.map(send)]);
  const expected = summarize(pointsFromJSON(lots.flat()));
  const { metrics, points } = (await ask("GET", `/runs/${run}`)).json;
  expect(points).toBe(100);
  for (const [key, { sum, ...rest }] of expected) {
    const { sum: found, ...others } = metrics[key];
    expect(
      Object.fromEntries(Object.entries(others).map(([name, v]) => [name, numberOf(v)])),
    ).toEqual(rest);
    expect(found).toBeCloseTo(sum, 9);
  }
});
