import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { connect } from "../../client/index.ts";
import { serverForTests, temporaryFolder } from "./server.ts";

const python = process.env["PYTHON"] ?? "";

/** Runs a Python script and returns what it prints, as JSON. */
async function inPython(script: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)(python, ["-c", `import json\n${script}`]);
  return JSON.parse(stdout);
}

describe.runIf(python)("Python reads a whole experiment from its URL", async () => {
  const server = await serverForTests();
  process.env["ASSAY_HOME"] = temporaryFolder();
  const lab = await connect(server.url);
  const run = await lab.startRun({ experiment: "read", params: { lr: 0.1, name: "ü" } });
  for (let step = 0; step < 1000; step++)
    run.log({ loss: step === 7 ? NaN : step === 8 ? Infinity : step, "val/acc": -0 }, { step });
  await run.finish();
  const points = `${server.url}/api/v1/points`;

  test("polars, from Arrow", async () => {
    const found = await inPython(`
import polars as pl
t = pl.read_ipc_stream("${points}.arrow?experiment=read")
loss = t.filter(pl.col("key") == "loss")
print(json.dumps([t.height, t.columns, str(t.schema["time"]), loss["value"].is_nan().sum(), loss["value"].is_infinite().sum()]))`);
    expect(found).toEqual([
      2000,
      ["run", "key", "step", "time", "value"],
      "Datetime(time_unit='ms', time_zone=None)",
      1,
      1,
    ]);
  });

  test("pyarrow, valid to its last buffer", async () => {
    const found = await inPython(`
import urllib.request, pyarrow as pa
t = pa.ipc.open_stream(urllib.request.urlopen("${points}.arrow?experiment=read")).read_all()
t.validate(full=True)
print(json.dumps([t.num_rows, str(t.schema.field("key").type), t.column("value")[1999].as_py().hex()]))`);
    expect(found).toEqual([
      2000,
      "dictionary<values=string, indices=int32, ordered=0>",
      "-0x0.0p+0",
    ]);
  });

  test("pandas, from CSV and from JSON", async () => {
    const found = await inPython(`
import pandas as pd, urllib.request
t = pd.read_csv("${points}.csv?experiment=read&key=loss", parse_dates=["time"])
j = json.load(urllib.request.urlopen("${points}.json?experiment=read&key=loss&to=8"))
print(json.dumps([len(t), int(t.value.isna().sum()), bool(t.value.max() == float("inf")), str(t.time.dtype)[:10], [p["value"] for p in j][-2:]]))`);
    expect(found).toEqual([1000, 1, true, "datetime64", ["NaN", "Infinity"]]);
  });

  test("the runs table, from Arrow and CSV", async () => {
    const found = await inPython(`
import polars as pl, urllib.request
a = pl.read_ipc_stream("${server.url}/api/v1/runs.arrow?experiment=read")
c = pl.read_csv(urllib.request.urlopen("${server.url}/api/v1/runs.csv?experiment=read&columns=id,params.name,metrics.loss.min").read())
print(json.dumps([a["params.lr"].to_list(), a["params.name"].to_list(), a["state"].to_list(), c["params.name"].to_list(), c["metrics.loss.min"].to_list(), a["id"][0] == c["id"][0]]))`);
    expect(found).toEqual([[0.1], ["ü"], ["finished"], ["ü"], [0], true]);
  });

  test("pyarrow's own streams are taken as points", async () => {
    const { id } = await (
      await fetch(`${server.url}/api/v1/runs`, {
        method: "POST",
        body: '{"experiment": "written"}',
      })
    ).json();
    const found = await inPython(`
import urllib.request, pyarrow as pa
t = pa.table({"key": ["a", "a", "b"], "step": pa.array([0, 1, 2], pa.int64()), "value": pa.array([1.5, float("nan"), 3], pa.float32())})
sink = pa.BufferOutputStream()
with pa.ipc.new_stream(sink, t.schema) as w: w.write_table(t)
r = urllib.request.Request("${server.url}/api/v1/runs/${id}/points", sink.getvalue().to_pybytes(), {"content-type": "application/vnd.apache.arrow.stream"})
print(urllib.request.urlopen(r).read().decode())`);
    expect(found).toEqual({ accepted: 3 });
  });
});
