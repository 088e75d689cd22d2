"""Files of runs, up and down."""

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import matplotlib
import mlflow
import numpy
import pandas
from mlflow import MlflowClient
from PIL import Image

matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

client = MlflowClient()
mlflow.set_experiment("files")
folder = Path(tempfile.mkdtemp())
names = ["a.txt", "empty", "with space.txt", "naïve 値.txt", "pl+us&amp=.txt", "sub/deep/y.yaml"]
for i, name in enumerate(names):
    path = folder / "all" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"" if name == "empty" else os.urandom(1000 * i + 1))

with mlflow.start_run() as run:
    mlflow.log_artifact(str(folder / "all" / "a.txt"))
    mlflow.log_artifacts(str(folder / "all"), "all")
    mlflow.log_text("# Notes\n", "notes.md")
    mlflow.log_dict({"b": 1}, "config/run.json")
    figure = pyplot.figure()
    pyplot.plot([1, 2, 3])
    mlflow.log_figure(figure, "plots/line.png")
    picture = Image.fromarray(numpy.zeros((8, 8, 3), dtype=numpy.uint8))
    mlflow.log_image(picture, "black.png")
    for step in (0, 41):
        mlflow.log_image(picture, key="samples", step=step)
    mlflow.log_table({"question": ["a", "b"], "score": [1, 2]}, "table.json")
    mlflow.log_table({"question": ["c"], "score": [3]}, "table.json")
run_id = run.info.run_id

down = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="all", dst_path=str(folder / "down")))
for name in names:
    assert (down / name).read_bytes() == (folder / "all" / name).read_bytes(), name
everything = Path(mlflow.artifacts.download_artifacts(run_id=run_id, dst_path=str(folder / "everything")))
assert (everything / "notes.md").read_text() == "# Notes\n"
listed = {it.path: (it.is_dir, it.file_size) for it in client.list_artifacts(run_id)}
assert listed["a.txt"] == (False, 1) and listed["all"] == (True, None), listed
assert {it.path for it in client.list_artifacts(run_id, "all")} >= {"all/sub", "all/empty"}
assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/config/run.json") == {"b": 1}
assert mlflow.artifacts.load_image(f"{run.info.artifact_uri}/black.png").size == (8, 8)
table = mlflow.load_table("table.json", run_ids=[run_id])
assert isinstance(table, pandas.DataFrame) and list(table["score"]) == [1, 2, 3], table

# Deleting a file, as `mlflow gc` does.
repository = mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(run.info.artifact_uri)
repository.delete_artifacts("config")
assert "config" not in {it.path for it in client.list_artifacts(run_id)}

# A file of 150 MB, in parts.
big = folder / "big.bin"
size = int(sys.argv[1])
block = os.urandom(1_000_000)
with big.open("wb") as file:
    for i in range(size // 1_000_000):
        file.write(i.to_bytes(4, "big") + block[4:])
digest = hashlib.sha256(big.read_bytes()).hexdigest()
os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = "50000000"
client.log_artifact(run_id, str(big), "model")
client.log_artifact(run_id, str(big), "again")
back = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="model/big.bin", dst_path=str(folder / "big"))
assert hashlib.sha256(Path(back).read_bytes()).hexdigest() == digest

print(json.dumps({"run": run_id, "digest": digest, "size": size, "a": hashlib.sha256((folder / "all" / "a.txt").read_bytes()).hexdigest()}))
