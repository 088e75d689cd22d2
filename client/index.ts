export {
  connect,
  cursorOf,
  Lab,
  type PointsSelection,
  type RunOptions,
  type RunsOptions,
} from "./lab.ts";
export { LoggedRun, type Finished, type LogOptions, type Values } from "./run.ts";
export { bestOf, type BestOf, type Direction } from "./stats/best.ts";
export { diff, varying, type Difference } from "./stats/difference.ts";
export { groupRuns, type Group, type GroupOptions, type GroupStatistics } from "./stats/group.ts";
export {
  importance,
  type Forest,
  type Importance,
  type ParamImportance,
} from "./stats/importance.ts";
export {
  bootstrapInterval,
  tInterval,
  type BootstrapOptions,
  type Interval,
} from "./stats/interval.ts";
export { filterTable, sortTable } from "./table-filter.ts";
export type { SyncOutcome } from "./sync.ts";
export { ApiError, type ErrorCode } from "../wire/error.ts";
export type { BulkOutcome, RunsChange, RunsRef, UndoOutcome } from "../wire/bulk.ts";
export type { Experiment, ExperimentPatch, NewExperiment } from "../wire/experiment.ts";
export type { Run, RunPatch, RunState } from "../wire/run.ts";
export type { Summary } from "../wire/summary.ts";
