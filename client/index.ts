export {
  connect,
  cursorOf,
  Lab,
  type PointsSelection,
  type RunOptions,
  type RunsOptions,
} from "./lab.ts";
export { LoggedRun, type Finished, type LogOptions, type Values } from "./run.ts";
export { filterTable, sortTable } from "./table-filter.ts";
export type { SyncOutcome } from "./sync.ts";
export { ApiError, type ErrorCode } from "../wire/error.ts";
export type { Experiment, ExperimentPatch, NewExperiment } from "../wire/experiment.ts";
export type { Run, RunPatch, RunState } from "../wire/run.ts";
export type { Summary } from "../wire/summary.ts";
