"""What logs besides the user's own lines: threads, other processes, the machine's metrics, scikit-learn's autologging."""

import json
import multiprocessing
import os
import time

import mlflow
from mlflow import MlflowClient


def train(number):
    with mlflow.start_run(run_name=f"process {number}") as run:
        mlflow.log_params({f"p{i}": i for i in range(5)})
        for step in range(30):
            mlflow.log_metrics({"loss": number + 1 / (step + 1), "acc": step / 30}, step=step)
    return run.info.run_id


if __name__ == "__main__":
    client = MlflowClient()
    mlflow.set_experiment("background")
    os.environ["MLFLOW_EXPERIMENT_NAME"] = "background"

    # 16 processes at once.
    with multiprocessing.get_context("fork").Pool(16) as pool:
        runs = pool.map(train, range(16))
    for number, run in enumerate(runs):
        history = client.get_metric_history(run, "loss")
        assert [(m.step, m.value) for m in history] == [(s, number + 1 / (s + 1)) for s in range(30)]
        assert len(client.get_run(run).data.params) == 5

    # Asynchronous logging: a request for each point, in any order.
    mlflow.config.enable_async_logging()
    with mlflow.start_run() as run:
        for step in range(100):
            mlflow.log_metric("async", step * 2, step=step)
        mlflow.log_params({"late": 1})
        mlflow.set_tag("late", "too")
    mlflow.flush_async_logging()
    mlflow.config.enable_async_logging(False)
    asynchronous = run.info.run_id
    assert [(m.step, m.value) for m in client.get_metric_history(asynchronous, "async")] == [(s, s * 2) for s in range(100)]
    assert client.get_run(asynchronous).data.params == {"late": "1"}

    # The machine's metrics.
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(log_system_metrics=True) as run:
        time.sleep(2)
    system = run.info.run_id
    keys = client.get_run(system).data.metrics
    assert "system/cpu_utilization_percentage" in keys, keys

    # Autologging of scikit-learn.
    import numpy
    from sklearn.linear_model import LogisticRegression

    mlflow.sklearn.autolog(log_models=False)
    with mlflow.start_run() as run:
        model = LogisticRegression(C=0.5).fit(numpy.arange(4.0).reshape(-1, 1), numpy.array([0, 0, 1, 1]))
        model.score(numpy.array([[0.5], [2.5]]), numpy.array([0, 1]))
    autologged = run.info.run_id
    data = client.get_run(autologged)
    assert data.data.params["C"] == "0.5" and data.data.metrics["training_accuracy_score"] == 1.0, data.data
    assert [it.dataset.source_type for it in data.inputs.dataset_inputs] == ["code"], data.inputs
    assert "estimator.html" in {it.path for it in client.list_artifacts(autologged)}

    print(json.dumps({"runs": runs, "async": asynchronous, "system": system, "autologged": autologged}))
