"""Synchronous trials, and trials that continue from each other."""

import json
import math
import os
import random
import signal

import pytest
from ray.tune.schedulers import TrialScheduler

from stoker.execution.driver import TERMINATED_EXIT_CODE
from stoker.execution.sweeps.batched_scheduler import EPOCH
from stoker.execution.sweeps.pbt import PbtScheduler, PbtSpace, SyncSchedule, build_pbt, seeded
from stoker.job.sweep import Pb2
from stoker.jobfile.loading import load_job, parse_job
from stoker.jobfile.space.reading import read_space
from stoker.tracking.journal import read_journal
from stoker.tracking.ledger import ledger_entries, read_trials
from stoker.tracking.run import State
from stoker.tracking.trials import read_facts

LR, MOMENTUM = "training.optimizer.lr", "training.optimizer.momentum"
JOB = """
name: small
task: image-classification
dataset: digits
architecture: {family: mlp, hidden: [32]}
training: {epochs: 6, batch_size: 64, precision: fp32, schedule: constant, optimizer: sgd}
tracking: none
resources: {cpus: 1, retries: 0}
"""
HYPERBAND = (
    JOB.replace("epochs: 6", "epochs: 9")
    + """
sweep:
  trials: 9
  parallel: 2
  scheduler: {type: hyperband, reduction: 3}
  space: {training.optimizer.lr: {min: 1e-4, max: 1, log: true}}
"""
)
PBT = (
    JOB
    + """
sweep:
  trials: 4
  parallel: 2
  scheduler: {type: pbt, every: 2 epochs}
  space:
    training.optimizer.lr: {min: 1e-4, max: 1, log: true}
    training.optimizer.momentum: [0.9, 0, 0.5]
"""
)


def parse(text, *sets):
    return parse_job(text, "small.yaml", sets).job


def population_of(scheduler="pbt", space="{training.optimizer.lr: {min: 1e-4, max: 1, log: true}}", where="[]"):
    job = parse(f"{JOB}\nsweep: {{trials: 4, scheduler: {scheduler}, space: {space}, where: {where}}}")
    return PbtSpace(read_space(job), logarithms=isinstance(job.sweep.scheduler, Pb2))


class Tuned:
    """The attributes that Tune's scheduler reads of a trial whose values it changes."""

    def __init__(self, config):
        self.config = config


def changed(population, picks, seed=0, **settings):
    """Change a point by Tune, as for a trial that continues from another one."""
    scheduler = population.space.job.sweep.scheduler.model_copy(update=settings)
    inner = build_pbt(scheduler, "max", population, lambda number: picks)
    source = Tuned({"number": 7, "folder": "/f", "files": {}, **population.to_tune(picks)})
    with seeded(str(seed)):
        config, _ = inner._get_new_config(Tuned({}), source)
    assert config["number"] == 7  # other keys are kept: the number identifies the source
    return population.from_tune(config)


def test_values_are_perturbed_by_a_fifth_within_their_range():
    population = population_of()
    inner = [changed(population, {LR: 0.01}, seed, resample=0.0)[LR] for seed in range(20)]
    assert {round(value, 9) for value in inner} == {0.008, 0.012}
    assert {changed(population, {LR: 0.95}, seed, resample=0.0)[LR] for seed in range(20)} == {0.95 * 0.8, 1.0}
    low = {changed(population, {LR: 1.1e-4}, seed, resample=0.0)[LR] for seed in range(20)}
    assert sorted(low) == pytest.approx([1e-4, 1.32e-4])


def test_log_scaled_values_are_resampled_log_uniformly():
    drawn = [changed(population_of(), {LR: 0.01}, seed, resample=1.0)[LR] for seed in range(400)]
    assert all(1e-4 <= value <= 1 for value in drawn)
    below = sum(value < 1e-2 for value in drawn)
    assert 160 < below < 240  # half of the four orders; evenly over the numbers it would be 4


