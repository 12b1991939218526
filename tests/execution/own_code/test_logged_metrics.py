"""The metrics that a script has logged, as reports, read back from a real store."""

import pytest

from stoker.execution.own_code.logged_metrics import logged_reports
from stoker.settings import embedded_uri
from stoker.tracking.mlflow_run import MlflowRun
from stoker.tracking.run import RunHeader


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def tracked(store, request):
    name = request.node.name[:40]
    header = RunHeader(name, name, "train.py", "script", "", 1.0, 1, "", "logged")
    return MlflowRun.open(header, embedded_uri(store), store / "artifacts", {})


def log(tracked, metric, *points):
    for value, step in points:
        tracked.client.log_metric(tracked.run_id, metric, value, step=step)


def told(tracked, *metrics, ended=True):
    reports = logged_reports(tracked, metrics, 0.0, ended)
    return [(each.epoch, each.step, {name: each.metrics.get(name) for name in metrics}) for each in reports]


def test_each_step_is_a_report_and_the_nth_one_an_epoch(tracked):
    log(tracked, "score", (1.0, 10), (2.0, 20))
    assert told(tracked, "score") == [(1, 10, {"score": 1.0}), (2, 20, {"score": 2.0})]
    assert logged_reports(tracked, ["score"], 0.0, True)[1].metrics["seconds"] > 0


def test_values_without_steps_are_numbered(tracked):
    log(tracked, "score", (1.0, 0), (3.0, 0), (2.0, 0))
    assert [values["score"] for _, _, values in told(tracked, "score")] == [1.0, 3.0, 2.0]


def test_a_step_that_is_logged_again_has_its_last_value(tracked):
    log(tracked, "score", (1.0, 1), (2.0, 2), (2.5, 2), (3.0, 3))
    assert [values["score"] for _, _, values in told(tracked, "score")] == [1.0, 2.5, 3.0]


def test_a_step_whose_metrics_are_not_all_there_yet_is_left_out(tracked):
    log(tracked, "score", (1.0, 1), (2.0, 2))
    log(tracked, "loss", (0.5, 1))
    assert told(tracked, "score", "loss", ended=False) == [(1, 1, {"score": 1.0, "loss": 0.5})]
    assert len(told(tracked, "score", "loss")) == 2
