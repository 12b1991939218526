"""A sweep on the command line: its trials, how it reads, and the names of its trials."""

import json

import click
import pytest

from stoker.cli.views.sweep import require_sweep, short_names
from stoker.cli.views.trials_table import trials_table
from stoker.tracking.run import RunStatus, State
from stoker.tracking.trials import pareto_front

DONE = RunStatus(State.SUCCEEDED, "", started=100.0, ended=172.0, attempt=1)
REFUSED = "NON_FINITE", "loss/train is nan at step 37; lower training.optimizer.lr"


@pytest.fixture
def sweep(make_sweep):
    """Five trials; the best is 2."""
    made = make_sweep("digits-00000001", DONE, trials=5)
    made.trial(0, State.SUCCEEDED, 0.90)
    made.trial(1, State.FAILED, 0.99, *REFUSED)
    made.trial(2, State.SUCCEEDED, 0.98)
    made.trial(3, State.PRUNED, 0.70)
    made.trial(4, State.SUCCEEDED, 0.95)
    return made


def rows(capsys) -> list[list[str]]:
    lines = capsys.readouterr().out.splitlines()
    return [line.split() for line in lines[lines.index("") + 2 :]]


def test_the_best_trial_comes_first_and_failed_ones_last_with_their_cause(sweep, stoker, capsys):
    assert stoker("trials", "digits") == 0
    first, empty, head, *lines = capsys.readouterr().out.splitlines()
    assert first == "5/5 trials: 3 succeeded, 1 pruned, 1 failed"
    assert empty == ""
    assert head.split() == ["trial", "state", "lr", "hidden", "accuracy/val", "epoch", "duration", "cause"]
    assert [line.split()[0] for line in lines] == ["2", "4", "0", "3", "1"]
    assert lines[0].split()[:6] == ["2", "SUCCEEDED", "0.003", "[64,64]", "0.98", "10"]
    assert lines[-1].endswith("NON_FINITE: loss/train is nan at step 37; lower training.optimizer.lr")


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--sort", "number"], "01234"),
        (["--sort", "accuracy/test"], "24013"),
        (["--sort", "loss/val"], "24013"),
        (["--state", "pruned"], "3"),
        (["--state", "FAILED"], "1"),
    ],
)
def test_trials_are_sorted_and_picked_as_asked(options, numbers, sweep, stoker, capsys):
    assert stoker("trials", "digits", "-n", "9", *options) == 0
    assert "".join(row[0] for row in rows(capsys)) == numbers


def test_a_metric_to_sort_by_gets_a_column(sweep, stoker, capsys):
    assert stoker("trials", "digits", "--sort", "accuracy/test", "-n", "2") == 0
    _, _, head, first, _, last = capsys.readouterr().out.splitlines()
    assert head.split()[4:6] == ["accuracy/val", "accuracy/test"]
    assert first.split()[4:6] == ["0.98", "0.97"]
    assert last == "... and 3 more; -n 5 shows all"


def test_a_metric_that_nobody_recorded_is_bad_input(sweep, stoker, capsys):
    assert stoker("trials", "digits", "--sort", "f1/val") == 2
    assert "'f1/val' is not one of number, accuracy/val, loss/train, " in capsys.readouterr().err


def test_trials_as_json(sweep, stoker, capsys):
    assert stoker("trials", "digits", "-n", "1", "-o", "json") == 0
    (best,) = json.loads(capsys.readouterr().out)
    assert (best["trial"], best["id"], best["state"], best["epoch"]) == (2, "digits-00000001.2", "SUCCEEDED", 10)
    assert best["values"] == {"training.optimizer.lr": 0.003, "architecture.hidden": [64, 64]}
    assert (best["score"], best["metrics"]["accuracy/test"]) == ({"accuracy/val": 0.98}, 0.97)


def test_a_run_that_is_no_sweep_has_no_trials(sweep, make_run, stoker, capsys):
    make_run("iris-00000001", DONE)
    for run, said in (
        ("iris", "iris-00000001 is not a sweep and has no trials; `stoker status iris-00000001` shows it"),
        ("digits.2", "digits-00000001.2 is a trial; `stoker trials digits-00000001` shows all"),
    ):
        assert stoker("trials", run) == 3
        assert capsys.readouterr().err == f"error: {said}\n"


