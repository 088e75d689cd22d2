"""What a user of MLflow does, timed as the user sees it.

Each line of the input is a JSON object: what to do (`do`) and its arguments; each is answered by a line with the seconds it took.
"""

import json
import math
import os
import random
import re
import sqlite3
import sys
import tempfile
import time
import uuid

import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

KEYS = 10
FILTER = "metrics.metric_3 > 0.5 and params.param_0 = 'adam'"
ORDER = ["metrics.metric_1 ASC"]
START = 1_795_432_172_440
http = requests.Session()


def timed(work):
    began = time.perf_counter()
    value = work()
    return time.perf_counter() - began, value


def params_of(seed):
    words = {"param_0": ["adam", "sgd", "lion"][seed % 3], "param_1": "True"}
    return words | {f"param_{k}": f"{(seed % 97 + 1) / 10**k:g}" for k in range(2, 20)}


def experiment_of(client, name):
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def log(uri, experiment, runs, points):
    """Creates runs of 20 params and so many points and ends them."""
    client = MlflowClient(uri)
    experiment = experiment_of(client, experiment)
    each = [
        (
            [Param(key, value) for key, value in params_of(seed).items()],
            [
                Metric(f"metric_{i % KEYS}", math.sin(i + seed), START + i // KEYS, i // KEYS)
                for i in range(points)
            ],
        )
        for seed in range(runs)
    ]

    def work():
        for seed, (params, metrics) in enumerate(each):
            run = client.create_run(experiment, run_name=f"run-{seed}").info.run_id
            client.log_batch(run, metrics=metrics, params=params)
            client.set_terminated(run)
        return run

    seconds, last = timed(work)
    logged = client.get_run(last).data
    assert (len(logged.params), len(logged.metrics)) == (20, KEYS), logged
    return {"seconds": seconds}


def fill(uri, experiment, runs, database):
    """Puts runs of 20 params, 4 tags and a point of each of 10 metrics into the tables of a MLflow server, and tells them."""
    number = experiment_of(MlflowClient(uri), experiment)
    rng = random.Random(7)
    specs = []
    rows = {"runs": [], "params": [], "tags": [], "metrics": [], "latest_metrics": []}
    for seed in range(runs):
        run = uuid.UUID(int=rng.getrandbits(128)).hex
        at = START + 1000 * seed
        rows["runs"].append(
            (run, f"run-{seed}", "user", "FINISHED", at, at + 500, "active",
             f"mlflow-artifacts:/{number}/{run}/artifacts", number)
        )  # fmt: skip
        params = params_of(seed)
        rows["params"] += [(run, key, value) for key, value in params.items()]
        tags = {"mlflow.user": "user", "team": "vision", "fold": str(seed % 5)}
        rows["tags"] += [(run, *tag) for tag in (tags | {"mlflow.runName": f"run-{seed}"}).items()]
        points = [(run, f"metric_{k}", rng.random(), at, 10) for k in range(KEYS)]
        metrics = {key: value for _, key, value, *_ in points}
        specs.append({"id": run, "started": at, "params": params, "tags": tags, "metrics": metrics})
        rows["metrics"] += points
        rows["latest_metrics"] += points
    metric = "(run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)"
    values = {
        "runs": "(run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage,"
        " artifact_uri, experiment_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        "params": "(run_uuid, key, value) VALUES (?, ?, ?)",
        "tags": "(run_uuid, key, value) VALUES (?, ?, ?)",
        "metrics": metric,
        "latest_metrics": metric,
    }
    with sqlite3.connect(database, timeout=60) as tables:
        for table, each in rows.items():
            tables.executemany(f"INSERT INTO {table} {values[table]}", each)
    return {"seconds": 0, "found": specs}


def search(uri, experiment):
    """The first 50 of the runs that a filter holds of, by a metric."""
    client = MlflowClient(uri)
    experiments = [client.get_experiment_by_name(experiment).experiment_id]
    seconds, runs = timed(
        lambda: client.search_runs(experiments, FILTER, max_results=50, order_by=ORDER)
    )
    return {"seconds": seconds, "found": [run.info.run_name for run in runs]}


def page(uri, experiment):
    """All runs, a thousand a page as the client has it."""
    client = MlflowClient(uri)
    experiments = [client.get_experiment_by_name(experiment).experiment_id]

    def work():
        runs, token = [], None
        while token != "":
            found = client.search_runs(experiments, page_token=token)
            runs += found
            token = found.token or ""
        return runs

    seconds, runs = timed(work)
    parts = [sum(len(getattr(run.data, part)) for run in runs) for part in ("params", "metrics")]
    return {"seconds": seconds, "found": [[run.info.run_name for run in runs], parts]}


def page_alone(uri, experiment):
    """The same answers, of which nothing is made."""
    found = MlflowClient(uri).get_experiment_by_name(experiment)
    asked = {"experiment_ids": [found.experiment_id], "max_results": 1000}

    def work():
        pages, token = 0, None
        while pages == 0 or token:
            answer = http.post(
                f"{uri}/api/2.0/mlflow/runs/search",
                json=asked | ({"page_token": token.group(1)} if token else {}),
            )
            answer.raise_for_status()
            token = re.search(r'"next_page_token": ?"([^"]+)"', answer.content.decode())
            pages += 1
        return pages

    seconds, pages = timed(work)
    return {"seconds": seconds, "found": pages}


def write_history(uri, experiment, points):
    """One metric of so many points, a thousand a batch."""
    client = MlflowClient(uri)
    run = client.create_run(experiment_of(client, experiment)).info.run_id
    metrics = [Metric("loss", 1 / (1 + step), START + step, step) for step in range(points)]

    def work():
        for begin in range(0, points, 1000):
            client.log_batch(run, metrics=metrics[begin : begin + 1000])

    seconds, _ = timed(work)
    client.set_terminated(run)
    return {"seconds": seconds, "run": run}


def read_history(uri, run):
    seconds, points = timed(lambda: MlflowClient(uri).get_metric_history(run, "loss"))
    found = [len(points), sum(it.value for it in points), sum(it.step for it in points)]
    return {"seconds": seconds, "found": found}


def history_alone(uri, run):
    """The same answer, of which nothing is made."""
    asked = {"run_id": run, "metric_key": "loss"}
    seconds, answer = timed(
        lambda: http.get(f"{uri}/api/2.0/mlflow/metrics/get-history", params=asked)
    )
    return {"seconds": seconds, "found": [answer.status_code, answer.text.count('"step"')]}


def upload(uri, experiment, file):
    client = MlflowClient(uri)
    run = client.create_run(experiment_of(client, experiment)).info.run_id
    seconds, _ = timed(lambda: client.log_artifact(run, file))
    return {"seconds": seconds, "run": run}


def download(uri, run, file):
    client = MlflowClient(uri)
    with tempfile.TemporaryDirectory() as folder:
        seconds, path = timed(
            lambda: client.download_artifacts(run, os.path.basename(file), folder)
        )
        with open(path, "rb") as got, open(file, "rb") as sent:
            assert got.read() == sent.read(), path
    return {"seconds": seconds}


DEEDS = {it.__name__: it for it in (
    log, fill, search, page, page_alone, write_history, read_history, history_alone, upload, download,
)}  # fmt: skip

answers, sys.stdout = sys.stdout, sys.stderr  # the client prints, too
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps(DEEDS[asked.pop("do")](**asked)), file=answers, flush=True)
