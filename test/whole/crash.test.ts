import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { assay, root, serverForTests, start, startServer, temporaryFolder } from "./server.ts";

const server = await serverForTests();

/** A training that says each step on its own stdout after it logged it. */
function script(folder: string, url: string): string {
  const path = join(folder, "train.mjs");
  writeFileSync(
    path,
    `import { writeSync } from "node:fs";
     import { connect } from ${JSON.stringify(join(root, "client/index.ts"))};
     const lab = await connect(${JSON.stringify(url)});
     const run = await lab.startRun({ experiment: "crash" });
     writeSync(1, run.id + "\\n");
     for (let step = 0; ; step++) {
       run.log({ loss: 1 / (1 + step), acc: step }, { step });
       writeSync(1, step + "\\n");
       await new Promise((resolve) => setTimeout(resolve, 1));
     }`,
  );
  return path;
}

const pointsOf = async (url: string, run: string) =>
  (await (await fetch(`${url}/api/v1/points.json?run=${run}`)).json()) as {
    key: string;
    step: number;
    value: number;
  }[];

test.for([300, 900, 1700])(
  "SIGKILL after %i ms, then sync: every step is there, each once",
  async (delay) => {
    const folder = temporaryFolder();
    const env = { ASSAY_HOME: folder };
    const training = start(process.execPath, [script(folder, server.url)], { env });
    await training.until("0\n");
    await new Promise((resolve) => setTimeout(resolve, delay));
    training.child.kill("SIGKILL");
    await training.ended;
    const [run, ...steps] = training.out().trim().split("\n");
    const last = Number(steps.at(-1));
    for (let again = 0; again < 2; again++) expect((await assay(["sync"], { env })).code).toBe(0);
    const points = await pointsOf(server.url, run!);
    for (const key of ["loss", "acc"]) {
      const found = points.filter((point) => point.key === key).map(({ step }) => step);
      expect(found).toEqual(Array.from(found, (_, i) => i)); // each once, none missing
      expect(found.length).toBeGreaterThanOrEqual(last + 1);
    }
    expect(await (await fetch(`${server.url}/api/v1/runs/${run}`)).json()).toMatchObject({
      state: "killed",
    });
  },
);

test("a training whose server is dead goes on, and sync sends all of it later", async () => {
  const folder = temporaryFolder();
  const env = { ASSAY_HOME: folder };
  const training = start(process.execPath, [script(folder, "http://127.0.0.1:6553")], { env });
  await training.until(/\n50\n/);
  const [run, ...steps] = training.out().trim().split("\n");
  training.child.kill("SIGTERM");
  expect(await training.ended).toBe(143);
  expect(training.err().match(/does not answer/g)).toHaveLength(1);
  const { code, out } = await assay(["sync", "--url", server.url], { env });
  expect({ code, out }).toMatchObject({ code: 0, out: expect.stringContaining("sent to") });
  expect((await pointsOf(server.url, run!)).length).toBeGreaterThanOrEqual(2 * steps.length);
});

test("a server that is killed and comes back loses no point and doubles none", async () => {
  const folder = temporaryFolder();
  const first = await startServer();
  const training = start(process.execPath, [script(folder, first.url)], {
    env: { ASSAY_HOME: folder },
  });
  await training.until(/\n100\n/);
  first.child.kill("SIGKILL");
  await first.ended;
  const second = await startServer({
    data: first.data,
    args: ["--no-demo", "--port", new URL(first.url).port],
  });
  await training.until(/\n1500\n/, 20_000);
  training.child.kill("SIGINT");
  expect(await training.ended).toBe(130);
  const run = training.out().slice(0, 32);
  const steps = (await pointsOf(second.url, run))
    .filter(({ key }) => key === "acc")
    .map(({ step }) => step);
  expect(steps).toEqual(Array.from(steps, (_, i) => i));
  expect(steps.length).toBeGreaterThan(1500);
  await second.stop();
}, 40_000);

test("a program that never stops for breath still journals what it logs", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "tight.mjs");
  writeFileSync(
    path,
    `import { writeSync } from "node:fs";
     import { connect } from ${JSON.stringify(join(root, "client/index.ts"))};
     const run = await (await connect(${JSON.stringify(server.url)})).startRun({ experiment: "crash" });
     writeSync(1, run.id + "\\n");
     for (let step = 0; ; step++) {
       run.log({ loss: step }, { step });
       let busy = 0;
       for (let i = 0; i < 200_000; i++) busy += Math.sqrt(i);
       writeSync(1, step + "\\n");
     }`,
  );
  const env = { ASSAY_HOME: folder };
  const training = start(process.execPath, [path], { env });
  await training.until(/\n500\n/);
  training.child.kill("SIGKILL");
  await training.ended;
  expect((await assay(["sync"], { env })).code).toBe(0);
  const [run, ...steps] = training.out().trim().split("\n");
  const found = (await pointsOf(server.url, run!)).map(({ step }) => step);
  expect(found).toEqual(Array.from(found, (_, i) => i));
  expect(found.length).toBeGreaterThanOrEqual(steps.length);
});
