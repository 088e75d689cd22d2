import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startServer } from "../../client/cli/server/server.ts";
import { root, temporaryFolder } from "./server.ts";

test("the embedded server fires the Worker's crons by the clock", async () => {
  const folder = temporaryFolder();
  const worker = join(folder, "worker");
  cpSync(join(root, "dist/worker"), worker, { recursive: true });
  cpSync(join(root, "dist/app"), join(folder, "app"), { recursive: true });
  const options = JSON.parse(readFileSync(join(worker, "options.json"), "utf8"));
  expect(options.cronTriggers).toEqual(["17 * * * *"]);
  writeFileSync(
    join(worker, "options.json"),
    JSON.stringify({ ...options, cronTriggers: ["* * * * * *"] }),
  );
  // A Worker that counts, in the place of ours, which would do nothing to be seen within a second.
  writeFileSync(
    join(worker, "index.js"),
    `let fired = [];
     export default { fetch: () => Response.json(fired), scheduled: ({ cron }) => { fired.push(cron); } };`,
  );
  mkdirSync(join(folder, "data"));
  const server = await startServer({ port: 0, data: join(folder, "data"), worker: `${worker}/` });
  const fired = async () => (await (await fetch(server.url)).json()) as string[];
  await expect.poll(fired, { timeout: 5000 }).toContain("* * * * * *");
  await server.close();
});
