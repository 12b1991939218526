"""Watching a sweep: a live table on a terminal, a line for each trial that ends in a pipe."""

import io
import threading

import click
import pytest
from rich.console import Console

from stoker.cli.attach import attach
from stoker.cli.views.sweep import require_sweep
from stoker.cli.views.sweep_progress import MAX_LINES, SUMMARY_EVERY_S, SweepLines, live_view
from stoker.clusters.local.cluster import LocalCluster
from stoker.settings import Settings
from stoker.tracking.run import State


@pytest.fixture
def sweep(make_sweep, drive):
    """Twelve trials have ended, four are under way."""
    made = make_sweep()
    drive(made.folder)
    for number in range(16):
        state = State.RUNNING if number > 11 else State.PRUNED if number % 2 else State.SUCCEEDED
        made.trial(number, state, 0.8 + number / 100)
    return made


def drawn(sweep, width: int, height: int, left_s: float = 65.0) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(live_view(require_sweep(sweep.folder), left_s, height, width))
    return console.file.getvalue().splitlines()


def test_the_table_shows_what_runs_and_what_is_best(sweep):
    head, best, _, names, *lines = drawn(sweep, 120, 40)
    assert head.startswith("12/40 trials")
    assert "4 running, 6 succeeded, 6 pruned" in head
    assert head.rstrip().endswith("1 min 5 s left")
    assert best == "best: trial 15  accuracy/val 0.95  lr=0.3 hidden=[]"
    assert names.split() == ["trial", "state", "lr", "hidden", "accuracy/val", "epoch", "duration"]
    assert [line.split()[:2] for line in lines[:4]] == [[str(number), "RUNNING"] for number in range(12, 16)]
    assert lines[4].strip() == ""
    assert [line.split()[0] for line in lines[5:]] == [str(number) for number in range(11, 1, -1)]


def test_trials_beyond_those_that_train_at_once_are_queued(make_sweep, drive):
    made = make_sweep(parallel=2)
    drive(made.folder)
    made.trial(0, State.RUNNING, 0.9)
    for number in (1, 2, 3):
        made.ledger.begin(number, {}, {"training.optimizer.lr": 0.1})
    sweep = require_sweep(made.folder)
    assert [sweep.state(trial) for trial in sweep.trials] == [State.RUNNING] * 2 + [State.QUEUED] * 2
    assert sweep.counts() == {"RUNNING": 2, "QUEUED": 2}


@pytest.mark.parametrize("width", [50, 80, 200])
@pytest.mark.parametrize("height", [8, 12, 24])
@pytest.mark.parametrize("running", [0, 40])
def test_the_table_fits_the_terminal(width, height, running, sweep):
    for number in range(16, 16 + running):
        sweep.trial(number, State.RUNNING, 0.5)
    lines = drawn(sweep, width, height)
    assert len(lines) <= height
    assert all(len(line.rstrip()) <= width for line in lines)
    assert any(line.startswith("... and ") for line in lines) or not running


def test_a_sweep_without_trials_shows_what_it_is_busy_with(make_sweep, drive):
    made = make_sweep()
    drive(made.folder)
    head, *_ = drawn(made, 80, 24, left_s=0.0)
    assert head.split() == ["0/40", "trials", *head.split()[2:-1], "training"]


def test_a_pipe_gets_a_line_for_each_trial_that_ends(home, make_sweep, drive, capsys):
    made = make_sweep()
    driver = drive(made.folder)

    def end() -> None:
        made.trial(0, State.PRUNED, 0.91)
        driver.tell(status={"state": "SUCCEEDED"})
        driver.end()

    timer = threading.Timer(0.4, end)
    timer.start()
    record = attach(LocalCluster(Settings(home, "")), made.folder)
    timer.join()
    assert record.state is State.SUCCEEDED
    said = "trial 0  PRUNED at epoch 1  accuracy/val 0.91  lr=0.3 hidden=[]   1/40, best 0.91 (trial 0)\n"
    assert click.unstyle(capsys.readouterr().out) == said


def test_a_run_that_turns_out_to_be_a_sweep_is_watched_as_one(home, make_run, make_sweep, drive, capsys):
    """Ray starts before anybody knows of a trial."""
    folder = make_run()
    driver = drive(folder)
    attached = threading.Thread(target=attach, args=(LocalCluster(Settings(home, "")), folder))
    attached.start()
    sweep = make_sweep("other-00000001")
    sweep.begin(0, training__optimizer__lr=0.5)
    sweep.end(0, State.FAILED, "NON_FINITE", "loss is nan")
    folder.ledger.write_bytes(sweep.folder.ledger.read_bytes())
    (folder.path / "facts").write_bytes(sweep.folder.facts.read_bytes())
    (folder.path / "facts").rename(folder.facts)
    driver.tell(status={"state": "FAILED"})
    attached.join(20)
    assert not attached.is_alive()
    assert "training" in capsys.readouterr().out


def test_lines_are_limited_in_number_and_count_the_omitted_trials(sweep):
    chooser, known = SweepLines(), require_sweep(sweep.folder)

    def lines(known, time_s: float, last: bool = False) -> list[str]:
        return [click.unstyle(line) for line in chooser.due(known, time_s, last)]

    standing = "4 running, 6 succeeded, 6 pruned, best 0.95 (trial 15)"
    assert lines(known, 0.0) == [f"12/40 trials: {standing}"]
    for number in range(16, 25):
        sweep.trial(number, State.PRUNED, 0.5)
    more = require_sweep(sweep.folder)
    first, *_, last = told = lines(more, 0.5)
    assert len(told) == MAX_LINES + 1
    assert first == f"{9 - MAX_LINES} other trials ended"
    assert last.startswith("trial 24  PRUNED at epoch 1  accuracy/val 0.5  ")
    assert last.endswith("   21/40, best 0.95 (trial 15)")
    sweep.trial(25, State.PRUNED, 0.5)
    more = require_sweep(sweep.folder)
    assert lines(more, 1.0) == []
    assert len(lines(more, 1.6)) == 1
    assert lines(more, 1.5 + SUMMARY_EVERY_S) == []
    assert lines(more, 1.7 + SUMMARY_EVERY_S)[0].startswith("22/40 trials: ")
    assert lines(more, 3.0 + SUMMARY_EVERY_S, last=True) == []


def test_a_failed_trial_shows_its_cause_and_is_reported_again_after_it_was_reopened(make_sweep):
    sweep, chooser = make_sweep(), SweepLines()
    assert chooser.due(require_sweep(sweep.folder), 0.0, last=False) == []
    sweep.trial(0, State.FAILED, 0.5, "NON_FINITE", "loss is nan")
    (line,) = chooser.due(require_sweep(sweep.folder), 1.0, last=False)
    assert click.unstyle(line) == "trial 0  FAILED at epoch 1  NON_FINITE: loss is nan  lr=0.3 hidden=[]   1/40"
    sweep.ledger.reopen(0)
    assert chooser.due(require_sweep(sweep.folder), 2.0, last=False) == []
    sweep.end(0, State.SUCCEEDED)
    (line,) = chooser.due(require_sweep(sweep.folder), 3.0, last=False)
    assert "SUCCEEDED" in line