def test_seeded_draws_repeat_and_do_not_affect_global_generators():
    population = population_of()
    random.seed(1)
    before = random.getstate()
    assert changed(population, {LR: 0.01}, 3, resample=1.0) == changed(population, {LR: 0.01}, 3, resample=1.0)
    assert changed(population, {LR: 0.01}, 3, resample=1.0) != changed(population, {LR: 0.01}, 4, resample=1.0)
    assert random.getstate() == before


def test_options_move_to_the_neighbour_in_size_and_steps_to_the_next():
    options = population_of(space="{training.optimizer.momentum: [0.9, 0, 0.5]}")
    assert {changed(options, {MOMENTUM: 2}, seed, resample=0.0)[MOMENTUM] for seed in range(20)} == {0, 1}
    assert {changed(options, {MOMENTUM: 1}, seed, resample=0.0)[MOMENTUM] for seed in range(20)} == {1, 2}
    steps = population_of(space="{training.optimizer.lr: {min: 0.1, max: 0.5, step: 0.1}}")
    assert {changed(steps, {LR: 0.3}, seed, resample=0.0)[LR] for seed in range(20)} == {0.2, 0.4}


def test_a_change_that_violates_a_condition_is_not_applied():
    population = population_of(where="['training.optimizer.lr <= 0.01']")
    found = {changed(population, {LR: 0.01}, seed, resample=0.0)[LR] for seed in range(20)}
    assert sorted(found) == pytest.approx([0.008, 0.01])


def test_pb2_sees_the_logarithms_of_log_scaled_values():
    population = population_of("pb2")
    assert population.bounds() == {LR: [math.log(1e-4), 0.0]}
    assert population.from_tune(population.to_tune({LR: 0.01})) == {LR: pytest.approx(0.01)}
    assert population.from_tune({LR: 1e-6}) == {LR: 1.0}  # Tune rounds to 32 bits


class Recording(TrialScheduler):
    """Records its calls, and pauses all trials."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_trial_result(self, tune_controller, trial, result):
        self.epochs.append(result[EPOCH])
        return self.PAUSE


class FakeController:
    """The part of Tune that a synchronization needs."""

    def __getattr__(self, name):
        return list


def test_a_resumed_population_synchronizes_first_after_its_furthest_trial():
    inner = Recording()
    exchange = PbtScheduler(inner, SyncSchedule(every=3, after=7, seed=0), lambda trial: 0, lambda trial: None)
    decisions = [exchange.on_trial_result(FakeController(), Tuned({}), {EPOCH: epoch}) for epoch in range(4, 13)]
    assert [epoch for epoch, decision in zip(range(4, 13), decisions, strict=True) if decision == "PAUSE"] == [9, 12]
    assert inner.epochs == [3, 6]  # counted from the last synchronization before the restart


def check_epochs(run, epochs):
    """Check that no epoch is reported twice or skipped, and that completed trials reported all."""
    for trial in run.trials:
        told = [report.epoch for report in trial.reports]
        assert told == list(range(1, len(told) + 1)), f"trial {trial.number}"
        if trial.state is State.SUCCEEDED:
            assert len(told) == epochs
        points = [
            (key, entry.step)
            for entry, _ in read_journal(run.folder.trial(trial.number).journal)
            for key in entry.metrics
        ]
        assert len(points) == len(set(points))
        steps = [step for key, step in points if key == "loss/step"]
        assert steps == list(range(steps[0], steps[-1] + 1, steps[0]))


def check_values(folder, trial):
    """Check that a trial's files, journal and optimizer agree with the values of the ledger."""
    for path in (folder.job, folder.resolved):
        assert load_job(path).job.training.optimizer.lr == trial.values[LR]
    begun = next(e for e in ledger_entries(folder.sweep.ledger) if e["event"] == "begin" and e["trial"] == trial.number)
    schedule = [(0, begun["values"][LR])] + [(change.epoch, change.values[LR]) for change in trial.changes]
    for entry, _ in read_journal(folder.journal):
        if "learning_rate/step" in entry.metrics:
            assert entry.metrics["learning_rate/step"] == [lr for epoch, lr in schedule if epoch <= entry.epoch][-1]


