import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { promisify } from "node:util";
import { describe, expect, test, vi } from "vitest";
import { connect } from "../../client/index.ts";
import { toJSON } from "../../wire/json.ts";
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
a = pl.read_ipc_stream("${server.url}/api/v1/runs.arrow?experiment=read&columns=*")
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

/** Sends JSON and returns the answer's. */
async function post(url: string, body: unknown): Promise<{ id: string }> {
  const response = await fetch(url, { method: "POST", body: toJSON(body) });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as { id: string };
}

/** Starts a server with one run of 1,500 steps of loss, and of val/acc at each tenth. */
async function serveRun() {
  const server = await serverForTests();
  const api = `${server.url}/api/v1`;
  const { id } = await post(`${api}/runs`, { experiment: "read" });
  const odd = new Map([
    [7, NaN],
    [8, Infinity],
    [9, -Infinity],
    [10, -0],
  ]);
  const points = Array.from({ length: 1500 }, (_, step) => {
    const time = 1_795_000_000_000 + step;
    const loss = { key: "loss", step, time, value: odd.get(step) ?? step + 0.5 };
    return step % 10 ? [loss] : [loss, { key: "val/acc", step, time, value: 1 / (step + 3) }];
  });
  await post(`${api}/runs/${id}/points`, points.flat());
  const hasSegment = () =>
    readdirSync(server.data, { recursive: true }).some((path) => String(path).includes("blobs/"));
  const compact = async () => {
    await post(`${api}/runs/${id}/finish`, { state: "finished" });
    await vi.waitUntil(hasSegment, { timeout: 10_000 });
  };
  return { id, api, compact };
}

