"""Pictures of a training run in its folder, its storage and MLflow, even if its worker is killed."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from stoker.storage import open_storage
from stoker.tracking.journal import read_journal
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder

EVERY, EPOCHS = 60, 200


def workers_of(run: RunFolder) -> list[psutil.Process]:
    tree = psutil.Process(run.driver_pid()).children(recursive=True)
    return [process for process in tree if "".join(process.cmdline()[:1]).startswith("ray::Worker")]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True], ids=["whole", "killed"])
def test_each_picture_is_recorded_once_even_if_the_worker_is_killed(killed, home, job_file, until, tiny_data, tmp_path):
    settings = {"epochs": EPOCHS, "batch_size": 16, "precision": "fp32", "evaluate": {"every": EVERY}}
    job = {
        "name": "masks",
        "task": "segmentation",
        "dataset": tiny_data("segmentation"),
        "architecture": {"family": "unet", "channels": [4]},
        "training": {**settings, "checkpoint": {"every": "7 epochs"}},
        "resources": {"cpus": 1},
    }
    home.environment["STOKER_STORAGE"] = str(tmp_path / "storage")
    run = home.run(home.json("submit", job_file(yaml.safe_dump(job)), "--detach")["id"])
    until(lambda: any(run.pictures.glob("*.png")) or run.record().state.ended, "a picture", 200)
    assert not run.record().state.ended, home.logs()
    if killed:
        for worker in workers_of(run):
            os.kill(worker.pid, signal.SIGKILL)
    until(lambda: run.record().state.ended, "the end", 240)
    status = run.record().status
    assert (status.state, status.attempt) == (State.SUCCEEDED, 1 + killed), home.logs()

    entries = [entry for entry, _ in read_journal(run.journal) if entry.picture]
    assert [entry.epoch for entry in entries] == [60, 120, 180, 200]
    names = [f"pictures/predicted-{entry.epoch * 3:012d}.png" for entry in entries]
    assert [entry.picture for entry in entries] == names
    storage = open_storage(str(tmp_path / "storage" / run.path.name))
    client = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    files = [Path(file.path).name for file in client.list_artifacts(status.mlflow_run, "images")]
    assert len(files) == 2 * len(names)  # each with MLflow's small copy
    assert client.get_run(status.mlflow_run).data.tags["mlflow.loggedImages"] == "true"
    for entry in entries:
        content = (run.path / entry.picture).read_bytes()
        assert storage.get(entry.picture) == content
        (logged,) = [f for f in files if f.startswith(f"predicted+step+{entry.step}+") and f.endswith(".png")]
        fetched = client.download_artifacts(status.mlflow_run, f"images/{logged}", str(tmp_path))
        assert Path(fetched).read_bytes() == content
    assert "predicted.png" in {file.path for file in client.list_artifacts(status.mlflow_run)}
