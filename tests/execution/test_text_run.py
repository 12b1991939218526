"""What MLflow has of a run on texts beside its metrics: lengths, what the network looks at, and tokens per second."""

import yaml
from mlflow import MlflowClient
from PIL import Image

from stoker.tracking.run import State


def test_a_run_on_texts_records_lengths_attention_and_tokens_per_second(home, job_file, tiny_data):
    job = {
        "name": "films",
        "task": "text-classification",
        "dataset": tiny_data("text-classification"),
        "architecture": {"family": "transformer", "width": 8, "heads": 2, "layers": 1},
        "training": {"epochs": 3, "batch_size": 16, "precision": "fp32", "evaluate": {"every": 2}},
        "resources": {"cpus": 1},
    }
    home.stoker("submit", job_file(yaml.safe_dump(job)))
    (run,) = [home.run(path.name) for path in home.path.glob("runs/*")]
    status = run.record().status
    assert status.state is State.SUCCEEDED, home.logs()
    client = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    files = {file.path for file in client.list_artifacts(status.mlflow_run)}
    assert {"text-lengths.png", "attention.png", "attention.txt"} <= files
    for name in ("text-lengths.png", "attention.png"):
        with Image.open(run.artifacts / name) as picture:
            assert picture.width > 500
    assert (run.artifacts / "attention.txt").read_text().startswith(("blame", "praise"))
    drawn = [file.path for file in client.list_artifacts(status.mlflow_run, "images") if file.path.endswith(".png")]
    assert len(drawn) == 2  # of the second epoch and the last
    found = client.get_metric_history(status.mlflow_run, "system/tokens_per_second")
    assert found
    assert all(point.value > 0 for point in found)
