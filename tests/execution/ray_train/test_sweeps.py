"""Sweeps over the settings of own code: functions that report, and scripts that log to MLflow."""

import sqlite3

import psutil
import pytest

from stoker.tracking.journal import read_journal
from stoker.tracking.run import State

pytestmark = pytest.mark.timeout(600)

FUNCTION = """
import tempfile, time
from pathlib import Path
from ray import train

def search(settings):
    first, checkpoint = 1, train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            first = int((Path(folder) / "epoch").read_text()) + 1
    print("begins at", first, flush=True)
    for epoch in range(first, settings["epochs"] + 1):
        time.sleep(settings.get("seconds", 0))
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "epoch").write_text(str(epoch))
            saved = train.Checkpoint.from_directory(folder)
            train.report({"score": settings["x"] * epoch, "epoch": 10 * epoch}, checkpoint=saved)
"""
SCRIPT = """
import argparse, time
import mlflow

parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
parser.add_argument("--epochs", type=int, default=4)
options = parser.parse_args()
with mlflow.start_run():
    for epoch in range(options.epochs):
        if options.x:
            mlflow.log_metric("score", options.x * (epoch + 1), step=10 * epoch)
            mlflow.log_metric("other", 1.0, step=10 * epoch)
        time.sleep(1 if epoch else 3)
"""
SWEEP = """
name: search
entrypoint: {entrypoint}
settings: {{epochs: {epochs}}}
sweep:
  metric: {{name: score, direction: max}}
  parallel: {parallel}
  search: grid
  scheduler: asha
  failures: 2
  space: {{settings.x: {values}}}
"""


@pytest.fixture
def sweep(tmp_path):
    def write(entrypoint: str, values: list[float], epochs: int = 4, parallel: int = 1):
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "own.py").write_text(FUNCTION if ":" in entrypoint else SCRIPT)
        file = tmp_path / "code" / "search.yaml"
        file.write_text(SWEEP.format(entrypoint=entrypoint, values=values, epochs=epochs, parallel=parallel))
        return file

    return write


def recorded(home, key: str) -> dict[str, list[tuple[int, float]]]:
    """Return the values of a metric in MLflow by run, each with its step."""
    query = (
        "select tags.value, step, metrics.value from metrics join tags on tags.run_uuid = metrics.run_uuid "
        "where metrics.key = ? and tags.key = 'stoker.run' order by step"
    )
    found: dict[str, list[tuple[int, float]]] = {}
    with sqlite3.connect(home.path / "mlflow.db") as database:
        for run, step, value in database.execute(query, (key,)):
            found.setdefault(run.rpartition(".")[2], []).append((step, value))
    return found


def test_the_reports_of_a_function_decide_which_trials_end_early(home, sweep):
    more = ("--set", "tracking.register=found", "--set", "settings.seconds=1")
    run = home.run(home.json("submit", sweep("own:search", [3.0, 1.0]), *more)["id"])
    trials = home.json("trials", run.path.name, "--sort", "number")
    assert [trial["state"] for trial in trials] == ["SUCCEEDED", "PRUNED"]
    assert (trials[0]["epoch"], trials[1]["epoch"] < 4) == (4, True)
    status = run.record().status
    assert (status.state, status.facts["best_trial"]) == (State.SUCCEEDED, "0")
    assert status.metrics == {"score": 12.0, "epoch": 40.0}
    assert recorded(home, "score")["0"] == [(step, 3.0 * step) for step in range(1, 5)]
    assert recorded(home, "score")["1"][0] == (1, 1.0)
    with sqlite3.connect(home.path / "mlflow.db") as database:
        params = "select tags.value, params.value from params join tags on tags.run_uuid = params.run_uuid "
        xs = dict(database.execute(f"{params} where params.key = 'settings.x' and tags.key = 'stoker.run'"))
        [(model,)] = database.execute("select name from model_versions")
    assert sorted(xs.values()) == ["1.0", "3.0"]
    assert model == "found"  # the best trial's checkpoint, as it is
    [line] = [
        line for line in home.stoker("logs", run.path.name).splitlines() if "begins at" in line and "trial 1" in line
    ]
    assert line.endswith("begins at 1")
    outcome = home.stoker("status", run.path.name)
    assert "predict" not in outcome


def test_what_a_script_logs_is_its_score_and_one_that_logs_nothing_has_failed(home, sweep):
    run = home.run(home.json("submit", sweep("own.py", [3.0, 0.0], epochs=3))["id"])
    trials = home.json("trials", run.path.name, "--sort", "number")
    assert [trial["state"] for trial in trials] == ["SUCCEEDED", "FAILED"]
    assert trials[0]["metrics"]["score"] == 9.0
    lacking = "it never told 'score', by which trials are compared (sweep.metric); it told nothing"
    assert (trials[1]["cause"], trials[1]["message"]) == ("USER_CODE", lacking)
    assert recorded(home, "score")["0"] == [(10 * epoch, 3.0 * (epoch + 1)) for epoch in range(3)]  # each once
    assert run.record().status.facts["best_trial"] == "0"


@pytest.mark.slow
def test_what_a_script_logs_decides_which_trials_end_early(home, sweep):
    run = home.run(home.json("submit", sweep("own.py", [2.0, 1.0, 3.0], epochs=8))["id"])
    trials = home.json("trials", run.path.name, "--sort", "number")
    assert [trial["state"] for trial in trials] == ["SUCCEEDED", "PRUNED", "SUCCEEDED"]
    assert trials[1]["epoch"] < 8
    assert trials[2]["metrics"]["score"] == 24.0


@pytest.mark.slow
def test_trials_go_on_after_the_death_of_the_driver_and_one_is_cancelled_alone(home, sweep, until):
    job = sweep("own:search", [1.0, 2.0], epochs=30, parallel=2)
    run = home.run(
        home.json("submit", job, "--set", "settings.seconds=0.5", "--set", "sweep.scheduler=none", "-d")["id"]
    )

    def reports(number: int) -> list[int]:
        journal = run.trial(number).journal
        return [entry.step for entry, _ in read_journal(journal)] if journal.exists() else []

    until(lambda: min(len(reports(0)), len(reports(1))) > 5, "reports of both", 240)
    psutil.Process(run.driver_pid()).kill()
    until(lambda: run.record().state is State.INTERRUPTED, "the driver's death")
    home.stoker("resume", run.path.name, "--detach")
    until(lambda: min(len(reports(0)), len(reports(1))) > 12, "more reports of both", 240)
    home.stoker("cancel", f"{run.path.name}.0")
    until(lambda: run.record().state.ended, "the end", 240)
    trials = home.json("trials", run.path.name, "--sort", "number")
    assert [trial["state"] for trial in trials] == ["CANCELLED", "SUCCEEDED"]
    assert reports(1) == list(range(1, 31))
    assert recorded(home, "score")["1"] == [(step, 2.0 * step) for step in range(1, 31)]
    log = home.stoker("logs", run.path.name)
    assert any("trial 1" in line and not line.endswith("begins at 1") for line in log.splitlines() if "begins" in line)
