"""What a function reports becomes entries of the journal: numbers, each once, under names that MLflow takes."""

import math

import numpy as np
import pytest
import torch

from stoker.execution.ray_train.attempts import result_of
from stoker.execution.ray_train.function import FunctionFailed
from stoker.execution.ray_train.reports import Position, Reports, read_position, usable_name
from stoker.execution.ray_train.snapshot import SNAPSHOT, newest_checkpoint, reports_before
from stoker.execution.worker_result import WorkerResult
from stoker.storage import open_storage
from stoker.tracking.journal import read_journal
from stoker.tracking.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path)


def recorded(folder: RunFolder) -> list[tuple[int, int, dict[str, float]]]:
    return [(entry.step, entry.epoch, entry.metrics) for entry, _ in read_journal(folder.journal)]


def test_each_report_is_a_step_of_the_first_workers_numbers(folder):
    reports = Reports(folder.path, 0)
    reports.after_report(None, [{"loss": 0.5, "text": "x"}, {"loss": 9.0}], None)
    reports.after_report(None, [{"loss": 0.25, "epoch": 7, "eval": {"f1": np.float32(0.5)}}, {"loss": 9.0}], None)
    assert recorded(folder) == [(1, 1, {"loss": 0.5}), (2, 7, {"loss": 0.25, "epoch": 7.0, "eval/f1": 0.5})]
    assert folder.progress().step == 2
    assert folder.progress().metrics["loss"] == 0.25
    assert read_position(folder).notes == ["'text' is no number, and not recorded"]


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1), (True, 1), (0.5, 0.5), (np.int64(3), 3), (np.array([2.0]), 2), (torch.tensor(4.0), 4)],
)
def test_numbers_of_every_library_are_taken(folder, value, number):
    reported = {"value": value, "several": np.arange(2), "tensor": torch.arange(2), "none": None}
    Reports(folder.path, 0).after_report(None, [reported], None)
    assert recorded(folder)[0][2] == {"value": number}


def test_values_that_are_not_finite_are_recorded_as_they_are(folder):
    Reports(folder.path, 0).after_report(None, [{"loss": math.nan, "norm": math.inf}], None)
    [(_, _, metrics)] = recorded(folder)
    assert math.isnan(metrics["loss"])
    assert metrics["norm"] == math.inf


def test_reports_may_have_other_keys_each_time(folder):
    reports = Reports(folder.path, 0)
    for metrics in ({"a": 1}, {"b": 2}, {}, {"a": 3}):
        reports.after_report(None, [metrics], None)
    assert recorded(folder) == [(1, 1, {"a": 1.0}), (2, 2, {"b": 2.0}), (4, 4, {"a": 3.0})]


def test_an_attempt_that_repeats_reports_records_each_value_once(folder):
    first = Reports(folder.path, 0)
    for step in range(1, 4):
        first.after_report(None, [{"loss": step}], object() if step == 2 else None)
    assert read_position(folder) == Position(3, 2, {"loss": 3.0})
    again = Reports(folder.path, 2)
    for step in range(3, 5):
        again.after_report(None, [{"loss": step}], None)
    assert [(step, metrics["loss"]) for step, _, metrics in recorded(folder)] == [(1, 1), (2, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize(
    ("name", "usable"), [("loss", "loss"), ("loss%", "loss_"), ("a//b", "a/b"), ("/a", "a"), ("../a", "a"), ("%", "_")]
)
def test_names_that_mlflow_refuses_are_changed_and_told(folder, name, usable):
    assert usable_name(name) == usable
    reports = Reports(folder.path, 0)
    for _ in range(2):
        reports.after_report(None, [{name: 1}], None)
    assert recorded(folder)[0][2] == {usable: 1.0}
    told = [f"MLflow takes no metric '{name}'; it is recorded as '{usable}'"]
    assert read_position(folder).notes == (told if name != usable else [])


def test_a_restart_counts_from_the_reports_that_rays_snapshot_has(tmp_path):
    storage = open_storage(str(tmp_path))
    assert reports_before(storage) == 0
    storage.put(SNAPSHOT, [b'{"current_report_index": 7, "latest_checkpoint_result": null}'])
    assert (reports_before(storage), newest_checkpoint(storage)) == (0, "")
    newest = b'{"checkpoint_dir_name": "checkpoint_a"}'
    storage.put(SNAPSHOT, [b'{"current_report_index": 7, "latest_checkpoint_result": ', newest, b"}"])
    assert (reports_before(storage), newest_checkpoint(storage)) == (7, "ray_train/checkpoint_a")


def test_the_failure_of_a_worker_is_the_one_that_caused_the_others():
    from ray.exceptions import ActorDiedError
    from ray.train import WorkerGroupError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    lost = FunctionFailed(WorkerResult("failed", "INFRASTRUCTURE", "it lost its peers", lost_peers=True))
    own = FunctionFailed(WorkerResult("failed", "USER_CODE", "finetune.py:3: ValueError: no"))
    assert result_of(WorkerGroupError("", {0: lost, 1: own}), 0).message == "finetune.py:3: ValueError: no"
    wrapped = WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())
    died = result_of(WorkerGroupError("", {0: lost, 1: wrapped}), 0)
    assert (died.cause, died.died, died.message) == ("INFRASTRUCTURE", True, "the process of worker 1 died")
    assert result_of(ActorDiedError(), 0).message == "the process of Ray Train's controller died"