def test_a_sweep_that_has_not_come_to_its_trials_is_one_all_the_same(make_run, stoker, capsys):
    make_run(
        "digits-00000001", RunStatus(State.STARTING), job="task: image-classification\ndataset: digits\nsweep: {}\n"
    )
    assert stoker("trials", "digits") == 3
    said = "nothing is known about the trials of digits-00000001 yet: none has started"
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_the_table_fits_the_terminal(width, sweep):
    known = require_sweep(sweep.folder)
    shown = known.sorted("accuracy/val")[:4]
    text = trials_table(known, shown, ["accuracy/val", "accuracy/test"], width)
    lines = [click.unstyle(line) for line in text.splitlines()]
    assert all(len(line) <= (width or 200) for line in lines)
    assert ("lr" in lines[0]) == (width != 60)
    assert all("0.98" in line for line in lines[1:2])


def test_trials_that_nobody_works_on_do_not_run(make_sweep, stoker, drive, capsys):
    sweep = make_sweep()
    driver = drive(sweep.folder)
    sweep.trial(0, State.RUNNING, 0.5)
    for state in ("running", "interrupted"):
        assert stoker("trials", "digits") == 0
        assert f"0/40 trials: 1 {state}\n" in capsys.readouterr().out
        driver.kill()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["training.optimizer.lr", "architecture.hidden"], ["lr", "hidden"]),
        (["training.optimizer.type", "training.optimizer.lr"], ["optimizer", "lr"]),
        (["a.dropout", "b.dropout", "seed"], ["a.dropout", "b.dropout", "seed"]),
        (["training.optimizer", "training.optimizer.type"], ["training.optimizer", "training.optimizer.type"]),
    ],
)
def test_columns_have_the_shortest_name_that_no_other_has(paths, names):
    assert list(short_names(paths).values()) == names


def test_a_choice_of_whole_objects_is_shown_by_what_is_in_them(make_sweep, stoker, capsys):
    sweep = make_sweep("digits-00000001", DONE)
    sweep.begin(0, training__optimizer={"type": "adamw", "lr": 3e-4})
    sweep.begin(1, training__optimizer={"type": "sgd", "lr": 0.1, "momentum": 0.9})
    assert stoker("trials", "digits") == 0
    _, _, head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[2:5] == ["optimizer", "lr", "momentum"]
    assert (first.split()[2:], second.split()[2:]) == (["adamw", "3e-4"], ["sgd", "0.1", "0.9"])


def test_no_other_trial_beats_the_front(make_sweep):
    sweep = make_sweep(metrics=(("accuracy/val", "max"), ("parameters", "min")))
    for number, (accuracy, parameters) in enumerate([(0.9, 500), (0.8, 900), (0.7, 100), (0.9, 400), (0.95, 900)]):
        sweep.begin(number)
        sweep.report(number, 1, accuracy_val=accuracy, parameters=parameters)
    read = require_sweep(sweep.folder)
    front = pareto_front(read.sorted(read.facts.metric), read.facts.goals)
    assert [trial.number for trial in front] == [4, 3, 2]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        *(("digits-00000001.3", 3), ("digits.0", 0), ("digits-0.4", 4), ("@last.1", 1), ("run:digits.2", 2)),
        *(("digits.best", 2), ("run:@last.best", 2)),
    ],
)
def test_a_trial_is_found_behind_every_name_of_its_sweep(reference, found, sweep, stoker, capsys):
    assert stoker("status", reference, "-o", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["trial_of"], shown["trial"]) == (f"digits-00000001.{found}", "digits-00000001", found)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("digits.5", "digits-00000001 has no trial 5: it has trials 0 to 4"),
        ("iris.0", "iris-00000001 is no sweep: it has no trial '0'"),
        ("iris.best", "iris-00000001 is no sweep: it has no trial 'best'"),
        ("digits.2.1", "digits-00000001.2 is no sweep: it has no trial '1'"),
        ("empty.0", "no trial of empty-00000001 has begun yet"),
        ("young.best", "no trial of young-00000001 has a value of accuracy/val yet"),
        ("young.1", "young-00000001.1 was chosen but has not begun yet"),
    ],
)
def test_what_is_no_trial_is_not_found(reference, said, sweep, make_sweep, make_run, stoker, capsys):
    make_run("iris-00000001", DONE)
    make_sweep("empty-00000001")
    young = make_sweep("young-00000001")
    young.begin(0)
    young.ledger.begin(1, {}, {})
    assert stoker("status", reference) == 3
    assert said in capsys.readouterr().err


