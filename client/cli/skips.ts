import type { Skip } from "../import/found.ts";

/** Prints what was passed over: of one reason together, and of many of a kind the first few. */
export function listSkips(title: string, skips: Skip[]): void {
  if (skips.length === 0) return;
  console.log(`\n${title}:`);
  for (const [reason, those] of Map.groupBy(skips, ({ what, why }) => `${what}: ${why}`)) {
    const names = those.slice(0, 3).map(({ name }) => name);
    const rest = those.length > 3 ? `, and ${those.length - 3} more` : "";
    console.log(`  ${reason}\n    ${names.join(", ")}${rest}`);
  }
}
