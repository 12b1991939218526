"""A sweep on an existing Ray cluster: driver and trials share no folder, and only the storage outlives both."""

import json
import shutil
import signal

import pytest
from mlflow import MlflowClient

from stoker.tracking.journal import read_journal
from stoker.tracking.ledger import read_trials
from stoker.tracking.run import WAITING, State

JOB = """
name: far
task: tabular-classification
architecture: {family: custom, class: "own:Network"}
dataset: breast-cancer
training:
  epochs: 60
  batch_size: 64
  precision: fp32
  optimizer: {type: adamw, lr: 1e-3}
  checkpoint: {every: 5 epochs}
resources: {workers: WORKERS, cpus: 1, gpus: 0}
sweep:
  trials: TRIALS
  parallel: 2
  space: {training.optimizer.lr: {min: 1.0e-4, max: 0.1, log: true}}
"""
NETWORK = """
import time
from torch import nn


class Network(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, features):
        time.sleep(PACE_S)
        return super().forward(features)
"""


@pytest.fixture
def far(run_environment, tmp_path):
    """Create the environment of a sweep."""

    def make(workers=1, pace_s=0.004, trials=4, more=""):
        job = JOB.replace("WORKERS", str(workers)).replace("TRIALS", str(trials)) + more
        return run_environment(tmp_path, "far-0000000a", job, {"own.py": NETWORK.replace("PACE_S", str(pace_s))})

    return make


def ended_well(process):
    shown, _ = process.communicate(timeout=400)
    assert process.returncode == 0, shown
    return shown


def kill(process, home):
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    shutil.rmtree(home)


def trials_of(place, home):
    return read_trials(place.folder(home).ledger)


def kept_trials(place):
    """Read the ledger from the storage."""
    copy = place.base / "kept.jsonl"
    copy.write_bytes(b"".join(place.storage.get(key) for key in place.storage.keys("ledger")))
    return read_trials(copy)


def points(folder):
    found = [
        (key, entry.step, value) for entry, _ in read_journal(folder.journal) for key, value in entry.metrics.items()
    ]
    assert len({point[:2] for point in found}) == len(found)
    return found


def begun(place):
    """Count the started attempts of each trial in the storage."""
    root = place.base / "storage"
    return {path.name: len(list((path / "attempts").glob("*"))) for path in root.glob("far-0000000a.*")}


@pytest.mark.slow
def test_another_driver_continues_after_driver_and_folder_are_lost(far, until):
    place = far(trials=3)
    first = place.start("first")

    def one_is_over():
        trials = trials_of(place, "first")
        return any(trial.state.final for trial in trials) and any(10 < trial.epoch < 50 for trial in trials)

    until(lambda: first.poll() is not None or one_is_over(), "a trial that is over and one in mid-run", 280)
    assert first.poll() is None, first.communicate()[0]
    before = trials_of(place, "first")
    kill(first, place.base / "first")
    chosen = place.storage.get("resolved.yaml").replace(b"cpus: 1", b"cpus: 64")  # threads, more than Ray has CPUs
    place.storage.put("resolved.yaml", [chosen])
    second = place.start("second")
    shown = ended_well(second)

    folder = place.folder("second")
    assert folder.status().state is State.SUCCEEDED, shown
    after = trials_of(place, "second")
    assert [trial.state for trial in after] == [State.SUCCEEDED] * 3
    for trial in before:
        assert after[trial.number].values == trial.values
        assert after[trial.number].reports[: len(trial.reports)] == trial.reports or not trial.state.final
        if trial.state.final:
            assert after[trial.number].ended == trial.ended
    for trial in after:
        assert [report.epoch for report in trial.reports] == list(range(1, 61)), trial.number
        found = points(folder.trial(trial.number))
        assert sorted(step for key, step, _ in found if key == "accuracy/val") == sorted(r.step for r in trial.reports)
        assert folder.trial(trial.number).status().state is State.SUCCEEDED
    best = max(after, key=lambda trial: (trial.score("accuracy/val", "max"), -trial.number))
    assert (folder.trial(best.number).model / "weights.safetensors").exists()
    assert list(folder.trial(best.number).artifacts.glob("*.png"))

    client = MlflowClient(place.tracking)
    parent = client.get_run(folder.status().mlflow_run)
    assert parent.info.status == "FINISHED"
    children = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert len(children) == 3
    for child in children:
        number = int(child.data.tags["stoker.run"].rpartition(".")[2])
        stored = [(m.step, m.value) for m in client.get_metric_history(child.info.run_id, "accuracy/val")]
        kept = [(step, value) for key, step, value in points(folder.trial(number)) if key == "accuracy/val"]
        assert sorted(stored) == sorted(kept)
    assert json.loads(place.storage.get("state.json"))["state"] == "SUCCEEDED"


