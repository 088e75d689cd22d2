import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { median, say } from "./report.ts";

/** How long `npm start` takes until the server answers, when it is built and its data folder is not new. */
export async function startUp(): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), "assay-bench-"));
  const times: number[] = [];
  for (let round = -1; round < 5; round++) {
    const began = performance.now();
    const child = spawn(
      "npm",
      ["start", "--silent", "--", "--port", "0", "--data", data, "--no-demo"],
      { cwd: join(import.meta.dirname, "../.."), stdio: ["ignore", "pipe", "inherit"] },
    );
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const health = await fetch(`${/http\S+/.exec(String(line))![0]}/api/v1/health`);
    if (!health.ok) throw new Error(`not healthy: ${health.status}`);
    if (round >= 0) times.push(performance.now() - began);
    child.kill("SIGTERM");
    await once(child, "exit");
  }
  say("start", "npm start to the first answer", median(times), "ms", "(target < 1,000)");
  rmSync(data, { recursive: true, force: true });
}
