import type { Skip } from "./found.ts";

/** How much there was of a noun at the source, and how much of it was new here. */
interface Count {
  found: number;
  added: number;
}

/** What an import did. */
export interface ImportReport {
  experiments: Count;
  runs: Count;
  points: Count;
  files: Count;
  loggedModels: Count;
  /** registered models, prompts among them */
  models: Count;
  traces: Count;
  /** of the files that were new here */
  bytes: number;
  /** what was passed over, and why */
  skipped: Skip[];
  /** what is not here as it is at the source, though it should be */
  problems: Skip[];
}

export const emptyReport = (): ImportReport => ({
  experiments: { found: 0, added: 0 },
  runs: { found: 0, added: 0 },
  points: { found: 0, added: 0 },
  files: { found: 0, added: 0 },
  loggedModels: { found: 0, added: 0 },
  models: { found: 0, added: 0 },
  traces: { found: 0, added: 0 },
  bytes: 0,
  skipped: [],
  problems: [],
});
