import time

import pytest
import torch

from stoker.execution.reporter import Reporter
from stoker.tracking.journal import read_journal
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder
from stoker.training.events import EpochEnd, StepEnd

EPOCHS, STEPS = 2, 20


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / "runs" / "a-1")
    run.create(RunHeader("a-1", "a", "t", "f", "d", 1.0, 1, "", ""), "")
    return run


@pytest.fixture
def reporter(folder):
    reporter = Reporter(folder)
    reporter.start(EPOCHS, STEPS)
    return reporter


def step(number, loss=0.5, norm=None):
    norms = {} if norm is None else {"network": norm}
    return StepEnd("a-1", 0, number, {"loss": (torch.tensor(loss), 1.0)}, {"network": 0.1}, norms)


def test_recorded_steps_reach_the_journal_once_and_others_do_not(folder, reporter):
    reporter.step(step(1, 0.25, torch.tensor(2.0)), recorded=True)
    reporter.step(step(2), recorded=False)
    reporter.step(step(3), recorded=True)
    reporter.flush()
    entries = [(entry.step, entry.metrics) for entry, _ in read_journal(folder.journal)]
    assert entries == [
        (1, {"loss/step": 0.25, "gradient_norm/step": 2.0, "learning_rate/step": 0.1}),
        (3, {"loss/step": 0.5, "learning_rate/step": 0.1}),
    ]


def test_values_of_several_groups_are_written_with_their_names(folder, reporter):
    rates, norms = {"generator": 0.1, "critic": 0.4}, {"generator": torch.tensor(1.0), "critic": torch.tensor(2.0)}
    sums = {"generator": (torch.tensor(6.0), 4.0), "critic": (torch.tensor(3.0), torch.tensor(2.0))}
    reporter.step(StepEnd("a-1", 0, 1, sums, rates, norms), recorded=True)
    reporter.flush()
    ((entry, _),) = read_journal(folder.journal)
    assert entry.metrics == {
        "generator/step": 1.5,
        "critic/step": 1.5,
        "gradient_norm_generator/step": 1.0,
        "gradient_norm_critic/step": 2.0,
        "learning_rate_generator/step": 0.1,
        "learning_rate_critic/step": 0.4,
    }


def test_an_epoch_is_written_at_once_after_its_steps(folder, reporter):
    reporter.step(step(1), recorded=True)
    reporter.step(step(2), recorded=True)
    reporter.epoch(EpochEnd("a-1", 1, 2, {"loss/val": 0.125}, True))
    entries = [entry for entry, _ in read_journal(folder.journal)]
    assert [entry.step for entry in entries] == [1, 2, 2]
    assert entries[-1].metrics == {"loss/val": 0.125}
    progress = folder.progress()
    assert (progress.epoch, progress.epochs, progress.step, progress.steps) == (1, 2, 2, 20)
    assert progress.metrics == {"loss/val": 0.125}
    assert progress.seconds_left >= 0


def test_the_first_step_is_reported_at_once(folder, reporter):
    reporter.step(step(1), recorded=True)
    assert folder.progress().step == 1
    assert [entry.step for entry, _ in read_journal(folder.journal)] == [1]


def test_a_resumed_attempt_repeats_nothing_and_measures_its_own_speed(folder, reporter):
    for number in (1, 2, 3):
        reporter.step(step(number, number / 10), recorded=True)
    reporter.flush()
    reporter.close()
    again = Reporter(folder)
    again.start(EPOCHS, STEPS, 2)
    assert folder.progress().step == 2
    began = time.monotonic()
    again.step(step(3, 9.0), recorded=True)
    assert folder.progress().seconds_left <= 17 * (time.monotonic() - began) + 1
    again.step(step(4), recorded=True)
    again.sync()
    values = [(entry.step, entry.metrics["loss/step"]) for entry, _ in read_journal(folder.journal)]
    assert values == [(1, pytest.approx(0.1)), (2, pytest.approx(0.2)), (3, pytest.approx(0.3)), (4, 0.5)]


def test_the_results_only_add_metrics_without_a_curve(folder, reporter):
    reporter.epoch(EpochEnd("a-1", 2, 20, {"loss/val": 0.125}, True))
    reporter.final(20, 1, {"loss/val": 0.1, "loss/test": 0.2})
    reporter.close()
    Reporter(folder).final(20, 1, {"loss/val": 0.1, "loss/test": 0.2})
    entries = [(entry.step, entry.metrics) for entry, _ in read_journal(folder.journal)]
    assert entries == [(20, {"loss/val": 0.125}), (20, {"loss/test": 0.2})]


def test_a_picture_is_written_before_its_entry_and_listed_until_it_is_stored(folder, reporter):
    for epoch, png in ((1, b"one"), (2, b"two")):
        reporter.picture(EpochEnd("a-1", epoch, 10 * epoch, {}, True), "seen", png)
    names = [f"pictures/seen-{step:012d}.png" for step in (10, 20)]
    entries = [(entry.step, entry.epoch, entry.picture) for entry, _ in read_journal(folder.journal)]
    assert entries == [(10, 1, names[0]), (20, 2, names[1])]
    assert reporter.pictures_since(0) == {names[0]: b"one", names[1]: b"two"}
    assert reporter.pictures_since(10) == {names[1]: b"two"}
    reporter.close()
    again = Reporter(folder)
    again.picture(EpochEnd("a-1", 2, 20, {}, True), "seen", b"two")
    assert again.pictures_since(0) == {names[1]: b"two"}  # only those of this attempt
    assert [entry.picture for entry, _ in read_journal(folder.journal)] == names


def test_a_weakness_is_told_once_and_stays_in_the_progress_until_it_is_over(folder, reporter, capsys):
    for number, metrics in enumerate(({"diversity/val": 0.3}, {"loss/val": 1.0}, {"diversity/val": 0.2}), start=1):
        reporter.epoch(EpochEnd("a-1", number, number, metrics, True))
        assert list(folder.progress().notes) == ["mode collapse"]
    assert capsys.readouterr().err.count("note: diversity is") == 1
    assert "0.2 on val" in folder.progress().notes["mode collapse"]
    reporter.epoch(EpochEnd("a-1", 4, 4, {"diversity/val": 0.8}, True))
    assert folder.progress().notes == {}
