import pytest
import torch

from stoker.execution.reporter import Cancelled, Reporter
from stoker.spec.loading import parse_job
from stoker.tracking.journal import read_journal
from stoker.tracking.record import RunFolder, RunHeader
from stoker.training.assembly import prepare
from stoker.training.loop import EpochEnd, StepEnd


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / "runs" / "a-1")
    run.create(RunHeader("a-1", "a", "t", "f", "d", 1.0, 1, "", ""), "")
    return run


@pytest.fixture
def reporter(folder):
    reporter = Reporter(folder)
    job = parse_job("task: tabular-classification\ndataset: xor\ntraining: {epochs: 2}\n", "x.yaml").job
    reporter.begin(prepare(job))
    return reporter


def step(number, loss=0.5, norm=None):
    return StepEnd("a-1", 0, number, {"loss": torch.tensor(loss)}, 0.1, norm)


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


def test_the_first_step_is_told_at_once(folder, reporter):
    reporter.step(step(1), recorded=True)
    assert folder.progress().step == 1
    assert [entry.step for entry, _ in read_journal(folder.journal)] == [1]


def test_a_request_to_cancel_ends_training(folder, reporter):
    folder.cancel_request.touch()
    with pytest.raises(Cancelled):
        reporter.say("evaluating")
