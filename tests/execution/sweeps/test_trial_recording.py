"""The trials of a sweep in MLflow."""

import json
import math
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from stoker.clusters import verbs
from stoker.clusters.local.cluster import LocalCluster
from stoker.errors import ClusterError
from stoker.execution.sweeps.child_run_sync import best_step
from stoker.settings import Settings
from stoker.tracking.ledger import read_trials
from stoker.tracking.run import RunStatus, State
from stoker.tracking.tags import ATTEMPTS_TAG, CAUSE_TAG, PARENT_TAG, RESULT_TAG, RUN_TAG, STATE_TAG, VALUES_TAG
from stoker.tracking.trials import EpochReport, SweepFacts, Trial, write_facts

PATIENCE_S = 60.0


def test_a_trial_is_a_child_run_of_its_sweep(sweep, ship_all):
    parent = sweep.open()
    sweep.whole(0, lr=0.02, width=64)
    ship_all(sweep, parent)
    run = sweep.recorded()[0]
    tags, ident = run.data.tags, f"{sweep.header.id}.0"
    assert (run.info.run_name, tags[RUN_TAG], tags["mlflow.source.name"]) == (ident, ident, ident)
    assert tags[PARENT_TAG] == parent.run_id
    assert (tags["stoker.task"], tags["stoker.dataset"]) == ("tabular-classification", "iris")
    assert json.loads(tags[VALUES_TAG]) == {"training.optimizer.lr": 0.02, "architecture.hidden": [64, 64]}
    assert run.data.params["training.optimizer.lr"] == "0.02"
    assert run.data.params["architecture.hidden"] == "[64, 64]"
    assert run.data.params["task"] == "tabular-classification"
    assert (run.info.status, tags[STATE_TAG], tags[ATTEMPTS_TAG]) == ("FINISHED", "SUCCEEDED", "1")
    assert json.loads(tags[RESULT_TAG])["accuracy/test"] == pytest.approx(0.79)
    assert "| accuracy |  | 0.8 | 0.79 |" in tags["mlflow.note.content"]
    trial = sweep.ledger.trials[0]
    assert (run.info.start_time, run.info.end_time) == (int(trial.began * 1000), int(trial.ended * 1000))
    sweep.check_journal(0)
    assert sweep.announced[0] == (run.info.run_id, parent.sibling(run.info.run_id).page)


def test_a_resumed_sweep_finds_its_child_runs_and_duplicates_nothing(sweep, ship_all):
    sweep.whole(0)
    sweep.begin(1)
    sweep.train(1, 2)
    ship_all(sweep)
    before = sweep.recorded()
    assert (before[1].info.status, before[1].data.tags[STATE_TAG]) == ("SCHEDULED", "PAUSED")
    sweep.train(1, 2, first=2)  # an epoch after the last checkpoint is repeated
    sweep.end(1, metrics={"accuracy/val": 0.8})
    sweep.whole(2)
    ship_all(sweep)
    after = sweep.recorded()
    assert {number: run.info.run_id for number, run in after.items() if number < 2} == {
        number: run.info.run_id for number, run in before.items()
    }
    assert [after[number].info.status for number in range(3)] == ["FINISHED"] * 3
    for number in range(3):
        sweep.check_journal(number)
    ship_all(sweep)
    again = sweep.recorded()
    assert [again[number].info.end_time for number in range(3)] == [after[number].info.end_time for number in range(3)]


def test_the_ledger_is_stored_with_the_sweeps_run(sweep, ship_all, tmp_path):
    parent = sweep.open()
    for number in range(3):
        sweep.whole(number)
    write_facts(sweep.folder, SweepFacts("accuracy/val", "max", trials=3, best=2))
    ship_all(sweep, parent)
    client = MlflowClient(sweep.settings.tracking_uri)
    for file in (sweep.folder.ledger, sweep.folder.facts):
        assert Path(client.download_artifacts(parent.run_id, file.name, str(tmp_path))).read_text() == file.read_text()


def test_trials_appear_while_the_sweep_runs(sweep, until):
    pages = sweep.pages(sweep.open())
    pages.start()
    sweep.begin(0, resolve=False)
    until(lambda: 0 in sweep.announced, "the page of the trial")
    run = sweep.recorded()[0]
    assert (run.info.status, run.data.tags[STATE_TAG]) == ("RUNNING", "RUNNING")
    assert run.data.params == {}
    sweep.train(0, 1)
    until(lambda: "accuracy/val" in sweep.recorded()[0].data.metrics, "its first epoch")
    sweep.begin(1, resolve=False)
    sweep.ledger.change(0, {}, {"training.optimizer.lr": 0.5}, 1, "copies/1")
    until(lambda: json.loads(sweep.recorded()[0].data.tags[VALUES_TAG]) == {"training.optimizer.lr": 0.5}, "values")
    assert pages.close(PATIENCE_S) == ""


