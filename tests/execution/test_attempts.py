"""Runs that fail, with and without automatic retries."""

import os
import signal

import psutil
import pytest
from mlflow import MlflowClient

from stoker.jobfile.loading import load_job
from stoker.tracking.journal import read_journal
from stoker.tracking.run import State

DIGITS = """
name: digits
task: image-classification
architecture: {family: mlp, hidden: [32]}
dataset: digits
training: {epochs: 250, batch_size: 64, precision: fp32}
resources: {cpus: 1}
"""
CUSTOM = """
name: own
task: tabular-classification
architecture: {family: custom, class: "own:Network", fault: FAULT}
dataset: iris
training: {epochs: 500, batch_size: 64, precision: fp32, checkpoint: {every: 4 steps}}
resources: {cpus: 1}
tracking: none
"""
NETWORK = """
import os
from pathlib import Path

import torch
from torch import nn


class Network(nn.Module):
    def __init__(self, fault):
        super().__init__()
        self.fault, self.layer = fault, nn.Linear(4, 3)
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, numbers):
        if self.training and self.steps == 0:
            print("says the network")
        self.steps += self.training
        mark = Path(__file__).with_name(f"died-{int(self.steps)}")
        if self.training and self.fault == "dies on its way" and self.steps % 30 == 0 and not mark.exists():
            mark.touch()
            os._exit(1)
        if self.fault == "needs memory" and len(numbers) > 20:
            raise MemoryError
        if self.steps == 30 and self.fault in ("raises", "dies"):
            if self.fault == "dies":
                os._exit(1)
            return self.wrong(numbers)
        return self.layer(numbers)

    def wrong(self, numbers):
        return numbers @ self.layer.weight
"""


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicated", "fsdp"])
def test_a_killed_worker_and_a_killed_driver_do_not_change_the_result(home, job_file, until, parallel):
    alone = home.run(home.json("submit", job_file(DIGITS))["id"])
    divided = ("--set", f"training.parallel={parallel}")
    job = home.json("submit", job_file(DIGITS), "--set", "resources.workers=2", *divided, "--detach")
    run = home.run(job["id"])
    until(lambda: run.progress().step > 400 and run.status().checkpoint_step, "the first epochs", 120)
    workers = _workers_of(run)
    assert len(workers) == 2
    workers[1].kill()
    until(lambda: run.status().attempt == 2, "another attempt", 120)
    seen = run.status().checkpoint_step
    until(lambda: run.status().checkpoint_step > seen, "its first checkpoint", 120)
    os.kill(run.driver_pid(), signal.SIGKILL)
    until(lambda: not run.has_driver(), "the lease to end")
    assert run.record().state is State.INTERRUPTED
    home.stoker("resume", run.path.name)
    status = run.record().status
    assert (status.state, status.attempt) == (State.SUCCEEDED, 3)

    expected, found = _points(alone), _points(run)
    assert found.keys() == expected.keys()
    early = [point for point in expected if point[1] <= 2 * 23]
    assert {point: found[point] for point in early} == pytest.approx({p: expected[p] for p in early}, abs=1e-5)
    client = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits")
    assert len(client.search_runs([experiment.experiment_id])) == 2
    for key in {key for key, _ in found}:
        stored = sorted((metric.step, metric.value) for metric in client.get_metric_history(status.mlflow_run, key))
        assert stored == sorted((step, value) for (name, step), value in found.items() if name == key)
    page = client.get_run(status.mlflow_run)
    assert (page.info.status, page.data.tags["stoker.attempts"]) == ("FINISHED", "3")
    assert len(page.outputs.model_outputs) == 1


def test_a_users_error_at_the_same_step_twice_ends_the_run_with_their_line(home, job_file, tmp_path):
    (tmp_path / "own.py").write_text(NETWORK)
    home.stoker("submit", job_file(CUSTOM.replace("FAULT", "raises")), succeeds=False)
    (run,) = (home.run(path.name) for path in home.path.glob("runs/*"))
    status = run.record().status
    assert (status.state, status.cause, status.attempt) == (State.FAILED, "USER_CODE", 2)
    assert status.message.startswith("own.py:32: RuntimeError: ")
    log = run.log.read_text()
    assert "in wrong" in log
    assert "says the network" in home.stoker("logs", run.path.name, "--rank", "0")
    assert not home.stoker("logs", run.path.name, "--rank", "1")
    assert "stoker/training" not in log
    assert 0 < status.checkpoint_step <= 28  # one that is due while another is written is left out


@pytest.mark.slow
def test_a_worker_that_dies_at_the_same_step_each_time_is_a_crash_loop(home, job_file, tmp_path):
    (tmp_path / "own.py").write_text(NETWORK)
    home.stoker("submit", job_file(CUSTOM.replace("FAULT", "dies")), succeeds=False)
    (run,) = (home.run(path.name) for path in home.path.glob("runs/*"))
    status = run.record().status
    assert (status.state, status.cause, status.attempt) == (State.FAILED, "CRASH_LOOP", 3)
    assert "after step 29" in status.message
    assert not (home.path / "mlflow.db").exists()  # tracking: none


@pytest.mark.slow
def test_deaths_with_progress_between_them_are_not_counted_together(home, job_file, tmp_path):
    (tmp_path / "own.py").write_text(NETWORK)
    job = job_file(CUSTOM.replace("FAULT", "dies on its way"))
    run = home.run(home.json("submit", job, "--set", "training.steps=70", "--set", "resources.retries=1")["id"])
    assert (run.record().status.state, run.record().status.attempt) == (State.SUCCEEDED, 3)


@pytest.mark.slow
def test_a_lack_of_memory_halves_the_micro_batch_until_it_fits(home, job_file, tmp_path):
    (tmp_path / "own.py").write_text(NETWORK)
    job = job_file(CUSTOM.replace("FAULT", "needs memory"))
    run = home.run(home.json("submit", job, "--set", "training.steps=10")["id"])
    assert (run.record().status.state, run.record().status.attempt) == (State.SUCCEEDED, 3)
    training = load_job(run.resolved, code=run.code).job.training
    assert (training.batch_size, training.micro_batch) == (64, 16)
    roomy = home.run(home.json("submit", job_file(CUSTOM.replace("FAULT", "none")), "--set", "training.steps=10")["id"])
    assert _points(run) == pytest.approx(_points(roomy), abs=1e-5)


def _workers_of(run):
    tree = psutil.Process(run.driver_pid()).children(recursive=True)
    return [process for process in tree if process.name().startswith("ray::Worker")]


def _points(run):
    """Read every value of the journal by key and step, and check that none is duplicated."""
    points = [((key, e.step), value) for e, _ in read_journal(run.journal) for key, value in e.metrics.items()]
    assert len(points) == len(dict(points))
    return dict(points)
