"""Sweeps on the cluster."""

import json
from collections import Counter

import pytest

SWEEP = """
name: sweep
task: image-classification
architecture: {family: mlp, hidden: [64]}
dataset: digits
training: {epochs: EPOCHS, batch_size: 64, precision: fp32}
sweep:
  metric: accuracy/val
  trials: TRIALS
  parallel: 2
  space: {training.optimizer.lr: {min: 1e-4, max: 1e-1, log: true}}
"""


def states(home, run):
    """Count the trials by state; none before the sweep's page tells of any."""
    told = home.stoker("trials", run, "-o", "json", code=None)
    return Counter(trial["state"] for trial in json.loads(told)) if told.startswith("[") else Counter()


@pytest.fixture
def sweep(job):
    return lambda trials, epochs: job(SWEEP.replace("EPOCHS", str(epochs)).replace("TRIALS", str(trials)))


def test_a_sweeps_trials_are_known_here_and_in_mlflow_and_its_best_model_is_used(home, sweep, children, steps_of):
    run = home.submit(sweep(4, 3))
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    assert states(home, run) == {"SUCCEEDED": 4}
    pages = children(home.status(run)["mlflow_run"])
    assert sorted(pages) == [f"{run}.{number}" for number in range(4)]
    for page in pages.values():
        assert len(steps_of(page, "accuracy/val")) == 3
    assert home.status(f"{run}.best")["state"] == "SUCCEEDED"
    assert "accuracy" in home.stoker("evaluate", run)


@pytest.mark.slow
def test_a_sweep_finds_what_it_finds_on_this_machine_and_gets_more_trials(home, sweep):
    run = home.submit(sweep(4, 3))
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    local = home.json("submit", str(sweep(4, 3)), "--cluster", "local")["id"]
    there, here = (home.json("trials", each, "--sort", "number") for each in (run, local))
    assert [trial["values"] for trial in there] == [trial["values"] for trial in here]
    for mine, other in zip(there, here, strict=True):
        assert mine["metrics"]["accuracy/val"] == pytest.approx(other["metrics"]["accuracy/val"], abs=0.03)
    home.stoker("extend", run, "--trials", "2", "--detach")
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    assert states(home, run) == {"SUCCEEDED": 6}
    longer = home.json("trials", run, "--sort", "number")
    assert [trial["values"] for trial in longer][:4] == [trial["values"] for trial in there]


@pytest.mark.slow
def test_a_cancelled_trial_and_a_killed_head_cost_the_others_nothing(
    home, sweep, children, steps_of, kube, api, namespace, until
):
    epochs = 400
    run = home.submit(sweep(5, epochs))
    until(lambda: home.going(run)["state"] == "RUNNING" and states(home, run)["RUNNING"] == 2, "two trials")
    home.stoker("cancel", f"{run}.1")
    until(lambda: states(home, run)["CANCELLED"] == 1, "the end of one")
    until(lambda: states(home, run)["SUCCEEDED"], "a trial at its end")
    ended = [trial for trial in home.json("trials", run) if trial["state"] == "SUCCEEDED"]
    (head,) = kube.pods(f"stoker.dev/run={run},ray.io/node-type=head")
    api.delete_namespaced_pod(head["metadata"]["name"], namespace, grace_period_seconds=0)
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    assert states(home, run) == {"SUCCEEDED": 4, "CANCELLED": 1}
    shown = home.status(run)
    assert shown["attempt"] == 2
    pages = children(shown["mlflow_run"])
    assert sorted(pages) == [f"{run}.{number}" for number in range(5)]
    trials = home.json("trials", run)
    assert [trial for trial in ended if trial not in trials] == []  # with the time that they took: none was repeated
    for trial in trials:
        if trial["state"] == "SUCCEEDED":
            steps = steps_of(pages[trial["id"]], "accuracy/val")
            assert len(steps) == len(set(steps)) == epochs, trial