def test_a_failed_trial_has_its_cause_and_does_not_affect_the_others(sweep, ship_all):
    sweep.begin(0, resolve=False)
    sweep.end(0, State.FAILED, cause="DATA", message="no column 'label'")
    sweep.whole(1)
    sweep.begin(2)
    sweep.train(2, 1)
    sweep.end(2, State.PRUNED, message="stopped after epoch 1: worse than half of the others")
    ship_all(sweep)
    failed, whole, pruned = (sweep.recorded()[number] for number in range(3))
    assert (failed.info.status, failed.data.tags[STATE_TAG], failed.data.tags[CAUSE_TAG]) == (
        "FAILED",
        "FAILED",
        "DATA",
    )
    assert failed.data.tags["mlflow.note.content"] == "DATA: no column 'label'"
    assert failed.data.params == {"training.optimizer.lr": "0.01", "architecture.hidden": "[32, 32]"}
    assert whole.info.status == "FINISHED"
    assert (pruned.info.status, pruned.data.tags[STATE_TAG]) == ("FINISHED", "PRUNED")
    assert pruned.data.tags["mlflow.note.content"].startswith("stopped after epoch 1")


def test_a_trial_that_ended_before_it_had_a_folder_has_a_child_run(sweep, ship_all):
    sweep.ledger.begin(0, {}, {"training.batch_size": 100})
    sweep.end(0, State.FAILED, cause="JOB", message="training.batch_size: 100 is not a multiple of 3")
    sweep.ledger.begin(1, {}, {"training.batch_size": 99})
    ship_all(sweep)
    assert list(sweep.recorded()) == [0]
    assert sweep.recorded()[0].data.params == {"training.batch_size": "100"}


def test_a_reopened_trial_continues_without_traces_of_its_first_end(sweep, ship_all):
    sweep.begin(0, resolve=False)
    sweep.end(0, State.FAILED, cause="LOST", message="a machine is gone")
    parent = sweep.open()
    ship_all(sweep, parent)
    sweep.ledger.reopen(0)
    pages = sweep.pages(parent)
    pages.start()
    assert pages.close(PATIENCE_S) == ""
    tags = sweep.recorded()[0].data.tags
    assert (tags[STATE_TAG], tags[CAUSE_TAG], tags["mlflow.note.content"]) == ("PAUSED", "", "")
    folder = sweep.folder.trial(0)
    folder.resolved.write_text(folder.job.read_text())
    metrics = sweep.train(0, 3)
    sweep.end(0, metrics=metrics)
    ship_all(sweep, parent)
    run = sweep.recorded()[0]
    assert (run.info.status, run.data.tags[STATE_TAG], run.data.tags[CAUSE_TAG]) == ("FINISHED", "SUCCEEDED", "")
    assert run.data.params["task"] == "tabular-classification"
    sweep.check_journal(0)


def test_a_reopened_trial_runs_again_under_the_same_driver(sweep, until):
    pages = sweep.pages(sweep.open())
    pages.start()
    sweep.begin(0)
    sweep.end(0, State.FAILED, cause="LOST", message="a machine is gone")
    until(lambda: sweep.recorded() and sweep.recorded()[0].info.status == "FAILED", "its end")
    sweep.ledger.reopen(0)
    until(lambda: sweep.recorded()[0].info.status == "RUNNING", "its second beginning")
    assert pages.close(PATIENCE_S) == ""


def test_a_deleted_child_run_is_reported_and_does_not_affect_the_others(sweep, until):
    parent = sweep.open()
    pages = sweep.pages(parent)
    pages.start()
    sweep.begin(0)
    until(lambda: 0 in sweep.announced, "the page of the trial")
    parent.client.delete_run(sweep.announced[0][0])
    sweep.end(0, metrics=sweep.train(0, 1))
    sweep.whole(1)
    trouble = pages.close(PATIENCE_S)
    assert trouble.startswith("1 of 2 trials did not reach MLflow completely (")
    assert "must be in the 'active' state" in trouble
    assert sweep.recorded()[1].info.status == "FINISHED"


def test_a_journal_longer_than_a_request_is_shipped(sweep, ship_all):
    sweep.begin(0)
    metrics = sweep.train(0, 300)
    sweep.end(0, metrics=metrics)
    ship_all(sweep)
    run = sweep.recorded()[0]
    assert run.info.status == "FINISHED"
    sweep.check_journal(0)


def test_without_tracking_no_request_is_sent(tmp_path, new_sweep):
    sweep = new_sweep(Settings(tmp_path, ""))
    sweep.whole(0)
    pages = sweep.pages(None)
    pages.start()
    assert pages.close(PATIENCE_S) == ""


