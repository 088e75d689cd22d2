import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { folderSink, folderTree } from "../../client/cli/folder.ts";
import { writeMlflowFiles } from "../../client/export/mlflow-files.ts";
import { readMlflowFiles } from "../../client/import/mlflow-files.ts";
import { connect } from "../../client/index.ts";
import { expectedOf, fixtures } from "../client/import/expected.ts";
import { assay, serverForTests, temporaryFolder } from "./server.ts";

/** Pythons with MLflow, each "" where it is missing and its tests are left out. */
const pythons = [process.env["MLFLOW2"] ?? "", process.env["MLFLOW3"] ?? ""].filter(Boolean);

describe.runIf(pythons.length)("MLflow opens what is exported", async () => {
  const server = await serverForTests();
  const env = { ASSAY_URL: server.url };
  process.env["ASSAY_HOME"] = temporaryFolder();
  const imported = await assay(["import", "mlflow", join(fixtures, "mlruns")], { env });
  const lab = await connect(server.url);
  const native = await lab.startRun({
    experiment: "native@home",
    params: { lr: 0.5, deep: { on: true, none: null }, "odd=name": "x" },
  });
  native.log({ "loss@k": 1, a: 1, "a/b": 2 }, { step: 0.5 });
  await native.finish();
  const folder = temporaryFolder();
  const exported = await assay(["export", "mlflow", join(folder, "store"), "--json"], { env });
  const expected = expectedOf("mlruns");

  test("what has no place or another name there is said", async () => {
    expect([imported.code, exported.code]).toEqual([0, 0]);
    const { skipped } = JSON.parse(exported.out);
    expect(skipped.map(({ what, name, why }: any) => [what, name.split(" of ")[0], why])).toEqual([
      ["param", "odd=name", "is odd_name there"],
      ["metric", "a/b", "finds no name there that is free"],
      ["metric", "loss@k", "is loss_k there"],
      ["steps", `run ${native.id}`, "MLflow's are whole: 3 are rounded"],
    ]);
    const again = await assay(["export", "mlflow", join(folder, "store")], { env });
    expect([again.code, again.err]).toEqual([
      1,
      `assay: folder is not empty: ${join(folder, "store")}\n`,
    ]);
  });

  test.for(pythons)("%s", async (python) => {
    const found = await readByMlflow(python, join(folder, "store"));
    const experiments = new Map<string, any>(found.experiments.map((e: any) => [e.name, e]));
    for (const { experiment_id, name, lifecycle_stage, tags } of expected.experiments)
      expect(experiments.get(name)).toEqual({
        id: experiment_id,
        name,
        stage: lifecycle_stage,
        tags,
      });
    const runs = new Map<string, any>(found.runs.map((run: any) => [run.id, run]));
    for (const run of expected.runs) {
      const there = runs.get(run.run_id);
      expect(there).toMatchObject({
        experiment: run.experiment_id,
        name: run.name,
        status: run.status,
        stage: run.lifecycle_stage,
        start: run.start_time,
        end: run.end_time,
        tags: { ...run.other_tags, ...run.tags },
      });
      expect(there.params).toEqual(run.params);
      for (const [key, metric] of Object.entries<any>(run.metrics)) {
        expect([key, there.points[key].length]).toEqual([key, metric.stored_count]);
        expect([key, there.latest[key]]).toEqual([key, metric.latest]);
        if (metric.points) expect(there.points[key].sort()).toEqual(metric.points.sort());
      }
      if (run.lifecycle_stage === "active")
        expect(there.files).toEqual(
          run.artifacts
            .map(({ path, size }: any) => [path, size])
            .sort(([a]: string[], [b]: string[]) => (a! < b! ? -1 : 1)),
        );
    }
    expect(runs.get(native.id)).toMatchObject({
      params: { lr: "0.5", "deep.on": "True", "deep.none": "None", odd_name: "x" },
      latest: { loss_k: 1, a: 1 },
    });
    const failed = expected.runs.find(({ name }: any) => name === "failed one").run_id;
    expect(createHash("sha256").update(found.downloaded[failed]).digest("hex")).toBe(
      expected.runs.find(({ run_id }: any) => run_id === failed).artifacts[0].sha256,
    );
    expect(found.matched).toContain("lr=0.1");
    expect(found.logged).toEqual({ loss: 0.5 });
  });
});

test.runIf(process.env["MLFLOW3"])(
  "MLflow 3 opens models, prompts and datasets that are written, too",
  async () => {
    const folder = join(temporaryFolder(), "store");
    await writeMlflowFiles(
      readMlflowFiles(folderTree(join(fixtures, "mlruns-3"))),
      folderSink(folder),
    );
    const found = await readByMlflow(process.env["MLFLOW3"]!, folder);
    const expected = expectedOf("mlruns-3");
    for (const run of expected.runs)
      expect(found.runs.find(({ id }: any) => id === run.run_id)).toMatchObject({
        inputs: expect.arrayContaining(
          run.inputs.map(({ name, digest, source, tags }: any) => [name, digest, source, tags]),
        ),
        model_inputs: run.model_inputs,
        model_outputs: run.model_outputs.map(({ model_id, step }: any) => [model_id, step]),
      });
    for (const { name, description, tags, aliases, versions } of expected.registered_models)
      expect(found.models[name]).toEqual({
        description,
        tags,
        aliases,
        versions: versions
          .map((v: any) => [v.version, v.description, v.tags, v.current_stage, v.source])
          .toReversed(),
      });
    const active = expected.logged_models.filter((m: any) => m.lifecycle_stage === "active");
    expect(found.logged_models.map(([id]: any) => id).sort()).toEqual(
      active.map(({ model_id }: any) => model_id).sort(),
    );
    for (const model of active)
      expect(found.logged_models.find(([id]: any) => id === model.model_id)).toEqual([
        model.model_id,
        model.name,
        model.status,
        model.params,
        model.tags,
        expect.arrayContaining(model.artifacts.map(({ path }: any) => path.split("/")[0])),
      ]);
  },
);

/** What a Python's MLflow says of a store. */
async function readByMlflow(python: string, store: string): Promise<any> {
  const script = join(import.meta.dirname, "mlflow_read.py");
  const { stdout } = await promisify(execFile)(python, [script, `file://${store}`], {
    maxBuffer: 100_000_000,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1)!);
}
