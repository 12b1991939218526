"""What own code leaves is in the registry: the model that it has logged, or its newest checkpoint as it is."""

import json
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.pyfunc import PythonModel

from stoker.execution.own_code.model import record_model
from stoker.execution.ray_train.snapshot import NAME, SNAPSHOT
from stoker.execution.run_store import run_storage
from stoker.job.own_code import CodeJob
from stoker.storage import Storage
from stoker.tracking.mlflow_run import MlflowRun
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path, mlflow_tables) -> RunFolder:
    mlflow_tables(tmp_path / "mlflow.db")
    folder = RunFolder(tmp_path / "runs" / "a-1")
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder.create(RunHeader("a-1", "a", "", "f", "d", 1.0, 1, store, "pages"), "entrypoint: a:b\n")
    return folder


@pytest.fixture
def tracked(folder, tmp_path) -> MlflowRun:
    header = folder.header()
    return MlflowRun.open(header, header.tracking_uri, tmp_path / "artifacts", {})


@pytest.fixture
def storage(folder) -> Storage:
    return run_storage(folder, folder.header(), "a-1")


def job(entrypoint: str, register: str | None = "digits") -> CodeJob:
    return CodeJob.model_validate({"name": "a", "entrypoint": entrypoint, "tracking": {"register": register}})


def versions(name: str = "digits") -> list[str]:
    client = MlflowClient()
    found = client.search_model_versions(f"name = '{name}'")
    return [client.get_model_version_download_uri(name, version.version) for version in found]


def test_the_newest_checkpoint_of_a_function_is_registered_as_it_is(folder, tracked, storage):
    storage.put(f"{NAME}/checkpoint_1/state.pt", [b"old"])
    storage.put(f"{NAME}/checkpoint_2/deep/state.pt", [b"new"])
    storage.put(SNAPSHOT, [json.dumps({"latest_checkpoint_result": {"checkpoint_dir_name": "checkpoint_2"}}).encode()])
    for _ in range(2):  # as after an outage of MLflow
        uri, lacking = record_model(folder, job("a:b"), tracked)
        assert (uri, lacking) == (f"runs:/{tracked.run_id}/checkpoint", "")
    [place] = versions()
    assert place.endswith(f"{tracked.run_id}/artifacts/checkpoint")
    stored = MlflowClient().download_artifacts(tracked.run_id, "checkpoint/deep/state.pt")
    assert Path(stored).read_bytes() == b"new"
    assert [path.name for path in folder.path.glob("checkpoint-*")] == []


def test_the_folder_of_a_script_is_registered_as_it_is(folder, tracked, storage):
    storage.put("script/weights.bin", [b"weights"])
    assert record_model(folder, job("train.py"), tracked)[1] == ""
    assert [file.path for file in MlflowClient().list_artifacts(tracked.run_id, "checkpoint")] == [
        "checkpoint/weights.bin"
    ]
    assert len(versions()) == 1


def test_a_model_that_the_code_has_logged_comes_first(folder, tracked, storage):
    class Echo(PythonModel):
        def predict(self, context, model_input):
            return model_input

    storage.put("script/weights.bin", [b"weights"])
    with mlflow.start_run(run_id=tracked.run_id):
        mlflow.pyfunc.log_model(name="first", python_model=Echo(), pip_requirements=[])
        newest = mlflow.pyfunc.log_model(name="second", python_model=Echo(), pip_requirements=[])
    assert record_model(folder, job("train.py"), tracked) == (newest.model_uri, "")
    assert len(versions()) == 1
    assert MlflowClient().list_artifacts(tracked.run_id, "checkpoint") == []


@pytest.mark.parametrize("entrypoint", ["a:b", "train.py"])
def test_a_run_that_left_nothing_says_so(folder, tracked, entrypoint):
    uri, lacking = record_model(folder, job(entrypoint), tracked)
    assert uri == ""
    assert lacking == "'digits' has no new version: the run has left neither a model in MLflow nor a checkpoint"
    assert versions() == []


def test_nothing_is_registered_unasked(folder, tracked, storage):
    storage.put("script/weights.bin", [b"weights"])
    assert record_model(folder, job("train.py", None), tracked) == ("", "")
    assert MlflowClient().list_artifacts(tracked.run_id) == []
