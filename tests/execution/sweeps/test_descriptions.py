"""Descriptions of the MLflow runs of a sweep and its trials."""

import math

from stoker.execution.recording import results_description
from stoker.execution.sweeps.descriptions import sweep_description, trial_description
from stoker.tracking.parameters import short_names
from stoker.tracking.run import State
from stoker.tracking.trials import EpochReport, Trial

CLASSES = "tabular-classification"


def trial(number, *scores, state=State.SUCCEEDED, **values):
    reports = tuple(EpochReport(epoch, 10 * epoch, {"accuracy/val": score}) for epoch, score in enumerate(scores, 1))
    return Trial(number, {}, values or {"training.optimizer.lr": 0.1 / (number + 3)}, state, reports)


def rows(note):
    return [[cell.replace("&emsp;", "").strip() for cell in line.split("|")[1:-1]] for line in table(note)]


def table(note):
    return [line for line in note.splitlines() if line.startswith("| ")]


def test_a_description_names_the_best_trial_its_values_and_the_next_ones():
    trials = [
        trial(0, 0.7, 0.9, 0.8),
        trial(1, 0.95, state=State.FAILED),
        trial(2, 0.91, state=State.RUNNING),
        trial(3, 0.5, state=State.PRUNED),
        trial(4, math.nan),
    ]
    note = sweep_description(trials, "accuracy/val", "max", "iris-1", "/#/experiments/1/runs?viewStateShareKey=iris-1")
    lines = note.splitlines()
    assert lines[0] == (
        "Best of 5 trials: iris-1.2 with accuracy/val 0.91; 2 succeeded, 1 stopped early, 1 failed, 1 running"
    )
    assert lines[2] == "`training.optimizer.lr: 0.02`"
    assert lines[4] == "[All trials, the best first](#/experiments/1/runs?viewStateShareKey=iris-1)"
    assert rows(note) == [
        ["trial", "accuracy/val", "epochs", "lr", "state"],
        ["2", "0.91", "1", "0.02", "running"],
        ["0", "0.9", "3", "0.03333", "succeeded"],
        ["3", "0.5", "1", "0.01667", "stopped early"],
    ]


def test_the_smallest_value_is_the_best_with_min_and_ten_are_listed():
    trials = [trial(number, 1 - number / 100) for number in range(30)]
    note = sweep_description(trials, "accuracy/val", "min", "iris-1")
    assert [row[0] for row in rows(note)[1:]] == [str(number) for number in range(29, 19, -1)]
    assert note.startswith("Best of 30 trials: iris-1.29 with accuracy/val 0.71; 30 succeeded\n")
    assert "All trials" not in note


def test_a_sweep_without_a_value_says_so():
    assert sweep_description([], "accuracy/val", "max", "iris-1") == "No trial yet"
    assert sweep_description([trial(0, state=State.RUNNING)], "accuracy/val", "max", "iris-1") == (
        "No trial has a value of accuracy/val yet; 1 running"
    )


def test_values_are_escaped_in_the_table():
    values = {"dataset.columns.types": {"a|b": "x" * 90}, "architecture": {"family": "mlp", "hidden": [8, 8]}}
    note = sweep_description([trial(0, 0.5, **values)], "accuracy/val", "max", "iris-1")
    (_, first) = table(note)
    assert first.count(" |") == first.count("|") - 1
    assert "x" * 39 + "…" in first
    assert "[8, 8]" in first


def test_paths_are_shortened_to_distinct_suffixes():
    paths = ["training.optimizer.lr", "training.optimizer.type", "training.schedule.type", "type"]
    assert list(short_names(paths).values()) == ["lr", "optimizer.type", "schedule.type", "type"]


def test_a_trials_description_has_its_outcome():
    assert trial_description(Trial(0, {}, {}), "iris-1", CLASSES) == ""
    failed = Trial(0, {}, {}, State.FAILED, cause="OOM", message="too little memory")
    assert trial_description(failed, "iris-1", CLASSES) == "OOM: too little memory"
    whole = Trial(3, {}, {}, State.SUCCEEDED, metrics={"accuracy/val": 0.5})
    assert "| accuracy | 0.5 |" in trial_description(whole, "iris-1", CLASSES)
    assert "stoker predict iris-1.3" in trial_description(whole, "iris-1", CLASSES)
    assert "stoker generate iris-1.3" in trial_description(whole, "iris-1", "text-generation")


def test_a_description_tells_the_weaknesses_that_the_results_show():
    note = results_description({"active_units/test": 0.0, "loss/test": 2.0}, "stoker generate a")
    before, _, after = note.partition("- active_units is 0 on test: ")
    assert before.endswith("|\n\n")
    assert after.endswith("\n\n`stoker generate a`")
    assert "\n- " not in results_description({"active_units/test": 3.0}, "stoker generate a")
