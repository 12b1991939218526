"""Sweeps on one embedded Ray, whose processes are reused; their drivers are called directly."""

import json
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from stoker.execution.driver import TERMINATED_EXIT_CODE
from stoker.jobfile.loading import load_job, parse_job
from stoker.tracking.ledger import ledger_entries
from stoker.tracking.run import State
from stoker.tracking.trials import read_facts, write_facts

JOBS = sorted((Path(__file__).parents[3] / "jobs").rglob("*-sweep*.yaml"))
SMALL = {
    "digits-sweep": ["sweep.trials=6", "training.epochs=4"],
    "digits-sweep-hyperband": ["sweep.trials=4", "training.epochs=4"],
    "digits-sweep-pbt": ["training.epochs=4"],
    "digits-sweep-pb2": ["training.epochs=4"],
    "digits-sweep-grid": ["training.epochs=1"],
    "digits-sweep-median": ["sweep.trials=6", "training.epochs=4", "sweep.scheduler.trials=2"],
    "diabetes-sweep-gp": ["sweep.trials=3", "training.epochs=3"],
}
QUICK = ("digits-sweep",)
JOB = """
name: small
task: image-classification
dataset: digits
architecture: {family: mlp, hidden: [32]}
training: {epochs: 3, batch_size: 64, precision: fp32}
tracking: none
resources: {cpus: 1, retries: 0}
sweep:
  trials: 5
  keep: 2
  space:
    training.optimizer.lr: {min: 1e-4, max: 1e-1, log: true}
    architecture.hidden: [[16], [32]]
"""


@pytest.fixture
def sweep(driven):
    return driven


def make(text=JOB, *sets):
    return parse_job(text, "small.yaml", sets).job


def require_the_best(run, trials):
    """Require so many trials, each report of each once, and the model and metrics of the best."""
    facts = read_facts(run.folder)
    assert {trial.state for trial in run.trials} <= {State.SUCCEEDED, State.PRUNED}
    assert len(run.trials) == trials
    best = next(trial for trial in run.trials if trial.number == facts.best)
    assert best.state is State.SUCCEEDED
    assert (run.folder.trial(best.number).model / "weights.safetensors").is_file()
    assert run.folder.status().metrics == {key: value for key, value in best.metrics.items() if "/" in key}
    told = Counter(
        (entry["trial"], entry["epoch"]) for entry in ledger_entries(run.folder.ledger) if entry["event"] == "report"
    )
    assert set(told.values()) == {1}


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow) for path in JOBS]
)
def test_every_sweep_of_the_jobs_finds_a_best_trial(sweep, path):
    small = SMALL.get(path.stem, ["sweep.trials=4", "training.epochs=2"])
    job = load_job(path, ["tracking=none", "training.precision=fp32", "resources.cpus=1", *small]).job
    run = sweep(job)
    assert run.drive() == 0, run.folder.log
    require_the_best(run, job.sweep.trials or 6)


@pytest.mark.slow
def test_the_same_file_gives_the_same_points_and_only_the_best_models_are_kept(sweep):
    one, other = sweep(make()), sweep(make(), "other")
    assert one.drive() == other.drive() == 0
    assert [trial.values for trial in one.trials] == [trial.values for trial in other.trials]
    models = [trial.number for trial in one.trials if one.folder.trial(trial.number).model.exists()]
    scores = {trial.number: trial.score("accuracy/val", "max") for trial in one.trials}
    assert sorted(scores, key=lambda number: (-scores[number], number))[:2] == sorted(
        models, key=lambda number: (-scores[number], number)
    )
    assert all(one.folder.trial(number).journal.exists() for number in scores)


@pytest.mark.slow
def test_an_interrupted_sweep_resumes_without_repeating_a_trial(sweep):
    job = make(JOB, "training.epochs=12", "training.checkpoint.every=1 epoch")
    whole, cut = sweep(job, "whole"), sweep(job, "cut")
    assert whole.drive() == 0
    require_the_best(whole, 5)
    cut.interrupt_when(lambda trials: any(trial.state.final for trial in trials))
    assert cut.drive() == TERMINATED_EXIT_CODE
    ended = {trial.number: trial for trial in cut.trials if trial.state.final}
    assert 0 < len(ended) < 5
    before = len(list(ledger_entries(cut.folder.ledger)))
    assert cut.drive() == 0
    after = list(ledger_entries(cut.folder.ledger))[before:]
    assert not {entry["trial"] for entry in after} & ended.keys()
    assert [trial.values for trial in cut.trials] == [trial.values for trial in whole.trials]
    assert [trial.reports[-1].metrics["accuracy/val"] for trial in cut.trials] == [
        trial.reports[-1].metrics["accuracy/val"] for trial in whole.trials
    ]
    require_the_best(cut, 5)
    assert read_facts(cut.folder).best == read_facts(whole.folder).best
    for trial in cut.trials:
        steps = [json.loads(line)["step"] for line in cut.folder.trial(trial.number).journal.read_text().splitlines()]
        epochs = [report.epoch for report in trial.reports]
        assert epochs == list(range(1, 13))
        assert max(steps) == trial.reports[-1].step


