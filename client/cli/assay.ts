#!/usr/bin/env node
import { spawnSync } from "node:child_process";
import * as nodeModule from "node:module";
import { UsageError } from "./arguments.ts";
import { ApiError } from "../../wire/error.ts";

/** A command: a file of this folder. `run` resolves to the exit code. */
interface Command {
  summary: string;
  help: string;
  run(args: string[]): Promise<number>;
}

const commands: Record<string, () => Promise<Command>> = {
  start: () => import("./start.ts"),
  dev: () => import("./dev.ts"),
  demo: () => import("./demo.ts"),
  log: () => import("./log.ts"),
  sync: () => import("./sync.ts"),
  runs: () => import("./runs.ts"),
  change: () => import("./change.ts"),
  undo: () => import("./undo.ts"),
  points: () => import("./points.ts"),
  get: () => import("./get.ts"),
  import: () => import("./import.ts"),
  export: () => import("./export.ts"),
};

/** Exit codes: 0 done, 1 it could not be done, 2 the command was typed wrong. */
async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined || name === "help" || name === "--help" || name === "-h")
    return overview(args[0]);
  if (name === "--version" || name === "-v")
    return say(nodeModule.createRequire(import.meta.url)("../../package.json").version);
  if (!Object.hasOwn(commands, name)) throw new UsageError(`unknown command: ${name}`);
  const command = await commands[name]!();
  if (args.includes("--help") || args.includes("-h")) return say(command.help);
  return command.run(args);
}

async function overview(name: string | undefined): Promise<number> {
  if (name !== undefined && Object.hasOwn(commands, name))
    return say((await commands[name]!()).help);
  const lines = await Promise.all(
    Object.entries(commands).map(
      async ([name, load]) => `  ${name.padEnd(8)} ${(await load()).summary}`,
    ),
  );
  return say(`assay <command> [options]\n\n${lines.join("\n")}\n\nassay help <command> shows its options and examples.
Servers are found by --url or ASSAY_URL (http://127.0.0.1:8787), tokens by --token or ASSAY_TOKEN.`);
}

function say(text: string): number {
  console.log(text);
  return 0;
}

/** Returns the exit code of an error, after saying it: usage and refusals without a stack. */
function report(error: unknown): number {
  const { message, code, cause } = error as Error & {
    code?: string;
    cause?: { code?: string; message?: string };
  };
  const isUsage = error instanceof UsageError || code?.startsWith("ERR_PARSE_ARGS");
  console.error(`assay: ${cause ? `${message}: ${cause.code ?? cause.message}` : message}`);
  if (isUsage) console.error("assay help shows the commands and their options");
  else if (!(error instanceof ApiError) && process.env["ASSAY_DEBUG"]) console.error(error);
  return isUsage ? 2 : 1;
}

nodeModule.enableCompileCache?.(); // an older Node, which only passes on, has none

const [major] = process.versions.node.split(".").map(Number);
if (major! < 22) {
  // The `node` package in our dependencies brings a newer one than this system has.
  const node = nodeModule.createRequire(import.meta.url).resolve("node/bin/node");
  process.exitCode = spawnSync(node, process.argv.slice(1), { stdio: "inherit" }).status ?? 1;
} else {
  process.exitCode = await main(process.argv.slice(2)).catch(report);
}
