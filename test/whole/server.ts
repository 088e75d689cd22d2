import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

export const root = join(import.meta.dirname, "../..");
export const cli = join(root, "dist/cli/assay.js");

/** Returns a new folder that is gone after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "assay-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** Returns a port that nobody listens at. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

/** A process that prints; `until` waits for text on its stdout. */
export interface Started {
  child: ChildProcess;
  out: () => string;
  err: () => string;
  until(text: string | RegExp, timeout?: number): Promise<string>;
  /** Resolves to the exit code, or the signal's name. */
  ended: Promise<number | string>;
}

/** Starts a program and collects what it prints. */
export function start(
  command: string,
  args: string[],
  {
    env = {},
    cwd = root,
    input,
  }: { env?: Record<string, string>; cwd?: string; input?: string } = {},
): Started {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  if (input !== undefined) child.stdin.end(input);
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | string);
  const until = async (text: string | RegExp, timeout = 10_000) => {
    const limit = Date.now() + timeout;
    for (;;) {
      const found =
        typeof text === "string" ? (out.includes(text) ? text : undefined) : text.exec(out)?.[0];
      if (found !== undefined) return found;
      if (Date.now() > limit || child.exitCode !== null)
        throw new Error(`no ${text} in: ${out}\n${err}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  return { child, out: () => out, err: () => err, until, ended };
}

/** Runs a command of the CLI to its end. */
export async function assay(
  args: string[],
  options: { env?: Record<string, string>; input?: string } = {},
) {
  const started = start(process.execPath, [cli, ...args], {
    ...options,
    input: options.input ?? "",
  });
  const code = await started.ended;
  return { code, out: started.out(), err: started.err() };
}

/** Starts an embedded server on any free port; `url` is where it answers. */
export async function startServer({
  data = temporaryFolder(),
  args = ["--no-demo"],
}: { data?: string; args?: string[] } = {}) {
  const started = start(process.execPath, [cli, "start", "--port", "0", "--data", data, ...args]);
  const url = /http\S+/.exec(await started.until(/at http\S+/))![0];
  const stop = async () => {
    started.child.kill("SIGTERM");
    return started.ended;
  };
  return { ...started, url, data, stop };
}

/** A server for a file's tests, stopped after them. */
export async function serverForTests() {
  const server = await startServer();
  afterAll(async () => void (await server.stop()));
  return server;
}
