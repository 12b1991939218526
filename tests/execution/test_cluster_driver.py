"""A run on an existing Ray cluster: driver and workers share no folder, and only the storage outlives both."""

import json
import os
import shutil
import signal

import pytest
from mlflow import MlflowClient

from stoker.execution.cluster_driver import tee_output
from stoker.tracking.journal import read_journal
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder

JOB = """
name: far
task: tabular-classification
architecture: {family: custom, class: "own:Network"}
dataset: breast-cancer
training: {epochs: 150, batch_size: 64, precision: fp32, optimizer: {type: adamw, lr: 1e-3}}
resources: {workers: WORKERS, cpus: 1, gpus: 0}
"""
NETWORK = """
from torch import nn


class Network(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 2))
"""


@pytest.fixture
def far(run_environment):
    """Create the environment of a run with some workers below a folder."""

    def make(base, workers):
        base.mkdir(exist_ok=True)
        return run_environment(base, f"far-0000000{workers}", JOB.replace("WORKERS", str(workers)), {"own.py": NETWORK})

    return make


def points(folder: RunFolder) -> list[tuple[str, int, float]]:
    found = [(k, e.step, v) for e, _ in read_journal(folder.journal) for k, v in e.metrics.items()]
    assert len({point[:2] for point in found}) == len(found)
    return sorted(found)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_another_driver_continues_after_driver_and_folder_are_lost(workers, far, tmp_path, until):
    undisturbed = far(tmp_path / "a", workers)
    process = undisturbed.start("home")
    shown, _ = process.communicate(timeout=200)
    assert process.returncode == 0, shown
    assert undisturbed.folder("home").status().state is State.SUCCEEDED
    assert (undisturbed.folder("home").model / "weights.safetensors").exists()
    assert undisturbed.folder("home").log.read_text() in shown

    place = far(tmp_path / "b", workers)
    first = place.start("first")
    until(lambda: first.poll() is not None or place.folder("first").status().checkpoint_step > 300, "a checkpoint", 120)
    assert first.poll() is None, first.communicate()[0]
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=20)
    shutil.rmtree(tmp_path / "b" / "first")
    second = place.start("second")
    shown, _ = second.communicate(timeout=200)
    assert second.returncode == 0, shown
    status = place.folder("second").status()
    assert (status.state, status.attempt) == (State.SUCCEEDED, 2)
    kept = json.loads(place.storage.get("state.json"))
    assert (kept["state"], kept["metrics"]) == ("SUCCEEDED", undisturbed.folder("home").status().metrics)
    weights = [
        (at.folder(home).model / "weights.safetensors").read_bytes()
        for at, home in ((undisturbed, "home"), (place, "second"))
    ]
    assert weights[0] == weights[1]
    assert points(place.folder("second")) == points(undisturbed.folder("home"))
    client = MlflowClient(place.tracking)
    page = client.get_run(status.mlflow_run)
    assert page.info.status == "FINISHED"
    for key in {key for key, _, _ in points(place.folder("second"))}:
        stored = sorted((metric.step, metric.value) for metric in client.get_metric_history(status.mlflow_run, key))
        assert stored == [(step, value) for name, step, value in points(place.folder("second")) if name == key]

    third = place.start("third")  # such as a RayJob that is retried after its run has ended
    third.communicate(timeout=60)
    assert third.returncode == 0
    assert not place.folder("third").journal.exists()


def test_without_a_storage_no_run_starts(far, tmp_path):
    process = far(tmp_path, 1).start("home", STOKER_STORAGE="")
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "STOKER_STORAGE is not set" in shown
    assert "Traceback" not in shown


def test_output_that_is_not_utf8_is_logged_as_text(tmp_path, capfd):
    with tee_output(tmp_path / "log.txt"):
        os.write(1, b"caf\xc3")
        os.write(2, b"\xa9 \xff\n")
    assert (tmp_path / "log.txt").read_text() == "caf\u00e9 \ufffd\n" == capfd.readouterr().out
