import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

export const summary = "Serve this checkout with hot reload, for those who change Assay itself";

export const help = `assay dev [wrangler options]

Runs wrangler dev on the sources, and rebuilds the pages as they change. Needs a checkout.

Example
  npm run dev -- --port 8788`;

// wrangler would ask the network for request data and keep traces and logs in the home directory.
const quiet = {
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_LOG_PATH: ".wrangler/logs",
  X_LOCAL_OBSERVABILITY: "false",
};

export async function run(args: string[]): Promise<number> {
  if (!existsSync("wrangler.toml") || !existsSync("build.ts"))
    throw new Error("not a checkout of Assay: wrangler.toml is missing");
  const env = { ...process.env, ...quiet };
  const wrangler = join("node_modules", "wrangler", "bin", "wrangler.js");
  const persist = ["--persist-to", ".wrangler/dev"];
  await finished(
    spawn(
      process.execPath,
      [wrangler, "d1", "migrations", "apply", "assay", "--local", ...persist],
      { env, stdio: ["ignore", "ignore", "inherit"] },
    ),
  );
  const pages = spawn(process.execPath, ["build.ts", "--watch"], { env, stdio: "inherit" });
  const dev = spawn(
    process.execPath,
    [
      wrangler,
      "dev",
      "--local",
      "--ip",
      "127.0.0.1",
      ...(args.includes("--port") ? [] : ["--port", "8787"]),
      "--var",
      "LOOPBACK:1",
      ...persist,
      "--show-interactive-dev-session=false",
      ...args,
    ],
    { env, stdio: "inherit" },
  );
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => dev.kill(signal));
  const code = await finished(dev);
  pages.kill();
  return code;
}

function finished(child: ReturnType<typeof spawn>): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 0));
  });
}
