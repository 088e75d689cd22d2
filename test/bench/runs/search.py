"""Asks a question about runs of an MLflow server and of ours in turn, and prints how many ms each took, as JSON.

Arguments: the servers' addresses, the experiment's name on both, how many rounds."""

import json
import sys
import time
import urllib.parse
import urllib.request

import pyarrow.ipc
from mlflow import MlflowClient

mlflow_url, assay_url, experiment, rounds = sys.argv[1:]
client = MlflowClient(tracking_uri=mlflow_url)
experiment_id = client.get_experiment_by_name(experiment).experiment_id


def mlflow_runs(where):
    order = ["metrics.`val/loss` ASC"]
    return [run.info.run_id for run in client.search_runs([experiment_id], where, max_results=50, order_by=order)]


def assay_runs(where):
    query = {"experiment": experiment, "where": where, "order": "metrics.val/loss", "limit": 50, "columns": "*"}
    with urllib.request.urlopen(f"{assay_url}/api/v1/runs.arrow?{urllib.parse.urlencode(query)}") as answer:
        return [run["id"] for run in pyarrow.ipc.open_stream(answer).read_all().to_pylist()]


took = {"mlflow": [], "assay": []}
for number in range(-1, int(rounds)):
    where = f"metrics.`val/acc` > {0.3 + number / 100} and params.optimizer = 'adamw'"
    found = []
    for name, search in (("mlflow", mlflow_runs), ("assay", assay_runs)):
        began = time.perf_counter()
        found.append(search(where))
        if number >= 0:
            took[name].append((time.perf_counter() - began) * 1000)
    if len(found[0]) != 50 or found[0] != found[1]:
        sys.exit(f"different runs: {where}\n{found}")
print(json.dumps(took))
