"""Models in folders are found from any folder: the paths in a job that is read are absolute."""

from pathlib import Path
from typing import Any

import pytest

from stoker.cli.model_paths import with_absolute_models
from stoker.job.job import Job
from stoker.jobfile.loading import parse_job


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of two models in the working directory."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str) -> Job:
    return with_absolute_models(parse_job(f"task: text-classification\n{text}", "job.yaml").task_job)


def space_of(space: str, architecture: str = "rnn") -> Any:
    job = read(f"dataset: texts.csv\narchitecture: {architecture}\nsweep: {{trials: 2, space: {{{space}}}}}")
    assert job.sweep
    return job.sweep.space


def test_a_model_and_a_tokenizer_have_absolute_paths(models: Path):
    job = read("dataset: {source: texts.csv, text: {tokenizer: two}}\narchitecture: {family: pretrained, model: ./one}")
    assert job.architecture is not None
    assert job.architecture.model_dump()["model"] == str(models / "one")
    assert job.dataset.text.tokenizer == str(models / "two")


def test_names_of_the_hub_stay_as_they_are():
    job = read("dataset: texts.csv\narchitecture: {family: pretrained, model: owner/name}")
    assert job.architecture is not None
    assert job.architecture.model_dump()["model"] == "owner/name"


def test_the_models_of_a_sweep_have_absolute_paths(models: Path):
    pretrained = "{family: pretrained, model: one}"
    assert space_of("architecture.model: [one, two, owner/name]", pretrained) == {
        "architecture.model": [str(models / "one"), str(models / "two"), "owner/name"]
    }
    assert space_of(f"architecture: [rnn, {pretrained}]") == {
        "architecture": ["rnn", {"family": "pretrained", "model": str(models / "one")}]
    }
    assert space_of("dataset.text: [{tokenizer: two}, {tokens: words}]") == {
        "dataset.text": [{"tokenizer": str(models / "two")}, {"tokens": "words"}]
    }


def test_a_setting_of_an_own_network_is_no_path():
    assert space_of("architecture.model: [one, two]", "{family: custom, class: 'm:Net', model: one}") == {
        "architecture.model": ["one", "two"]
    }
