"""The table of a sweep's trials in MLflow."""

import json
from urllib.parse import parse_qs, urlsplit

from mlflow import MlflowClient

from stoker.execution.sweeps.mlflow_view import VIEW_TAG, publish_view, view_link


def test_the_view_shows_only_this_sweep_with_its_metric_and_parameters(sweep):
    sweep.whole(0)
    page = sweep.open()
    link = publish_view(page, sweep.header.id, ["loss/val", "accuracy/val"], "min", ["training.optimizer.lr", "a.b%"])
    experiment = MlflowClient(sweep.settings.tracking_uri).get_experiment(page.experiment_id)
    view = json.loads(experiment.tags[VIEW_TAG + sweep.header.id])
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`loss/val-best`", True)
    assert view["selectedColumns"][:6] == [
        "metrics.`loss/val-best`",
        "metrics.`loss/val`",
        "metrics.`accuracy/val-best`",
        "metrics.`accuracy/val`",
        "params.`training.optimizer.lr`",
        "params.`a.b_`",
    ]
    assert view["searchFilter"] == f"tags.`mlflow.parentRunId` = '{page.run_id}'"
    assert link == view_link(page.experiment_id, sweep.header.id)
    query = parse_qs(urlsplit(link).fragment.partition("?")[2])
    assert query == {"workflowType": ["machine_learning"], "viewStateShareKey": [sweep.header.id]}


def test_each_sweep_of_an_experiment_has_its_view_and_a_large_space_fits(sweep):
    page = sweep.open()
    paths = [f"architecture.{'layer' * 10}.{number}" for number in range(200)]
    for name in ("first", "second"):
        publish_view(page, name, ["accuracy/val"], "max", paths)
    tags = MlflowClient(sweep.settings.tracking_uri).get_experiment(page.experiment_id).tags
    assert {VIEW_TAG + "first", VIEW_TAG + "second"} <= tags.keys()


def test_mlflow_accepts_the_filter_and_the_order_of_the_view(sweep, ship_all):
    for number in range(4):
        sweep.whole(number)
    page = sweep.open()
    publish_view(page, sweep.header.id, ["accuracy/val"], "max", [])
    ship_all(sweep, page)
    client = MlflowClient(sweep.settings.tracking_uri)
    view = json.loads(client.get_experiment(page.experiment_id).tags[VIEW_TAG + sweep.header.id])
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    found = client.search_runs([page.experiment_id], view["searchFilter"], order_by=[order])
    assert [run.info.run_name.rpartition(".")[2] for run in found] == ["3", "2", "1", "0"]
