import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../client/index.ts";
import { median, say } from "./report.ts";
import { wandbServer } from "./wandb.ts";

const calls = 200_000;
const rounds = 9;

/** What one `run.log({ loss, acc })` costs the training loop, against the least it could and against W&B's client. */
export async function logCall(): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), "assay-bench-"));
  process.env["ASSAY_HOME"] = home;
  const lab = await connect("http://127.0.0.1:6553"); // nobody is there: the loop must not mind
  const warn = console.warn;
  console.warn = () => undefined;
  const ours = await lab.startRun({ experiment: "bench" });
  const server = await wandbServer();
  process.env["WANDB_BASE_URL"] = server.url;
  process.env["WANDB_API_KEY"] = "0".repeat(40);
  const { default: wandb } = await import("@wandb/sdk");
  const theirs = await wandb.init({
    project: "bench",
    settings: { baseUrl: server.url, apiKey: "0".repeat(40), silent: true },
  });

  const times = new Float64Array(65_536);
  const values = new Float64Array(65_536);
  const sides = {
    floor: () => {
      for (let i = 0; i < calls; i++) {
        times[i & 65_535] = Date.now();
        values[i & 65_535] = i;
      }
    },
    assay: () => {
      for (let i = 0; i < calls; i++) ours.log({ loss: i * 0.5, acc: i * 0.25 }, { step: i });
    },
    // Its messages pile up in the process until they are taken: fewer calls, or memory would decide.
    wandb: () => {
      for (let i = 0; i < calls / 20; i++) theirs.log({ loss: i * 0.5, acc: i * 0.25 }, i);
    },
  };
  const found: Record<keyof typeof sides, number[]> = { floor: [], assay: [], wandb: [] };
  for (let round = -2; round < rounds; round++)
    for (const name of ["floor", "assay", "wandb"] as const) {
      const began = process.hrtime.bigint();
      sides[name]();
      const taken =
        Number(process.hrtime.bigint() - began) / (name === "wandb" ? calls / 20 : calls);
      if (round >= 0) found[name].push(taken);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  const [floor, assay, wandbTime] = [median(found.floor), median(found.assay), median(found.wandb)];
  say("log-call", "Date.now() and two stores", floor, "ns");
  say(
    "log-call",
    "run.log({ loss, acc })",
    assay,
    "ns",
    `${(assay / floor).toFixed(2)}× the floor (target ≤ 2.5)`,
  );
  say(
    "log-call",
    "@wandb/sdk 0.5.1 log",
    wandbTime,
    "ns",
    `${(wandbTime / assay).toFixed(1)}× ours (target ≥ 5)`,
  );
  await ours.finish("finished", { timeout: 0 });
  console.warn = warn;
  server.close();
  rmSync(home, { recursive: true, force: true });
}
