"""A sweep from the command line whose driver is killed repeatedly, compared with an uninterrupted one."""

import os
import signal

import pytest
from mlflow import MlflowClient

from stoker.tracking.ledger import ledger_entries, read_trials
from stoker.tracking.run import State
from stoker.tracking.tags import RUN_TAG
from stoker.tracking.trials import read_facts

TRIALS = 20
JOB = f"""
name: NAME
task: image-classification
dataset: digits
architecture: {{family: mlp, hidden: [32]}}
training: {{epochs: 3, batch_size: 64, precision: fp32}}
resources: {{cpus: 1}}
sweep:
  trials: {TRIALS}
  search: {{type: random, seed: 3}}
  space:
    training.optimizer.lr: {{min: 1e-4, max: 1e-1, log: true}}
    architecture.hidden: [[16], [32]]
"""


def ended(folder) -> set[int]:
    return {trial.number for trial in read_trials(folder.ledger) if trial.state.final}


def histories(client, experiment, parent):
    """Return all points of a sweep's trials in MLflow, by trial and metric."""
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'", max_results=1000)
    assert len(children) == TRIALS
    return {
        (child.data.tags[RUN_TAG].rsplit(".", 1)[1], key): sorted(
            (point.step, point.value) for point in client.get_metric_history(child.info.run_id, key)
        )
        for child in children
        for key in child.data.metrics
    }


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_driver_killed_at_each_trial_has_the_result_of_an_uninterrupted_one(home, job_file, until):
    whole = home.run(home.json("submit", job_file(JOB.replace("NAME", "whole")))["id"])
    cut = home.run(home.json("submit", job_file(JOB.replace("NAME", "cut")), "--detach")["id"])
    kills = 0
    while len(before := ended(cut)) < TRIALS:
        until(lambda: len(ended(cut)) > len(before) or cut.status().state.final, "another trial", 120)
        if cut.status().state.final or len(ended(cut)) == TRIALS:
            break
        os.kill(cut.driver_pid(), signal.SIGKILL)
        until(lambda: not cut.has_driver(), "the lease to end")
        kills += 1
        done, lines = ended(cut), len(list(ledger_entries(cut.ledger)))
        home.stoker("resume", cut.path.name, "--detach")
        until(lambda: len(list(ledger_entries(cut.ledger))) > lines, "the next life", 120)  # noqa: B023
        later = [entry["trial"] for entry in list(ledger_entries(cut.ledger))[lines:]]
        assert not done.intersection(later)
    until(lambda: cut.record().state.final, "the end", 120)
    assert kills >= TRIALS // 3  # two trials may end at once
    assert cut.record().state is State.SUCCEEDED
    assert read_facts(cut).best == read_facts(whole).best
    one, other = read_trials(whole.ledger), read_trials(cut.ledger)
    assert [trial.values for trial in one] == [trial.values for trial in other]
    assert [trial.metrics["accuracy/val"] for trial in one] == [trial.metrics["accuracy/val"] for trial in other]
    again = [entry["trial"] for entry in ledger_entries(cut.ledger) if entry["event"] == "end"]
    assert sorted(again) == list(range(TRIALS))
    client = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    pages = [
        histories(client, client.get_experiment_by_name(run.header().experiment).experiment_id, run.status().mlflow_run)
        for run in (whole, cut)
    ]
    changing = ("second", "memory")
    measured = [{k: v for k, v in page.items() if not any(word in k[1] for word in changing)} for page in pages]
    assert measured[0] == measured[1] != {}
    for page in pages:
        for points in page.values():
            assert len({step for step, _ in points}) == len(points)
