"""`list`, `schema`, `version`."""

import json

import pytest

from stoker import __version__
from stoker.cli.commands.catalogue import TOPICS
from stoker.cli.views.offerings import OFFERINGS
from stoker.job.architecture.choice import FAMILIES
from stoker.job.task import TASKS


def test_every_topic_is_offered():
    assert tuple(OFFERINGS) == TOPICS


@pytest.mark.parametrize("topic", TOPICS)
def test_each_topic_lists_rows(topic, stoker, capsys):
    assert stoker("list", topic, "-o", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert stoker("list", topic) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 1


def test_families_and_tasks_come_from_their_tables(stoker, capsys):
    assert stoker("list", "-o", "json") == 0
    everything = json.loads(capsys.readouterr().out)
    assert [row["family"] for row in everything["families"]] == list(FAMILIES)
    assert [row["task"] for row in everything["tasks"]] == list(TASKS)
    assert "adamw" in [row["optimizer"] for row in everything["optimizers"]]


def test_keys_are_listed_as_a_job_writes_them(stoker, capsys):
    assert stoker("list", "families", "-o", "json") == 0
    rows = {row["family"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["custom"]["settings"] == ["class"]
    assert rows["mlp"]["settings"] == ["hidden", "activation", "dropout"]


def test_the_schema_is_json(stoker, capsys):
    assert stoker("schema") == 0
    assert "task" in json.loads(capsys.readouterr().out)["properties"]


def test_a_key_is_explained_with_an_example(stoker, capsys):
    assert stoker("schema", "training.optimizer") == 0
    shown = capsys.readouterr().out
    assert "Example:" in shown
    assert "adamw" in shown
    assert stoker("schema", "training.optimizer", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["path"] == "training.optimizer"


def test_an_unknown_key_is_not_found(stoker, capsys):
    assert stoker("schema", "trainig") == 3
    assert "no key 'trainig'" in capsys.readouterr().err


def test_versions_are_those_installed(stoker, capsys):
    assert stoker("version", "-o", "json") == 0
    versions = json.loads(capsys.readouterr().out)
    assert versions["stoker"] == __version__
    assert set(versions) == {"stoker", "python", "ray", "torch", "mlflow"}
