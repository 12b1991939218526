"""Cancelling a run at rest ends its page, in a real store."""

import socket

import pytest
from mlflow import MlflowClient

from stoker.clusters import verbs
from stoker.clusters.local.mlflow_run import close_mlflow_run
from stoker.tracking.journal import Journal
from stoker.tracking.run import RunHeader, RunStatus, State
from stoker.tracking.run_folder import RunFolder


@pytest.fixture
def paused(cluster, settings):
    def make(tracking_uri: str, mlflow_run: str) -> RunFolder:
        folder = RunFolder(settings.home / "runs" / "a-1")
        folder.create(RunHeader("a-1", "a", "t", "f", "d", 1.0, 1, tracking_uri, "pages"), "task: x\n")
        folder.write_status(RunStatus(State.PAUSED, mlflow_run=mlflow_run))
        return folder

    return make


def test_the_page_ends_with_the_run(cluster, settings, paused):
    settings.home.mkdir()
    client = MlflowClient(settings.tracking_uri)
    experiment = client.create_experiment("pages", str(settings.artifacts))
    page = client.create_run(experiment, tags={"stoker.run": "a-1"}).info.run_id
    assert verbs.cancel(cluster, paused(settings.tracking_uri, page)) == ""
    ended = client.get_run(page)
    assert (ended.info.status, ended.data.tags["stoker.state"]) == ("KILLED", "CANCELLED")


def test_what_the_driver_did_not_come_to_record_is_on_the_page(cluster, settings, paused):
    settings.home.mkdir()
    client = MlflowClient(settings.tracking_uri)
    experiment = client.create_experiment("pages", str(settings.artifacts))
    page = client.create_run(experiment, tags={"stoker.run": "a-1"}).info.run_id
    folder = paused(settings.tracking_uri, page)
    journal = Journal(folder.journal)
    for step in range(1, 4):
        journal.append(step, 1, {"loss/step": 1.0 / step})
    journal.close()
    client.log_metric(page, "loss/step", 1.0, step=1)  # as far as the driver came
    assert verbs.cancel(cluster, folder) == ""
    history = client.get_metric_history(page, "loss/step")
    assert sorted((metric.step, metric.value) for metric in history) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_server_that_is_gone_is_said_and_the_run_has_ended(cluster, paused):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        folder = paused(f"http://127.0.0.1:{free.getsockname()[1]}", "abc")
        assert verbs.cancel(cluster, folder) == "Connection refused"
    assert folder.record().state is State.CANCELLED


@pytest.mark.parametrize(("uri", "page"), [("", ""), ("http://127.0.0.1:9", "")])
def test_a_run_without_a_page_needs_no_server(uri, page, settings, paused):
    assert close_mlflow_run(paused(uri, page).record(), settings) == ""
