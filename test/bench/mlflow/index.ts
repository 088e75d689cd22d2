import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { startBenchServer } from "../points/servers.ts";
import { median, Report } from "../report.ts";
import { pythonWithMlflow, startClient, startMlflow, type Done } from "./servers.ts";

const sides = ["ours", "theirs"] as const;
type Both<T> = Record<(typeof sides)[number], T>;

/** What users of MLflow's client wait for, here and with MLflow's own server: the same client, in turns. */
export async function mlflow(): Promise<void> {
  const report = new Report("mlflow");
  const python = pythonWithMlflow();
  const [server, peer] = [await startBenchServer(), await startMlflow(python)];
  const urls: Both<string> = { ours: server.url, theirs: peer.url };
  const client = startClient(python);

  /** Has a deed done by both in turns, so many rounds after some that do not count; they must find the same. */
  async function measure(
    name: string,
    args: (side: keyof Both<string>) => object,
    rounds: number,
    { unseen = 1 } = {},
  ): Promise<Both<{ seconds: number; last: Done }>> {
    const taken: Both<number[]> = { ours: [], theirs: [] };
    const last = {} as Both<Done>;
    for (let round = -unseen; round < rounds; round++) {
      for (const side of sides) {
        last[side] = await client.deed(name, { uri: urls[side], ...args(side) });
        if (round >= 0) taken[side].push(last[side].seconds);
      }
      if (!isDeepStrictEqual(last.ours.found, last.theirs.found))
        throw new Error(
          `${name} finds other things: ${shown(last.ours.found)}, not ${shown(last.theirs.found)}`,
        );
    }
    const of = (side: keyof Both<string>) => ({
      seconds: median(taken[side]),
      last: last[side],
    });
    return { ours: of("ours"), theirs: of("theirs") };
  }

  /** Puts 5,000 runs straight into the tables of both, as MLflow's server would take ten minutes for them. */
  async function fill(): Promise<void> {
    const { database } = peer;
    const asked = { uri: peer.url, experiment: "search", runs: 5000, database };
    const { found } = await client.deed("fill", asked);
    const response = await fetch(`${server.url}/bench/fill?experiment=search`, {
      method: "POST",
      body: JSON.stringify(found),
    });
    if (!response.ok) throw new Error(`fill: ${response.status} ${await response.text()}`);
  }

  const faster = (
    what: string,
    target: string,
    { ours, theirs }: Awaited<ReturnType<typeof measure>>,
  ) =>
    report.add(what, theirs.seconds / ours.seconds, "× faster", target, {
      ours: [ours.seconds, "s"],
      against: [theirs.seconds, "s"],
    });

  await fill();
  const inSearch = () => ({ experiment: "search" });
  faster("first 50 of 5,000 runs, filter and order", "≥ 3", await measure("search", inSearch, 9));
  faster("page through 5,000 runs", "≥ 3", await measure("page", inSearch, 3));

  faster(
    "page through 5,000 runs, the servers alone",
    "",
    await measure("page_alone", inSearch, 3),
  );

  const log = () => ({ experiment: "log", runs: 20, points: 1000 });
  faster("20 runs × (20 params, 1,000 points)", "≥ 5", await measure("log", log, 5, { unseen: 0 }));

  const written = await measure(
    "write_history",
    () => ({ experiment: "history", points: 100_000 }),
    1,
    { unseen: 0 },
  );
  faster("write 100,000 points of a metric", "≥ 5", written);
  const history = (side: keyof Both<string>) => ({ run: written[side].last.run });
  faster("get_metric_history of them", "≥ 3", await measure("read_history", history, 3));

  faster("get_metric_history, the servers alone", "", await measure("history_alone", history, 3));

  const folder = mkdtempSync(join(tmpdir(), "mlflow-bench-"));
  const file = join(folder, "weights.bin");
  writeFileSync(file, randomBytes(50_000_000));
  const sent = await measure("upload", () => ({ experiment: "files", file }), 5);
  faster("upload 50 MB", "", sent);
  const got = await measure("download", (side) => ({ run: sent[side].last.run, file }), 5);
  faster("download 50 MB", "≥ 1", got);
  await bucketAlone(report, server.url);

  client.close();
  await server.close();
  await peer.close();
  rmSync(folder, { recursive: true, force: true });
  report.keep();
}

/** How long the simulator of R2 takes for 50 MB, with nothing around it: no upload here can be faster. */
async function bucketAlone(report: Report, url: string): Promise<void> {
  const body = randomBytes(50_000_000);
  const taken: Record<"PUT" | "GET", number[]> = { PUT: [], GET: [] };
  for (let round = -1; round < 5; round++)
    for (const method of ["PUT", "GET"] as const) {
      const began = performance.now();
      const response = await fetch(`${url}/bench/bucket`, {
        method,
        ...(method === "PUT" ? { body } : {}),
      });
      await response.arrayBuffer();
      if (!response.ok) throw new Error(`${method} of the bucket: ${response.status}`);
      if (round >= 0) taken[method].push((performance.now() - began) / 1000);
    }
  report.add("upload 50 MB into the simulator of R2 alone", median(taken.PUT), "s", "");
  report.add("download 50 MB from it alone", median(taken.GET), "s", "");
}

const shown = (found: unknown): string => (JSON.stringify(found) ?? "nothing").slice(0, 500);