def test_a_sweep_without_an_mlflow_run_reports_what_is_missing(sweep):
    sweep.whole(0)
    pages = sweep.pages(None)
    pages.start()
    assert pages.close(1.0) == (
        "1 of 1 trials did not reach MLflow completely (33 metric values): "
        f"the sweep itself has no MLflow run; they are in {sweep.folder.path}"
    )


def test_the_best_model_is_stored_with_its_trial(sweep, write_untrained_model, ship_all):
    sweep.whole(0)
    pages = ship_all(sweep)
    assert pages.log_model(0, "best-of-sweep") == ""  # an engine may leave none
    write_untrained_model(sweep.folder.trial(0))
    uri = pages.log_model(0, "best-of-sweep")
    assert uri.startswith("models:/")
    client = MlflowClient(sweep.settings.tracking_uri)
    run = sweep.recorded()[0]
    assert f"models:/{run.outputs.model_outputs[0].model_id}" == uri
    assert client.get_model_version("best-of-sweep", "1").run_id == run.info.run_id
    assert pages.log_model(0, "best-of-sweep") == uri
    assert run.info.run_id == sweep.announced[0][0]
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert files == ["resolved.yaml"]
    assert client.get_logged_model(uri.rpartition("/")[2]).status == LoggedModelStatus.READY


def test_a_model_refused_by_mlflow_is_reported_in_one_sentence(sweep, write_untrained_model, ship_all):
    sweep.whole(0)
    parent = sweep.open()
    pages = ship_all(sweep, parent)
    with pytest.raises(ClusterError, match="trial 1 has no MLflow run"):
        pages.log_model(1, None)
    write_untrained_model(sweep.folder.trial(0))
    parent.client.delete_run(sweep.announced[0][0])
    with pytest.raises(ClusterError, match="MLflow did not accept the model"):
        pages.log_model(0, None)


def test_the_step_of_the_best_weights_is_that_of_their_epoch():
    reports = tuple(
        EpochReport(epoch, 10 * epoch, {"accuracy/val": value}) for epoch, value in ((1, 0.5), (2, 0.9), (3, 0.7))
    )
    trial = Trial(0, {}, {}, State.SUCCEEDED, reports, {"accuracy/val": 0.9, "accuracy/test": 0.8})
    assert best_step(trial) == 20
    assert best_step(Trial(0, {}, {})) == 0


def test_the_best_value_so_far_is_recorded_once(sweep, ship_all):
    sweep.begin(0)
    for epoch, score in enumerate((0.5, 0.9, math.nan, 0.7), 1):
        sweep.ledger.report(0, epoch, 10 * epoch, {"accuracy/val": score})
    ship_all(sweep)
    sweep.ledger.report(0, 5, 50, {"accuracy/val": 0.95})
    sweep.ledger.report(0, 6, 60, {"accuracy/val": 0.6})
    ship_all(sweep)
    run = sweep.recorded()[0]
    history = MlflowClient(sweep.settings.tracking_uri).get_metric_history(run.info.run_id, "accuracy/val-best")
    assert [(metric.step, metric.value) for metric in history] == [(10, 0.5), (20, 0.9), (50, 0.95)]
    assert run.data.metrics["accuracy/val-best"] == 0.95


def test_a_cancelled_sweep_without_a_driver_ends_its_trials(sweep, ship_all):
    write_facts(sweep.folder, SweepFacts("accuracy/val", "max"))
    parent = sweep.open()
    sweep.whole(0)
    for number in (1, 2):
        sweep.begin(number)
        sweep.train(number, 1)
    ship_all(sweep, parent)
    sweep.folder.write_status(RunStatus(State.PAUSED, mlflow_run=parent.run_id))
    page, url = sweep.announced[1]
    sweep.folder.trial(1).write_status(RunStatus(State.RUNNING, mlflow_run=page, url=url))
    sweep.train(1, 1, first=2)  # epochs that did not reach MLflow before the driver was lost
    whole = sweep.recorded()[0]
    assert verbs.cancel(LocalCluster(sweep.settings), sweep.folder) == ""
    pages, trials = sweep.recorded(), read_trials(sweep.folder.ledger)
    assert [trial.state for trial in trials] == [State.SUCCEEDED, State.CANCELLED, State.CANCELLED]
    assert [pages[number].info.status for number in range(3)] == ["FINISHED", "KILLED", "KILLED"]
    assert [pages[number].data.tags[STATE_TAG] for number in range(3)] == ["SUCCEEDED", "CANCELLED", "CANCELLED"]
    assert pages[0].info.end_time == whole.info.end_time
    sweep.check_journal(1)
    status = sweep.folder.trial(1).status()
    assert (status.state, status.mlflow_run, status.url) == (State.CANCELLED, page, url)
    assert MlflowClient(sweep.settings.tracking_uri).get_run(parent.run_id).info.status == "KILLED"
