import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bornOf, ps } from "../../platform/born.ts";

/** Who holds a data folder. */
interface Holder {
  pid: number;
  /** when the process started, as the system tells it: a pid alone may have been given to another since */
  born: string;
  /** the address it answers at, once it does */
  url?: string;
  /** the workerd processes it started */
  children?: number[];
}

/** A data folder held by this process. */
export interface Lock {
  /** Notes more about the holder, for the one who finds the folder held. */
  note(more: Partial<Holder>): void;
  release(): void;
}

/**
 * Takes hold of a data folder for this process: two servers on one folder would spoil each other's writes. Throws where
 * a living process holds it. What a killed one left behind is cleared, its orphaned workerd included.
 */
export function lock(data: string): Lock {
  mkdirSync(data, { recursive: true });
  const file = join(data, "lock");
  const holder: Holder = { pid: process.pid, born: bornOf(process.pid)! };
  const draft = `${file}.${process.pid}`;
  for (;;) {
    writeFileSync(draft, JSON.stringify(holder));
    try {
      linkSync(draft, file); // atomic: of several who try, one succeeds
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      clearStale(data, file);
    } finally {
      rmSync(draft, { force: true });
    }
  }
  return {
    note(more) {
      writeFileSync(draft, JSON.stringify(Object.assign(holder, more)));
      renameSync(draft, file);
    },
    release: () => rmSync(file, { force: true }),
  };
}

function clearStale(data: string, file: string): void {
  const holder = readHolder(file);
  if (holder && isAlive(holder))
    throw new Error(
      `data folder ${data} is held by process ${holder.pid}${holder.url ? ` at ${holder.url}` : ""}; stop it first, or use another --data`,
    );
  for (const pid of holder?.children ?? []) if (commandOf(pid).includes("workerd")) kill(pid);
  // Another start may have cleared and taken the lock by now: what is moved away must be what was read.
  const moved = `${file}.stale.${process.pid}`;
  try {
    renameSync(file, moved);
    if (readHolder(moved)?.pid !== holder?.pid) linkSync(moved, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  rmSync(moved, { force: true });
}

function readHolder(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Holder;
  } catch {
    return undefined;
  }
}

const isAlive = ({ pid, born }: Holder): boolean => born !== undefined && bornOf(pid) === born;

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8");
  } catch {
    return ps(pid, "comm");
  }
}

/** Returns the processes that a process started. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
      .trim()
      .split(" ")
      .filter(Boolean)
      .map(Number);
  } catch {
    const table = execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" })
      .trim()
      .split("\n");
    const pairs = table.map((line) => line.trim().split(/\s+/).map(Number));
    return pairs.filter(([, parent]) => parent === pid).map(([child]) => child!);
  }
}

/** Kills a process and waits until it is gone, and its port with it. */
function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    return; // gone by itself
  }
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (let round = 0; round < 300 && bornOf(pid) !== undefined; round++)
    Atomics.wait(sleeper, 0, 0, 10);
}
