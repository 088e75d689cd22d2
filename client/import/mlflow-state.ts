import type { RunState } from "../../wire/run.ts";

/** The states of runs by MLflow's numbers, from 1: file stores keep these, databases and servers the words in capitals. */
const states = ["running", "scheduled", "finished", "failed", "killed"] as const;

/** Returns the state that MLflow's number or word stands for; a run without one is running, as MLflow reads it. */
export function stateFromMlflow(status: string | null | undefined): RunState {
  const word = (status ?? "").toLowerCase();
  return states.find((state) => state === word) ?? states[Number(status) - 1] ?? "running";
}

/** Returns MLflow's number of a state; the inverse of stateFromMlflow. */
export const stateToMlflow = (state: RunState): number => states.indexOf(state) + 1;

const modelStates = ["pending", "ready", "failed"] as const;
export type ModelState = (typeof modelStates)[number];

/** Returns the state of a logged model: MLflow's number from 1, or its word, which a server begins with LOGGED_MODEL_. */
export function modelStateFromMlflow(status: string | null | undefined): ModelState {
  const word = (status ?? "").toLowerCase();
  return (
    modelStates.find((state) => word.endsWith(state)) ??
    modelStates[Number(status) - 1] ??
    "pending"
  );
}

/** Returns MLflow's number of the state of a logged model. */
export const modelStateToMlflow = (state: ModelState): number => modelStates.indexOf(state) + 1;

/** MLflow deletes a version by this stage and never shows it again. */
export const deletedStage = "Deleted_Internal";
/** The tag by which MLflow tells a prompt, which it keeps as a registered model. */
export const promptTag = "mlflow.prompt.is_prompt";