@pytest.mark.slow
def test_a_sweep_waits_for_resources_and_can_be_stopped(far, until):
    place = far()
    job = place.inputs.job
    job.write_text(job.read_text().replace("gpus: 0", "gpus: 1"))  # this Ray has none
    driver = place.start("first")
    until(lambda: driver.poll() is not None or place.folder("first").status().phase == WAITING, "the wait", 120)
    assert driver.poll() is None, driver.communicate()[0]
    place.folder("first").cancel_request.touch()
    driver.communicate(timeout=60)
    assert place.folder("first").status().state is State.CANCELLED


@pytest.mark.slow
def test_trials_stop_on_request_and_resume(far, until):
    place = far(pace_s=0.05, trials=3)
    first = place.start("first")

    def two_train():
        return sum(trial.epoch > 1 for trial in trials_of(place, "first")) >= 2

    until(lambda: first.poll() is not None or two_train(), "two trials that train", 280)
    assert first.poll() is None, first.communicate()[0]
    place.folder("first").trial(0).cancel_request.touch()
    until(lambda: trials_of(place, "first")[0].state is State.CANCELLED, "the end of one trial", 60)
    until(lambda: trials_of(place, "first")[2].epoch > 1, "the trial after it", 60)
    assert trials_of(place, "first")[1].state is State.RUNNING
    place.folder("first").pause_request.touch()
    ended_well(first)
    assert place.folder("first").status().state is State.PAUSED
    before = trials_of(place, "first")
    assert not before[1].state.final
    shutil.rmtree(place.base / "first")

    second = place.start("second", STOKER_REOPEN="again")
    ended_well(second)
    after = trials_of(place, "second")
    assert [trial.state for trial in after] == [State.CANCELLED, State.SUCCEEDED, State.SUCCEEDED]
    assert [report.epoch for report in after[1].reports] == list(range(1, 61))
    assert begun(place)["far-0000000a.1"] == 2


@pytest.mark.slow
def test_the_results_of_a_trial_with_several_workers_are_fetched(far):
    place = far(workers=2, pace_s=0, trials=2)
    ended_well(place.start("home"))
    folder = place.folder("home")
    for trial in trials_of(place, "home"):
        assert [report.epoch for report in trial.reports] == list(range(1, 61))
        assert len(points(folder.trial(trial.number))) > 60
    assert sum((folder.trial(number).model / "weights.safetensors").exists() for number in (0, 1)) == 1


@pytest.mark.slow
def test_a_population_continues_after_its_first_driver_is_lost(far, until):
    place = far(pace_s=0.01, more="  scheduler: {type: pbt, every: 10 epochs}\n")
    first = place.start("first")

    def one_trial_has_changed():
        return any(trial.changes for trial in kept_trials(place))

    until(lambda: first.poll() is not None or one_trial_has_changed(), "a trial that goes on from another", 280)
    assert first.poll() is None, first.communicate()[0]
    kill(first, place.base / "first")
    known = {trial.number: trial.changes for trial in kept_trials(place)}
    ended_well(place.start("second"))
    for trial in trials_of(place, "second"):
        assert trial.state is State.SUCCEEDED
        assert [report.epoch for report in trial.reports] == list(range(1, 61))
        before = known.get(trial.number, ())
        assert trial.changes[: len(before)] == before
        points(place.folder("second").trial(trial.number))
