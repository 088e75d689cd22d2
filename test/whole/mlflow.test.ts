import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { root, serverForTests, temporaryFolder } from "./server.ts";

/** The Pythons that have mlflow 3.17.2 with scikit-learn, and mlflow-skinny 2.22.5. */
const pythons = {
  "mlflow 3": process.env["MLFLOW3"] ?? "",
  "mlflow 2": process.env["MLFLOW2"] ?? "",
};

/** Runs a script of an MLflow user against a server, in a folder of its own; returns what it says at its end, as JSON. */
async function runScript(
  python: string,
  name: string,
  url: string,
  args: string[] = [],
): Promise<any> {
  const { stdout } = await promisify(execFile)(
    python,
    [join(root, "test/whole/mlflow", name), ...args],
    {
      cwd: temporaryFolder(),
      env: {
        ...process.env,
        MLFLOW_TRACKING_URI: url,
        MLFLOW_DISABLE_TELEMETRY: "true",
        GIT_PYTHON_REFRESH: "quiet",
      },
      maxBuffer: 100_000_000,
    },
  );
  return JSON.parse(stdout.trim().split("\n").at(-1)!);
}

describe.each(Object.entries(pythons))("%s", (name, python) => {
  /** The skinny client has no pandas, no pictures and no scikit-learn. */
  const whole = test.runIf(name === "mlflow 3");

  describe.runIf(python)("logs to this server unchanged", async () => {
    const { url } = await serverForTests();
    const api = async (path: string): Promise<any> => (await fetch(`${url}/api/v1${path}`)).json();

    test(
      "runs, batches, nesting, datasets and errors; the runs are runs like any others",
      { timeout: 120_000 },
      async () => {
        const { first, failed, batch, parent, child, ...ids } = await runScript(
          python,
          "tracking.py",
          url,
        );
        expect(await api(`/runs/${first}`)).toMatchObject({
          name: "first",
          state: "finished",
          params: {
            lr: 0.00001,
            optimizer: "adam",
            layers: 3,
            dropout: 0.1,
            flag: "True",
            none: "None",
          },
          tags: { a: "1", b: "two", team: "vision" },
          note: "What we found.",
          points: 55,
          metrics: {
            loss: { last: 0.001, count: 51, max: 1, maxStep: 0 },
            diverged: { last: "NaN", nan: 1 },
            up: { last: "Infinity" },
            down: { last: "-Infinity" },
          },
        });
        expect(await api(`/runs/${failed}`)).toMatchObject({ name: "failed", state: "failed" });
        expect(await api(`/runs/${child}`)).toMatchObject({ parent, params: { depth: 1 } });
        expect(await api(`/runs/${ids.default}`)).toMatchObject({ experiment: "0" });
        expect(await api("/experiments/Default")).toMatchObject({ id: "0", runs: 1 });
        expect(await api(`/runs/${batch}`)).toMatchObject({
          state: "killed",
          points: 3200, // a request again is the same request; points again, in another, are further points
          params: { p249: 249 },
          metrics: { m: { count: 3200, last: 2499 / 7 } },
        });
        const points = await api(`/points.json?run=${batch}&key=m`);
        expect(points).toHaveLength(3200);
        expect(await api(`/experiments/${ids.experiment}`)).toMatchObject({
          name: "renamed",
          note: "Why?",
          tags: { owner: "ana", k: "v" },
          archived: null,
        });
      },
    );

    whole("files, up and down, one of 150 MB in parts", { timeout: 300_000 }, async () => {
      const { run, digest, size, a } = await runScript(python, "files.py", url, ["150000000"]);
      const { files } = await api(`/runs/${run}/files`);
      const byPath = new Map(files.map((file: any) => [file.path, file]));
      expect(byPath.get("model/big.bin")).toMatchObject({ size, sha256: digest });
      expect(byPath.get("again/big.bin")).toMatchObject({ size, sha256: digest });
      expect(byPath.get("all/naïve 値.txt")).toMatchObject({ size: 3001 });
      expect(byPath.has("config/run.json")).toBe(false);
      const images = [...byPath.keys()].filter((path) =>
        String(path).startsWith("images/samples+step+"),
      );
      expect(images).toHaveLength(4);
      const content = await fetch(`${url}/api/v1/runs/${run}/files/a.txt`);
      expect(
        createHash("sha256")
          .update(new Uint8Array(await content.arrayBuffer()))
          .digest("hex"),
      ).toBe(a);
    });

    whole("runs to pandas, with filters, orders and pages", { timeout: 120_000 }, async () => {
      const { experiment } = await runScript(python, "search.py", url);
      const best = await api(
        `/runs.json?experiment=${experiment}&columns=name,params.lr&where=params.lr=0.0001&order=metrics.acc desc&limit=1`,
      );
      expect(best).toMatchObject([{ name: "run-119", "params.lr": 0.0001 }]);
    });

    whole(
      "16 processes at once, threads, the machine's metrics, autologging",
      { timeout: 300_000 },
      async () => {
        const { runs, async, system, autologged } = await runScript(python, "background.py", url);
        const table = await api("/runs.json?experiment=background");
        expect(table.filter((run: any) => runs.includes(run.id))).toHaveLength(16);
        expect(new Set(table.map((run: any) => run.number)).size).toBe(table.length);
        expect(await api(`/runs/${async}`)).toMatchObject({ points: 100, params: { late: 1 } });
        expect(
          (await api(`/runs/${system}`)).metrics["system/cpu_utilization_percentage"].count,
        ).toBeGreaterThan(1);
        expect((await api(`/runs/${autologged}`)).params).toMatchObject({
          C: 0.5,
          fit_intercept: "True",
        });
      },
    );
  });
});
