import { copyFileSync, openAsBlob } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readMlflowServer } from "../../client/import/mlflow-server.ts";
import { readMlflowDatabase } from "../../client/import/mlflow-sqlite.ts";
import { openSqlite } from "../../client/import/sqlite.ts";
import { comparable } from "../client/import/comparable.ts";
import { fixtures } from "../client/import/expected.ts";
import { assay, freePort, serverForTests, start, temporaryFolder } from "./server.ts";

const python = process.env["MLFLOW3"] ?? "";

describe.runIf(python)("a running MLflow server", async () => {
  const folder = temporaryFolder();
  copyFileSync(join(fixtures, "mlflow.db"), join(folder, "mlflow.db"));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const options = ["--backend-store-uri", `sqlite:///${folder}/mlflow.db`];
  const mlflow = start(
    python,
    [
      "-m",
      "mlflow",
      "server",
      ...options,
      "--artifacts-destination",
      `${folder}/artifacts`,
      "--port",
      String(port),
      "--workers",
      "1",
    ],
    { env: { MLFLOW_DISABLE_TELEMETRY: "true" }, cwd: folder },
  );
  afterAll(async () => {
    mlflow.child.kill("SIGTERM");
    await mlflow.ended;
  });
  for (let i = 0; i < 240; i++) {
    if (
      await fetch(`${url}/health`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }

  test("tells the same as its database", { timeout: 300_000 }, async () => {
    const told = await comparable(readMlflowServer(url, { pause: () => 1 }));
    const kept = await comparable(
      readMlflowDatabase(await openSqlite(await openAsBlob(join(fixtures, "mlflow.db")))),
    );
    expect(told.experiments).toEqual(kept.experiments);
    expect(told.runs).toEqual(kept.runs);
    expect(told.models).toEqual(kept.models);
    expect(told.loggedModels).toEqual(kept.loggedModels.filter((model) => !model.deleted));
    expect(told.traces).toEqual(kept.traces);
  });

  test("is imported by the command line, files too", { timeout: 300_000 }, async () => {
    const post = async (path: string, body: object): Promise<any> =>
      (
        await fetch(`${url}/api/2.0/mlflow/${path}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        })
      ).json();
    const created = await post("runs/create", { experiment_id: "11", start_time: 1000 });
    const { run_id, artifact_uri } = created.run.info;
    await post("runs/log-metric", { run_id, key: "loss", value: 0.5, timestamp: 1000, step: 3 });
    const place = artifact_uri.replace("mlflow-artifacts:", "");
    await fetch(`${url}/api/2.0/mlflow-artifacts/artifacts${place}/deep/a%20b.txt`, {
      method: "PUT",
      body: "hello",
    });
    const server = await serverForTests();
    const env = { ASSAY_URL: server.url };
    const { code, out, err } = await assay(["import", "mlflow", url, "--json"], { env });
    expect([code, err]).toEqual([0, ""]);
    expect(JSON.parse(out)).toMatchObject({
      experiments: { found: 14, added: 14 },
      runs: { found: 36, added: 36 },
      points: { found: 3633, added: 3633 },
      files: { found: 1, added: 1 },
      problems: [],
    });
    const file = await fetch(`${server.url}/api/v1/runs/${run_id}/files/deep/a%20b.txt`);
    expect(await file.text()).toBe("hello");
  });
});

test("an address that is no MLflow server is said to be none", async () => {
  const server = await serverForTests();
  const { code, err } = await assay(["import", "mlflow", `${server.url}/nowhere`], {
    env: { ASSAY_URL: server.url },
  });
  expect([code, err]).toEqual([
    1,
    expect.stringMatching(/^assay: (no MLflow server|.*is it MLflow's address)/),
  ]);
});
