"""Models and prompts as MLflow's users keep them, read back through the client and our own API. Runs on mlflow 2.22 (skinny) and 3.17."""

import json
import os
import tempfile
import urllib.parse
import urllib.request

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

url = os.environ["MLFLOW_TRACKING_URI"]
client = MlflowClient()
is_3 = int(mlflow.__version__.split(".")[0]) >= 3


def own(path):
    return json.load(urllib.request.urlopen(f"{url}/api/v1{path}"))


def refused(code, call):
    try:
        call()
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, str(error))
        return
    raise AssertionError(f"nothing was refused, {code} was to be")


def registry():
    mlflow.set_experiment("registry")
    with mlflow.start_run() as run:
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/weights.txt", "w") as file:
                file.write("1 2 3")
            mlflow.log_artifacts(folder, "model")
    source = f"{run.info.artifact_uri}/model"

    client.create_registered_model("net", tags={"team": "vision"}, description="A net")
    refused("RESOURCE_ALREADY_EXISTS", lambda: client.create_registered_model("net"))
    versions = [client.create_model_version("net", source, run.info.run_id, tags={"n": str(n)}) for n in range(3)]
    assert [version.version for version in versions] in (["1", "2", "3"], [1, 2, 3])
    assert all(version.status == "READY" for version in versions)

    client.set_registered_model_alias("net", "champion", "1")
    client.set_registered_model_alias("net", "champion", "2")
    client.set_registered_model_alias("net", "challenger", "3")
    assert int(client.get_model_version_by_alias("net", "champion").version) == 2
    assert sorted(client.get_model_version("net", "3").aliases) == ["challenger"]
    client.delete_registered_model_alias("net", "challenger")
    refused("INVALID_PARAMETER_VALUE", lambda: client.get_model_version_by_alias("net", "challenger"))
    for reserved in ("latest", "v1"):
        refused("INVALID_PARAMETER_VALUE", lambda: client.set_registered_model_alias("net", reserved, "1"))

    client.transition_model_version_stage("net", "1", "Production")
    client.transition_model_version_stage("net", "2", "production", archive_existing_versions=True)
    assert {int(v.version): v.current_stage for v in client.search_model_versions("name='net'")} == {
        1: "Archived",
        2: "Production",
        3: "None",
    }
    assert [int(v.version) for v in client.get_latest_versions("net", ["Production"])] == [2]
    assert [int(v.version) for v in client.search_model_versions("name='net'", order_by=["version_number ASC"])] == [1, 2, 3]
    assert [int(v.version) for v in client.search_model_versions(f"run_id = '{run.info.run_id}' AND tags.n = '1'")] == [2]
    assert client.search_model_versions("name = 'nothing'") == []

    client.update_model_version("net", "2", "the better one")
    client.set_model_version_tag("net", "2", "k", "v")
    client.delete_model_version_tag("net", "2", "n")
    found = client.get_model_version("net", "2")
    assert (found.description, found.tags, found.run_id, found.source) == ("the better one", {"k": "v"}, run.info.run_id, source)
    assert client.get_model_version_download_uri("net", "2") == source
    local = mlflow.artifacts.download_artifacts("models:/net/2")
    assert open(f"{local}/weights.txt").read() == "1 2 3"

    client.set_registered_model_tag("net", "owner", "ana")
    client.delete_registered_model_tag("net", "team")
    assert client.get_registered_model("net").tags == {"owner": "ana"}
    for name in ("a", "b", "c"):
        client.create_registered_model(f"more-{name}", tags={"of": "more"})
    page = client.search_registered_models("name LIKE 'more-%'", max_results=2, order_by=["name DESC"])
    assert [model.name for model in page] == ["more-c", "more-b"]
    rest = client.search_registered_models("name LIKE 'more-%'", max_results=2, order_by=["name DESC"], page_token=page.token)
    assert ([model.name for model in rest], rest.token or None) == (["more-a"], None)
    assert len(client.search_registered_models("tags.of = 'more'")) == 3

    copied = client.copy_model_version("models:/net@champion", "copy")
    assert client.get_model_version_download_uri("copy", copied.version) == source
    client.rename_registered_model("copy", "copied")
    assert client.get_registered_model("copied").latest_versions[0].name == "copied"
    client.delete_model_version("net", "3")
    refused("RESOURCE_DOES_NOT_EXIST", lambda: client.get_model_version("net", "3"))
    assert int(client.create_model_version("net", source, run.info.run_id).version) == 4
    client.delete_registered_model("copied")
    refused("RESOURCE_DOES_NOT_EXIST", lambda: client.get_registered_model("copied"))

    for bad in ("file:///etc", "/etc", f"{source}/../../x", "http://example.com/x", "mlflow-artifacts:/0/other/artifacts/m"):
        refused("INVALID_PARAMETER_VALUE", lambda: client.create_model_version("net", bad, run.info.run_id))
    for bad in ("", "a/b", "a:b"):
        refused("INVALID_PARAMETER_VALUE", lambda: client.create_registered_model(bad))

    native = own("/models/net")
    assert (native["note"], native["tags"], native["aliases"]) == ("A net", {"owner": "ana"}, {"champion": 2})
    assert [(v["number"], v["stage"], v["run"]) for v in native["versions"]] == [
        (4, "None", run.info.run_id),
        (2, "Production", run.info.run_id),
        (1, "Archived", run.info.run_id),
    ]
    assert "net" in [model["name"] for model in own("/models")["models"]]


