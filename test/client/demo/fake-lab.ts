import type { DemoLab, DemoRun } from "../../../client/cli/demo/index.ts";

/** What a run was told, in order. */
export interface RecordedRun {
  name: string;
  points: { step: number | undefined; values: Record<string, number> }[];
  out: string[];
  err: string[];
  artifacts: Record<string, { content: Uint8Array; type: string | undefined }>;
  state: string;
}

/** Returns a run that only remembers, and its memory. */
export function recordRun(name = "run"): { run: DemoRun; record: RecordedRun } {
  const record: RecordedRun = {
    name,
    points: [],
    out: [],
    err: [],
    artifacts: {},
    state: "running",
  };
  const run: DemoRun = {
    log: (values, { step } = {}) => void record.points.push({ step, values }),
    print: (line, { stream = "out" } = {}) => void record[stream].push(line),
    artifact: (path, content, { type } = {}) =>
      void (record.artifacts[path] = { content: content as Uint8Array, type }),
    finish: async (state = "finished") => (record.state = state),
  };
  return { run, record };
}

/** Returns a lab that only remembers, and its memory. */
export function recordLab(): { lab: DemoLab; experiments: string[]; runs: RecordedRun[] } {
  const experiments: string[] = [];
  const runs: RecordedRun[] = [];
  const lab: DemoLab = {
    createExperiment: async ({ name }) => experiments.push(name),
    startRun: async ({ name }) => {
      const { run, record } = recordRun(name);
      runs.push(record);
      return run;
    },
  };
  return { lab, experiments, runs };
}
