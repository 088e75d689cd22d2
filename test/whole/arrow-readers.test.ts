import { tableFromIPC as readByArrow } from "apache-arrow";
import { tableFromIPC as readByFlechette } from "@uwdata/flechette";
import { fromArrow, op } from "arquero";
import { beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../client/index.ts";
import { serverForTests } from "./server.ts";

const server = await serverForTests();
const steps = 40_000;

beforeAll(async () => {
  const lab = await connect(server.url);
  const run = await lab.startRun({ experiment: "read" });
  for (let step = 0; step < steps; step++)
    run.log({ loss: step === 7 ? NaN : 1 / (1 + step), acc: step / steps }, { step });
  await run.finish(); // its points become a segment soon after
});

const bytesOf = async (query: string) => {
  const response = await fetch(`${server.url}/api/v1/points.arrow?experiment=read&${query}`);
  return new Uint8Array(await response.arrayBuffer());
};

describe.for(["key=acc&key=loss", "from=0"])("of tail or segments, %s", (query) => {
  test("apache-arrow", async () => {
    const table = readByArrow(await bytesOf(query));
    expect(table.numRows).toBe(2 * steps);
    expect(table.getChild("key")!.get(steps)).toBe("loss");
    expect(table.getChild("value")!.get(steps + 7)).toBeNaN();
  });

  test("flechette", async () => {
    const table = readByFlechette(await bytesOf(query));
    expect([table.numRows, table.getChild("step").at(steps - 1)]).toEqual([2 * steps, steps - 1]);
  });

  test("arquero, grouped by key", async () => {
    const rows = fromArrow(await bytesOf(query))
      .groupby("key")
      .rollup({ n: op.count(), last: op.max("step") })
      .objects();
    expect(rows).toEqual([
      { key: "acc", n: steps, last: steps - 1 },
      { key: "loss", n: steps, last: steps - 1 },
    ]);
  });
});

test("a chart of buckets, and a wide table, through the client", async () => {
  const lab = await connect(server.url);
  const chart = await lab.points({ experiment: "read", key: "loss", buckets: 500 });
  const counts = [...(chart.getChild("count")!.toArray() as Float64Array)];
  expect(counts.reduce((a, b) => a + b)).toBe(steps);
  expect(chart.numRows).toBeLessThanOrEqual(500);
  const run = chart.getChild("run")!.get(0) as string;
  const wide = await lab.points({ run, layout: "wide", to: 9 });
  expect(wide.schema.names).toEqual(["step", "time", "acc", "loss"]);
  expect(wide.numRows).toBe(10);
});
