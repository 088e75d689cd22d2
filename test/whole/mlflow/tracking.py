"""Runs as MLflow's users log them, with the fluent API and with the client. Runs on mlflow 2.22 and 3.17, skinny too."""

import json
import math

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

client = MlflowClient()


def refusal(call):
    """What a call is refused with: MLflow's error code and message."""
    try:
        call()
    except MlflowException as error:
        return error.error_code, error.message
    raise AssertionError("not refused")


# The fluent API, in an experiment that is made by its name.
mlflow.set_experiment("tracking")
with mlflow.start_run(run_name="first", tags={"team": "vision"}, description="What we try.") as active:
    first = active.info.run_id
    mlflow.log_param("lr", 1e-05)
    mlflow.log_params({"optimizer": "adam", "layers": 3, "dropout": 0.10, "flag": True, "none": None})
    for step in range(50):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metrics({"val/acc": 0.5, "diverged": math.nan, "up": math.inf, "down": -math.inf}, step=7)
    mlflow.set_tags({"a": 1, "b": "two"})
    mlflow.set_tag("mlflow.note.content", "What we found.")

run = mlflow.get_run(first)
assert run.info.status == "FINISHED" and run.info.run_name == "first", run.info
assert run.data.params == {
    "lr": "1e-05", "optimizer": "adam", "layers": "3", "dropout": "0.1", "flag": "True", "none": "None",
}, run.data.params
assert run.data.metrics["loss"] == 1 / 50 and run.data.metrics["up"] == math.inf, run.data.metrics
assert math.isnan(run.data.metrics["diverged"]) and run.data.metrics["down"] == -math.inf
assert run.data.tags["a"] == "1" and run.data.tags["mlflow.runName"] == "first"
assert run.data.tags["mlflow.note.content"] == "What we found."
history = client.get_metric_history(first, "loss")
assert [(m.step, m.value) for m in history] == [(s, 1 / (s + 1)) for s in range(50)]

# A run that is set going again by its id, fails, and is renamed.
with mlflow.start_run(run_id=first):
    mlflow.log_metric("loss", 0.001, step=50)
assert len(client.get_metric_history(first, "loss")) == 51
try:
    with mlflow.start_run(run_name="fails") as active:
        failed = active.info.run_id
        raise RuntimeError("out of memory")
except RuntimeError:
    pass
assert client.get_run(failed).info.status == "FAILED"
client.set_tag(failed, "mlflow.runName", "failed")
client.log_metric(failed, "after", 1.0)  # MLflow takes points of runs that ended
assert client.get_run(failed).info.run_name == "failed"

# Nested runs.
with mlflow.start_run(run_name="parent") as parent:
    with mlflow.start_run(run_name="child", nested=True) as child:
        mlflow.log_param("depth", 1)
        with mlflow.start_run(run_name="grandchild", nested=True) as grandchild:
            mlflow.log_param("depth", 2)
assert client.get_parent_run(grandchild.info.run_id).info.run_id == child.info.run_id
children = client.search_runs(
    [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
)
assert [it.info.run_id for it in children] == [child.info.run_id], children

# The client, batches, and what is refused.
experiment = client.create_experiment("by client", tags={"owner": "ana", "mlflow.note.content": "Why?"})
batch = client.create_run(experiment, start_time=1760000000000, tags={"mlflow.user": "ana"}).info.run_id
points = [Metric("m", s / 7, 1760000000000 + s, s) for s in range(2500)]
client.log_batch(batch, points, [Param(f"p{i}", str(i)) for i in range(250)], [RunTag("t", "x")])
client.log_batch(batch, points[-700:])
client.log_batch(batch, points[-700:])
# To MLflow the same points are the same points.
history = client.get_metric_history(batch, "m")
assert [(m.step, m.value, m.timestamp) for m in history] == [(p.step, p.value, p.timestamp) for p in points]
assert len(client.get_run(batch).data.params) == 250
client.set_terminated(batch, "KILLED", 1760000009000)
info = client.get_run(batch).info
assert (info.status, info.start_time, info.end_time) == ("KILLED", 1760000000000, 1760000009000), info

code, message = refusal(lambda: client.log_param(batch, "p1", "other"))
assert code == "INVALID_PARAMETER_VALUE" and "was already logged with value='1'" in message, message
code, message = refusal(lambda: client.log_batch(batch, params=[Param("p2", "other"), Param("new", "1")]))
assert "'old_value': '2', 'new_value': 'other'" in message, message
assert "new" not in client.get_run(batch).data.params
assert refusal(lambda: client.get_run("0" * 32))[0] == "RESOURCE_DOES_NOT_EXIST"
assert refusal(lambda: client.create_experiment("by client"))[0] == "RESOURCE_ALREADY_EXISTS"
client.delete_run(batch)
assert "must be in the 'active' state" in refusal(lambda: client.log_metric(batch, "m", 1))[1]
assert client.search_runs([experiment]) == []
client.restore_run(batch)

# Experiments, and the default one.
assert client.get_experiment("0").name == "Default"
client.rename_experiment(experiment, "renamed")
client.set_experiment_tag(experiment, "k", "v")
found = client.search_experiments(filter_string="name LIKE 'renam%' AND tags.k = 'v'")
assert [(it.experiment_id, it.tags["owner"]) for it in found] == [(experiment, "ana")], found
client.delete_experiment(experiment)
assert client.get_run(batch).info.lifecycle_stage == "deleted"
client.restore_experiment(experiment)
assert client.get_run(batch).info.lifecycle_stage == "active"
with mlflow.start_run(experiment_id="0") as active:
    mlflow.log_metric("in", 1)
default = active.info.run_id

# Datasets that a run read.
from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: E402

dataset = Dataset("digits", "d1", "local", '{"uri": "digits.csv"}', '{"x": 1}', '{"rows": 3}')
client.log_inputs(batch, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])])
read = client.get_run(batch).inputs.dataset_inputs
assert [(it.dataset.name, it.dataset.digest, it.tags[0].value) for it in read] == [("digits", "d1", "train")]
assert client.search_runs([experiment], "dataset.name = 'digits' AND dataset.context = 'train'")
assert not client.search_runs([experiment], "dataset.name = 'letters'")

print(json.dumps({
    "first": first, "failed": failed, "batch": batch, "default": default, "experiment": experiment,
    "parent": parent.info.run_id, "child": child.info.run_id,
}))