describe.runIf(python).for(["that goes on", "that has ended and is compacted"])(
  "Python reads a run %s",
  async (state) => {
    const { id, api, compact } = await serveRun();
    if (state !== "that goes on") await compact();
    const inReaders = (script: string) =>
      inPython(`
import io, urllib.request
run, points = "${id}", "${api}/points"
def asked(format, more=""): return f"{points}.{format}?run={run}{more}"
def download(url): return io.BytesIO(urllib.request.urlopen(url).read())
${script}`);

    test.for(["parquet", "csv"])("polars, the same table from Arrow and %s", async (format) => {
      const found = await inReaders(`
import polars as pl
a = pl.read_ipc_stream(asked("arrow"))
t = pl.read_${format}(asked("${format}")${format === "csv" ? ", try_parse_dates=True" : ""})
texts = [[list(map(str, t[name])) for name in ("run", "key")] for t in (a, t)]
bits = [[float(value).hex() for value in t["value"]] for t in (a, t)]
rest = [[t["step"].to_list(), t["time"].dt.epoch("ms").to_list()] for t in (a, t)]
print(json.dumps([a.height, str(t.schema["value"]), texts[0] == texts[1], bits[0] == bits[1], rest[0] == rest[1], bits[0][7:11]]))`);
      expect(found).toEqual([
        1650,
        "Float64",
        true,
        true,
        true,
        ["nan", "inf", "-inf", "-0x0.0p+0"],
      ]);
    });

    test("polars, the part of a Parquet file that a question needs", async () => {
      const found = await inReaders(`
import polars as pl
t = pl.scan_parquet(asked("parquet"))
height = lambda *where: t.filter(*where).collect().height
key, step, value = pl.col("key"), pl.col("step"), pl.col("value")
print(json.dumps([height(), height(key == "val/acc"), height(key == "loss", step >= 1490), height(value.is_nan()), height(value.is_infinite()),
  height(value == 0), height(value < -1), height(step > 1e6), t.filter(key == "loss", step < 3).select("value").collect()["value"].to_list()]))`);
      expect(found).toEqual([1650, 150, 10, 1, 2, 1, 1, 0, [0.5, 1.5, 2.5]]);
    });

    test("polars, a wide table and buckets", async () => {
      const found = await inReaders(`
import polars as pl
wide = [pl.read_ipc_stream(asked("arrow", "&layout=wide")), pl.read_parquet(asked("parquet", "&layout=wide")), pl.read_csv(asked("csv", "&layout=wide"))]
buckets = [pl.read_ipc_stream(asked("arrow", "&buckets=100")), pl.read_parquet(asked("parquet", "&buckets=100")), pl.read_csv(asked("csv", "&buckets=100"))]
print(json.dumps([[[t.columns, t.height, t["val/acc"].null_count(), t["val/acc"].drop_nulls().sum()] for t in wide],
  [[t.filter(pl.col("key") == "loss")["count"].sum(), t["nan"].sum(), t["infinite"].sum(), t["max"].max(), t["width"].unique().to_list()] for t in buckets]]))`);
      const sum = Array.from({ length: 150 }, (_, i) => 1 / (10 * i + 3)).reduce((a, b) => a + b);
      const wide = [["step", "time", "loss", "val/acc"], 1500, 1350, expect.closeTo(sum, 9)];
      const buckets = [1500, 1, 1, 1499.5, [16]];
      expect(found).toEqual([
        [wide, wide, wide],
        [buckets, buckets, buckets],
      ]);
    });

    test("pandas, the same table from Parquet and CSV", async () => {
      const found = await inReaders(`
import pandas as pd
p = pd.read_parquet(asked("parquet"))
c = pd.read_csv(asked("csv"), parse_dates=["time"])
w = pd.read_parquet(asked("parquet", "&layout=wide")).set_index("step")
pd.testing.assert_frame_equal(p, c, check_dtype=False)
print(json.dumps([len(p), [str(p.dtypes[name]) for name in ("step", "value")], str(p.time.dtype)[:10], p.value[10].hex(), int(w["val/acc"].notna().sum()), w.loss[1499]]))`);
      expect(found).toEqual([1650, ["float64", "float64"], "datetime64", "-0x0.0p+0", 150, 1499.5]);
    });

    test("pyarrow, Parquet from a file and Arrow from a stream", async () => {
      const found = await inReaders(`
import pyarrow as pa, pyarrow.parquet as pq
s = pa.ipc.open_stream(urllib.request.urlopen(asked("arrow"))).read_all()
f = pq.read_table(download(asked("parquet")))
n = pq.read_table(download(asked("parquet")), filters=[("step", ">=", 1490)])
for t in (s, f): t.validate(full=True)
same = [f[name].to_pylist() == s[name].to_pylist() for name in ("run", "key", "step")]
bits = [[v.hex() for v in t["value"].to_pylist()] for t in (s, f)]
print(json.dumps([f.num_rows, same, bits[0] == bits[1], f["time"].cast(pa.int64()).equals(s["time"].cast(pa.int64())), n.num_rows]))`);
      expect(found).toEqual([1650, [true, true, true], true, true, 11]);
    });

    test("DuckDB, an Arrow table, a Parquet file, and Parquet and CSV by their URL", async () => {
      const found = await inReaders(`
import datetime, duckdb, pyarrow as pa, tempfile
from fsspec.implementations.http import HTTPFileSystem
class HTTP(HTTPFileSystem):
  # DuckDB asks when a file was modified, which fsspec does not tell of a URL.
  def modified(self, path): return datetime.datetime.now()
duckdb.register_filesystem(HTTP())
stream = pa.ipc.open_stream(urllib.request.urlopen(asked("arrow"))).read_all()
file = tempfile.NamedTemporaryFile(suffix=".parquet")
file.write(download(asked("parquet")).read())
file.flush()
sources = ["stream", f"'{file.name}'", f"read_parquet('{asked('parquet')}')", f"read_csv('{asked('csv')}')"]
print(json.dumps([duckdb.sql(f"SELECT key, count(*), max(step), count_if(isnan(value)), count_if(isinf(value)), epoch_ms(max(time)) FROM {source} GROUP BY key ORDER BY key").fetchall() for source in sources]))`);
      const rows = [
        ["loss", 1500, 1499, 1, 2, 1_795_000_001_499],
        ["val/acc", 150, 1490, 0, 0, 1_795_000_001_490],
      ];
      expect(found).toEqual([rows, rows, rows, rows]);
    });
  },
);

test.runIf(python)("polars takes a CSV whose values are whole numbers at first", async () => {
  const server = await serverForTests();
  const api = `${server.url}/api/v1`;
  const { id } = await post(`${api}/runs`, { experiment: "whole" });
  const points = Array.from({ length: 300 }, (_, step) => ({
    key: "loss",
    step: step < 250 ? step : step + 0.5,
    value: step < 200 ? 1 : 0.5,
  }));
  await post(`${api}/runs/${id}/points`, points);
  const found = await inPython(`
import polars as pl
t = pl.read_csv("${api}/points.csv?run=${id}")
print(json.dumps([t["value"].sum(), t["step"].max()]))`);
  expect(found).toEqual([250, 299.5]);
});
