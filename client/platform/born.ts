import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * When a process started, in the system's own words; undefined where there is none, or only what is left of a dead one
 * that nobody has reaped. With its pid, which may be given to another later, this names a process for good.
 */
export function bornOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name before these fields may itself hold spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // While threads of a killed process still end (field 17 counts them), its files and port are not free.
    return fields[0] === "Z" && Number(fields[17]) <= 1 ? undefined : fields[19];
  } catch {
    return ps(pid, "stat").startsWith("Z") ? undefined : ps(pid, "lstart") || undefined; // no /proc: macOS
  }
}

/** Returns what ps says of a process; nothing where there is no such process. */
export function ps(pid: number, field: string): string {
  try {
    return execFileSync("ps", ["-o", `${field}=`, "-p", String(pid)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "";
  }
}
