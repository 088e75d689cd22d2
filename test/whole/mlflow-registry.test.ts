import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { root, serverForTests, temporaryFolder } from "./server.ts";

/** Runs a script of MLflow's users against a server, in a folder of its own; returns which of its steps it did. */
async function stepsOf(python: string, script: string, url: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)(python, [join(root, "test/whole/mlflow", script)], {
    cwd: temporaryFolder(),
    env: {
      ...process.env,
      MLFLOW_TRACKING_URI: url,
      MLFLOW_DISABLE_TELEMETRY: "true",
      GIT_PYTHON_REFRESH: "quiet",
    },
    maxBuffer: 100_000_000,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as string[];
}

describe.each([
  ["mlflow 3", process.env["MLFLOW3"] ?? "", ["sklearn_models", "prompts"]],
  ["mlflow 2", process.env["MLFLOW2"] ?? "", []],
])("%s", (name, python, more) => {
  describe.runIf(python)("keeps its models and traces on this server unchanged", async () => {
    const { url } = await serverForTests();

    test("models, versions, aliases, stages, prompts", { timeout: 300_000 }, async () => {
      expect(await stepsOf(python, "registry.py", url)).toEqual(["registry", ...more]);
    });

    test("traces, their spans, searches and assessments", { timeout: 300_000 }, async () => {
      expect(await stepsOf(python, "traces.py", url)).toEqual(
        name === "mlflow 3" ? ["tracing", "evaluation", "asynchronous"] : ["old"],
      );
    });
  });
});