@pytest.mark.slow
def test_hyperband_pauses_and_resumes_trials(driven):
    run = driven(parse(HYPERBAND))
    run.interrupt_when(lambda trials: any(trial.epoch == 3 for trial in trials))
    assert run.drive() == TERMINATED_EXIT_CODE  # at once, although there are paused trials
    assert run.drive() == 0
    check_epochs(run, 9)
    states = [trial.state for trial in run.trials]
    assert set(states) == {State.SUCCEEDED, State.PRUNED}
    best = read_facts(run.folder).best
    assert states[best] is State.SUCCEEDED
    assert (run.folder.trial(best).model / "weights.safetensors").is_file()
    first = {number: trial.reports[0].metrics["accuracy/val"] for number, trial in enumerate(run.trials)}
    pruned = [number for number in first if states[number] is State.PRUNED]
    assert min(first, key=lambda number: first[number]) in pruned


@pytest.mark.slow
def test_the_worst_trial_continues_from_the_best_with_its_own_values(driven):
    run = driven(parse(PBT))
    assert run.drive() == 0
    check_epochs(run, 6)
    changes = [(trial, change) for trial in run.trials for change in trial.changes]
    assert {change.epoch for _, change in changes} == {2, 4}  # not at the end, where a change is useless
    by_number = {trial.number: trial for trial in run.trials}
    for trial, change in changes:
        before, after = (trial.reports[change.epoch + place].metrics["accuracy/val"] for place in (-1, 0))
        source = by_number[change.source].reports[change.epoch - 1].metrics["accuracy/val"]
        assert before < source
        assert abs(after - source) < abs(after - before)
        assert 1e-4 <= change.values[LR] <= 1
        assert change.values[MOMENTUM] in (0.9, 0, 0.5)
        assert trial.values == trial.changes[-1].values
    for trial in run.trials:
        check_values(run.folder.trial(trial.number), trial)
        assert trial.state is State.SUCCEEDED
        if "accuracy/val" in trial.metrics:  # its score must be that of its model
            assert trial.score("accuracy/val", "max") == pytest.approx(trial.metrics["accuracy/val"], abs=1e-6)
    assert not (run.folder.checkpoints / "copies").exists()


@pytest.mark.slow
def test_the_same_file_gives_the_same_changes(driven):
    one, other = driven(parse(PBT)), driven(parse(PBT), "other")
    assert one.drive() == other.drive() == 0
    told = [[(t.number, c.epoch, c.source, c.values) for t in run.trials for c in t.changes] for run in (one, other)]
    assert told[0] == told[1] != []


@pytest.mark.slow
def test_a_killed_population_resumes_with_its_values(home, job_file, until):
    text = PBT.replace("epochs: 6", "epochs: 30").replace("every: 2", "every: 3")
    folder = home.run(home.json("submit", job_file(text), "--detach")["id"])

    def changes():
        return sum(len(trial.changes) for trial in read_trials(folder.ledger))

    until(lambda: changes() >= 2, "two exchanges", 120)
    os.kill(folder.driver_pid(), signal.SIGKILL)
    until(lambda: not folder.has_driver(), "the lease to end")
    assert folder.record().state is State.INTERRUPTED
    kept = {trial.number: trial for trial in read_trials(folder.ledger)}
    before = len(list(ledger_entries(folder.ledger)))
    home.stoker("resume", folder.path.name)
    assert folder.record().state is State.SUCCEEDED
    later = list(ledger_entries(folder.ledger))[before:]
    assert not [entry for entry in later if entry["event"] == "begin"]

    class Run:
        trials = read_trials(folder.ledger)

    Run.folder = folder
    check_epochs(Run, 30)
    for trial in Run.trials:
        assert trial.changes[: len(kept[trial.number].changes)] == kept[trial.number].changes
        check_values(folder.trial(trial.number), trial)
    meetings = {change.epoch for trial in Run.trials for change in trial.changes}
    assert all(epoch % 3 == 0 for epoch in meetings)
    assert json.loads(json.dumps([trial.values for trial in Run.trials])) == [trial.values for trial in Run.trials]