def sklearn_models():
    import numpy
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    mlflow.set_experiment("sklearn")
    x, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=200).fit(x, y)
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(model, name="iris", registered_model_name="iris", input_example=x[:2])
        mlflow.log_metric("accuracy", model.score(x, y), model_id=info.model_id)
    expected = model.predict(x)
    for uri in (info.model_uri, "models:/iris/1", "models:/iris/latest", f"runs:/{run.info.run_id}/iris"):
        loaded = mlflow.sklearn.load_model(uri)
        assert numpy.array_equal(loaded.predict(x), expected), uri
    assert numpy.array_equal(mlflow.pyfunc.load_model("models:/iris/1").predict(x), expected)

    logged = mlflow.get_logged_model(info.model_id)
    assert (logged.name, str(logged.status), logged.source_run_id) == ("iris", "READY", run.info.run_id)
    assert [(m.key, m.value) for m in logged.metrics] == [("accuracy", model.score(x, y))]
    assert client.get_run(run.info.run_id).outputs.model_outputs[0].model_id == info.model_id
    found = mlflow.search_logged_models(filter_string="metrics.accuracy > 0.9 AND name = 'iris'", output_format="list")
    assert [it.model_id for it in found] == [info.model_id]
    assert mlflow.search_logged_models(filter_string="metrics.accuracy > 2", output_format="list") == []
    again = mlflow.register_model(info.model_uri, "iris", tags={"again": "yes"})
    assert (int(again.version), again.run_id, again.tags) == (2, run.info.run_id, {"again": "yes"})
    assert len(json.loads(mlflow.get_logged_model(info.model_id).tags["mlflow.modelVersions"])) == 4

    external = mlflow.create_external_model(name="elsewhere", model_type="agent", params={"p": "1"})
    client.set_logged_model_tags(external.model_id, {"t": "1", "u": "2"})
    client.delete_logged_model_tag(external.model_id, "u")
    client.log_model_params(external.model_id, {f"q{i}": str(i) for i in range(150)})
    read = client.get_logged_model(external.model_id)
    assert (len(read.params), read.tags["t"], "u" in read.tags) == (151, "1", False)
    client.delete_logged_model(external.model_id)
    refused("RESOURCE_DOES_NOT_EXIST", lambda: client.get_logged_model(external.model_id))

    many = [mlflow.initialize_logged_model(name=f"m{i}") for i in range(5)]
    experiment = mlflow.get_experiment_by_name("sklearn").experiment_id
    pages, token = [], None
    while True:
        page = client.search_logged_models(
            [experiment], "name LIKE 'm%'", max_results=2, page_token=token, order_by=[{"field_name": "name", "ascending": False}]
        )
        pages.append([it.name for it in page])
        token = page.token
        if not token:
            break
    assert pages == [["m4", "m3"], ["m2", "m1"], ["m0"]], pages
    assert len(many) == 5

    mlflow.sklearn.autolog()
    LogisticRegression(max_iter=100).fit(x, y)
    mlflow.sklearn.autolog(disable=True)
    assert own("/models/iris")["versions"][0]["built"] == info.model_id


def prompts():
    genai = mlflow.genai
    first = genai.register_prompt("greeting", "Hello {{name}}", commit_message="first", tags={"lang": "en"})
    assert (first.version, first.template) == (1, "Hello {{name}}")
    genai.register_prompt("greeting", "Good day, {{name}}")
    genai.set_prompt_alias("greeting", "production", 1)
    assert genai.load_prompt("prompts:/greeting@production").format(name="Ana") == "Hello Ana"
    assert genai.load_prompt("greeting", version=2).template == "Good day, {{name}}"
    assert genai.load_prompt("prompts:/nothing/1", allow_missing=True) is None
    assert [prompt.name for prompt in genai.search_prompts()] == ["greeting"]
    assert "greeting" not in [model.name for model in client.search_registered_models()]
    refused("RESOURCE_ALREADY_EXISTS", lambda: client.create_registered_model("greeting"))
    refused("INVALID_PARAMETER_VALUE", lambda: genai.register_prompt("net", "x"))
    genai.delete_prompt_alias("greeting", "production")
    refused("INVALID_PARAMETER_VALUE", lambda: client.get_prompt_version_by_alias("greeting", "production"))
    own_prompt = own(f"/models/{urllib.parse.quote('greeting')}")
    assert own_prompt["tags"]["mlflow.prompt.is_prompt"] == "true"
    client.delete_prompt_version("greeting", "1")
    assert len(own("/models/greeting")["versions"]) == 1


done = []
for step in [registry, sklearn_models, prompts] if is_3 else [registry]:
    step()
    done.append(step.__name__)
print(json.dumps(done))
