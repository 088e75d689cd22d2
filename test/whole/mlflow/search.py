"""Runs to pandas, with filters and orders, page by page."""

import json

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

client = MlflowClient()
experiment = client.create_experiment("search")
for i in range(120):
    run = client.create_run(experiment, start_time=1_760_000_000_000 + 1000 * i, run_name=f"run-{i:03}")
    client.log_batch(
        run.info.run_id,
        [Metric("acc", i / 100 if i % 10 else float("nan"), 1_760_000_000_000, 0)],
        [Param("lr", str(10.0 ** -(i % 5))), Param("kind", "ab"[i % 2])],
        [RunTag("fold", str(i % 3))],
    )


def names(filter_string="", **options):
    frame = mlflow.search_runs([experiment], filter_string, **options)
    return list(frame["tags.mlflow.runName"]) if len(frame) else []


assert names() == [f"run-{i:03}" for i in reversed(range(120))]
assert len(names("metrics.acc > 0.5")) == sum(i > 50 and i % 10 > 0 for i in range(120))
assert len(names("metrics.acc != 0.51")) == 119
assert len(names("params.lr = '0.01' and tags.fold = '1'")) == sum(i % 5 == 2 and i % 3 == 1 for i in range(120))
assert names("run_name LIKE 'run-00%' AND params.kind != 'a'") == [f"run-00{i}" for i in (9, 7, 5, 3, 1)]
assert names("tags.`mlflow.runName` = 'run-042'") == ["run-042"]
assert names("attributes.start_time < 1760000002000") == ["run-001", "run-000"]
best = names(order_by=["metrics.acc DESC"], max_results=3)
assert best == ["run-119", "run-118", "run-117"], best
worst = names(order_by=["params.kind", "metrics.acc ASC"])
assert worst[:2] == ["run-002", "run-004"] and worst[-1] == "run-111" or worst[59:60] == ["run-000"], worst
frame = mlflow.search_runs([experiment], "params.lr = '1.0'")
assert set(frame["params.lr"]) == {"1.0"} and str(frame["start_time"].dtype).startswith("datetime64"), frame.dtypes

# Page by page, it is each run once, in order.
pages, token = [], None
while True:
    page = client.search_runs([experiment], "params.kind = 'a'", max_results=7, order_by=["metrics.acc DESC"], page_token=token)
    pages += [run.info.run_name for run in page]
    token = page.token
    if not token:
        break
assert sorted(pages) == [f"run-{i:03}" for i in range(0, 120, 2)] and len(set(pages)) == 60, pages
assert pages[0] == "run-118"

print(json.dumps({"experiment": experiment}))
