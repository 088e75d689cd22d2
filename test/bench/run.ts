// npm run bench [log-call] [ingest] [points] [scale] [runs] [filter] [mlflow] [start] [size]: measures, and prints both sides of each comparison from one run.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { filter } from "./filter.ts";
import { ingest } from "./ingest.ts";
import { logCall } from "./log-call.ts";
import { mlflow } from "./mlflow/index.ts";
import { points } from "./points/index.ts";
import { runs } from "./runs/index.ts";
import { scale } from "./scale.ts";
import { sizes } from "./size.ts";
import { startUp } from "./start.ts";

execFileSync(process.execPath, ["build.ts"], {
  cwd: join(import.meta.dirname, "../.."),
  stdio: "inherit",
});
const benches: Record<string, () => void | Promise<void>> = {
  size: sizes,
  start: startUp,
  ingest,
  points,
  runs,
  scale,
  filter,
  mlflow,
  "log-call": logCall,
};
const wanted = process.argv.slice(2);
for (const name of wanted)
  if (!Object.hasOwn(benches, name))
    throw new Error(`unknown bench: ${name} (there are ${Object.keys(benches).join(", ")})`);
for (const [name, bench] of Object.entries(benches))
  if (wanted.length === 0 || wanted.includes(name)) await bench();
process.exit(0); // the W&B client keeps a worker