@pytest.mark.slow
def test_a_sweep_without_resources_is_shown_as_waiting(sweep, monkeypatch):
    monkeypatch.setattr("stoker.execution.sweeps.tuning.START_S", 0.5)
    run = sweep(make(JOB, "training.epochs=1", "sweep.trials=1"))
    other = ray.remote(num_cpus=2)(Counter).remote()
    ray.get(other.__ray_ready__.remote())
    phases = []

    def make_room():
        while "waiting for resources for a trial" not in phases:
            phases.append(run.folder.status().phase)
            time.sleep(0.05)
        ray.kill(other)
        while run.folder.status().phase:
            time.sleep(0.05)
        phases.append("")

    room = threading.Thread(target=make_room)
    room.start()
    assert run.drive() == 0
    room.join(60)
    assert phases[-2:] == ["waiting for resources for a trial", ""]


@pytest.mark.slow
def test_a_cancelled_trial_ends_alone(sweep):
    run = sweep(make(JOB, "training.epochs=100", "sweep.trials=2"))

    def cancel():
        while not any(trial.number == 1 and trial.epoch > 3 for trial in run.trials):
            time.sleep(0.02)
        run.folder.trial(1).cancel_request.touch()

    threading.Thread(target=cancel, daemon=True).start()
    assert run.drive() == 0
    assert [trial.state for trial in run.trials] == [State.SUCCEEDED, State.CANCELLED]


WILD = """
name: wild
task: tabular-regression
dataset: diabetes
architecture: {family: mlp, hidden: [32]}
training: {epochs: 3, batch_size: 64, precision: fp32}
tracking: none
resources: {cpus: 1}
sweep:
  search: grid
  space:
    training.optimizer: [{type: sgd, lr: 1000}, {type: adamw, lr: 1e-2}]
"""


@pytest.mark.slow
def test_a_failing_trial_is_recorded_and_the_others_go_on(sweep):
    run = sweep(make(WILD))
    assert run.drive() == 0
    states = Counter(trial.state for trial in run.trials)
    assert states == {State.FAILED: 1, State.SUCCEEDED: 1}
    assert {trial.cause for trial in run.trials if trial.state is State.FAILED} == {"NON_FINITE"}


@pytest.mark.slow
def test_too_many_failing_trials_end_the_sweep(sweep):
    worse = sweep(make(WILD, "sweep.failures=1", "sweep.parallel=1"), "worse")
    assert worse.drive() == 1
    status = worse.folder.status()
    assert status.cause == "NON_FINITE"
    assert "1 of 1 trials failed" in status.message
    assert all(trial.state.final for trial in worse.trials)


@pytest.mark.slow
def test_a_time_limit_ends_a_sweep_with_the_best_finished_trial(sweep):
    run = sweep(make(JOB, "sweep.time=20 s", "sweep.trials=100000"))  # some of the time is for starting processes
    began = time.monotonic()
    assert run.drive() == 0
    assert time.monotonic() - began < 90
    assert 0 < len(run.trials) < 1000
    assert all(trial.state.final for trial in run.trials)
    assert read_facts(run.folder).best is not None


@pytest.mark.slow
def test_the_time_of_a_sweep_is_that_of_all_its_drivers(sweep, monkeypatch):
    monkeypatch.setattr("stoker.execution.sweeps.driver.TIME_EVERY_S", 0.5)
    run = sweep(make(JOB, "sweep.time=1000 s", "sweep.trials=100000"))
    run.interrupt_when(lambda trials: sum(trial.state.final for trial in trials) >= 8)
    assert run.drive() == TERMINATED_EXIT_CODE
    worked_s = read_facts(run.folder).worked_s
    assert 0 < worked_s < 60
    write_facts(run.folder, replace(read_facts(run.folder), worked_s=995.0))
    began = time.monotonic()
    assert run.drive() == 0
    assert time.monotonic() - began < 60
    assert (read_facts(run.folder).best is not None, read_facts(run.folder).worked_s) == (True, 0.0)


@pytest.mark.slow
def test_more_trials_follow_a_finished_sweep(sweep):
    run = sweep(make())
    assert run.drive() == 0
    (run.folder.path / "more_trials").write_text("2")
    before = len(list(ledger_entries(run.folder.ledger)))
    run.folder.reopen()
    assert run.drive() == 0
    assert [trial.number for trial in run.trials] == list(range(7))
    assert {entry["trial"] for entry in list(ledger_entries(run.folder.ledger))[before:]} == {5, 6}
