"""Reads a file store through MLflow's own client and prints it as JSON; then logs a run there, as a user would go on."""
import json, math, os, sys

os.environ.update(MLFLOW_ALLOW_FILE_STORE="true", MLFLOW_DISABLE_TELEMETRY="true", GIT_PYTHON_REFRESH="quiet")
import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType

uri = sys.argv[1]
mlflow.set_tracking_uri(uri)
client = MlflowClient(uri)


def number(value):
    return value if math.isfinite(value) else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]


def files(run, path=None):
    for found in client.list_artifacts(run, path):
        if found.is_dir:
            yield from files(run, found.path)
        else:
            yield [found.path, found.file_size]


def text(run, path):
    with open(client.download_artifacts(run, path), encoding="utf8") as file:
        return file.read()


experiments = client.search_experiments(view_type=ViewType.ALL)
runs = [
    client.get_run(run.info.run_id)
    for e in experiments
    for run in client.search_runs([e.experiment_id], run_view_type=ViewType.ALL, max_results=1000)
]
found = dict(
    version=mlflow.__version__,
    experiments=[dict(id=e.experiment_id, name=e.name, stage=e.lifecycle_stage, tags=dict(e.tags)) for e in experiments],
    runs=[
        dict(
            id=r.info.run_id, experiment=r.info.experiment_id, name=r.info.run_name, status=r.info.status,
            stage=r.info.lifecycle_stage, start=r.info.start_time, end=r.info.end_time, params=dict(r.data.params),
            tags=dict(r.data.tags), latest={k: number(v) for k, v in r.data.metrics.items()},
            points={
                k: [[m.timestamp, m.step, number(m.value)] for m in client.get_metric_history(r.info.run_id, k)]
                for k in r.data.metrics
            },
            inputs=[
                [i.dataset.name, i.dataset.digest, i.dataset.source, {t.key: t.value for t in i.tags}]
                for i in (r.inputs.dataset_inputs if r.inputs else [])
            ],
            model_inputs=[m.model_id for m in getattr(r.inputs, "model_inputs", None) or []],
            model_outputs=[[m.model_id, m.step] for m in getattr(getattr(r, "outputs", None), "model_outputs", None) or []],
            files=sorted(files(r.info.run_id)) if r.info.lifecycle_stage == "active" else [],
        )
        for r in runs
    ],
    downloaded={r.info.run_id: text(r.info.run_id, "error.txt") for r in runs if r.info.run_name == "failed one"},
    models={
        m.name: dict(
            description=m.description, tags=dict(m.tags), aliases={k: str(v) for k, v in m.aliases.items()},
            versions=[
                [str(v.version), v.description, dict(v.tags), v.current_stage, v.source]
                for v in client.search_model_versions(f"name = '{m.name}'")
            ],
        )
        for m in client.search_registered_models()
    },
    logged_models=[
        [m.model_id, m.name, str(m.status), dict(m.params), dict(m.tags), [f.path for f in client.list_logged_model_artifacts(m.model_id)]]
        for m in (client.search_logged_models([e.experiment_id for e in experiments]) if hasattr(client, "search_logged_models") else [])
    ],
    matched=[r.info.run_name for r in client.search_runs([e.experiment_id for e in experiments], "params.lr = '0.1'")],
)
mlflow.set_experiment("digits-sweep")
with mlflow.start_run(run_name="one more") as run:
    mlflow.log_metric("loss", 0.5, step=1)
    mlflow.log_dict({"a": 1}, "a.json")
found["logged"] = client.get_run(run.info.run_id).data.metrics
client.delete_run(run.info.run_id)
print(json.dumps(found))