def test_ls_shows_a_sweep_in_one_row(sweep, stoker, capsys):
    assert stoker("ls") == 0
    _, row = capsys.readouterr().out.splitlines()
    assert row.startswith("digits-00000001  SUCCEEDED")
    assert row.endswith("accuracy/val 0.98, 5/5 trials")


def test_status_of_a_sweep_shows_its_trials_the_best_one_and_causes_of_failure(sweep, stoker, capsys):
    assert stoker("status", "digits") == 0
    fields = dict(line.split("  ", 1) for line in capsys.readouterr().out.split("\n\n")[0].splitlines())
    assert fields["objective"].strip() == "accuracy/val (max)"
    assert fields["trials"].strip() == "5/5: 3 succeeded, 1 pruned, 1 failed"
    assert fields["best"].strip() == "trial 2  accuracy/val 0.98  lr=0.003 hidden=[64,64]"
    assert fields["failed"].strip() == f"NON_FINITE  trial 1: {REFUSED[1]}"
    assert fields["next"].strip() == "stoker trials digits-00000001"


def test_status_of_a_trial_shows_its_values_and_rank(sweep, stoker, capsys):
    assert stoker("status", "digits.4") == 0
    shown = capsys.readouterr().out
    assert "trial of  digits-00000001, number 4\n" in shown
    assert "values    lr=3e-5 hidden=[64]\n" in shown
    assert "result    accuracy/val 0.95, place 2 of 5\n" in shown


def test_json_of_a_sweep_counts_its_trials(sweep, stoker, capsys):
    assert stoker("status", "digits", "-o", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["trials"] == {"total": 5, "ended": 5, "succeeded": 3, "pruned": 1, "failed": 1}
    assert (shown["best"]["trial"], shown["looks_for"]["direction"]) == (2, "max")


def test_the_end_of_a_sweep_shows_the_best_trial_and_the_next_commands(make_sweep, sweep, stoker, capsys):
    sweep.folder.trial(2).model.mkdir()
    assert stoker("wait", "digits") == 0
    shown = capsys.readouterr().out
    title = "SUCCEEDED  digits-00000001 after 1 min 12 s, 5/5 trials: 3 succeeded, 1 pruned, 1 failed\n"
    assert shown.startswith(title)
    assert "\nbest: trial 2  accuracy/val 0.98, 10 epochs\n  training.optimizer.lr  0.003\n" in shown
    assert f"failed:\n  NON_FINITE  trial 1: {REFUSED[1]}\n" in shown
    assert f"model: {sweep.folder.trial(2).model}\n" in shown
    commands = [line.strip().partition("  ")[0] for line in shown.partition("next:\n")[2].splitlines()]
    assert commands == [
        "stoker trials digits-00000001",
        "stoker predict digits-00000001.2 --input DATA",
        "stoker extend digits-00000001.2 --epochs N",
        "stoker submit run:digits-00000001.2",
        "stoker extend digits-00000001 --trials N",
    ]


def test_the_end_of_a_sweep_names_the_registered_model(make_sweep, stoker, capsys):
    sweep = make_sweep("digits-00000001", DONE, registered="digits-best")
    sweep.trial(0, State.SUCCEEDED, 0.9)
    sweep.folder.trial(0).model.mkdir()
    assert stoker("wait", "digits") == 0
    assert "/model  (registered as digits-best)\n" in capsys.readouterr().out


def test_a_pruned_trial_has_ended_well_and_can_be_trained_to_its_end(sweep, stoker, capsys):
    assert stoker("wait", "digits.3") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("PRUNED  digits-00000001.3")
    assert "stoker submit run:digits-00000001.3" in shown
    assert "resume" not in shown


def test_the_model_of_a_sweep_is_that_of_its_best_trial(sweep, stoker, capsys):
    assert stoker("predict", "digits", "--input", "new.csv") == 3
    assert capsys.readouterr().err == "error: digits-00000001.2 is SUCCEEDED and has no model\n"
    assert stoker("evaluate", "digits.0") == 3
    assert capsys.readouterr().err == "error: digits-00000001.0 is SUCCEEDED and has no model\n"
