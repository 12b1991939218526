"""Folders of pretrained models whose files are damaged, or of several models, are refused with the cure."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from stoker.architectures.network import build_network
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.model_files import read_tokenizer
from stoker.datasets.tokens.pretrained import PretrainedTokenizer
from stoker.errors import JobError
from stoker.job.architecture.pretrained import Pretrained
from stoker.job.dataset import Dataset
from stoker.job.signature import ClassOutput, Signature, TextInput


@pytest.fixture
def folder(tiny_model, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model("bert"), tmp_path / "model"))


def problem_of_building(folder: Path) -> str:
    size = PretrainedTokenizer.from_asset(read_tokenizer(str(folder), "")).size
    signature = Signature({"text": TextInput(size, 12)}, ClassOutput(("a", "b")))
    with pytest.raises(JobError) as raised:
        build_network(Pretrained.model_validate({"family": "pretrained", "model": str(folder)}), signature)
    (problem,) = raised.value.problems
    assert problem.path == "architecture.model"
    return problem.message


def test_damaged_weights_are_refused(folder: Path):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    message = problem_of_building(folder)
    assert message.startswith(f"the weights in '{folder}' are broken: ")
    assert message.endswith("; copy or download the folder again")


def test_weights_of_another_model_are_refused(folder: Path, tiny_model):
    shutil.copy(tiny_model("gpt2") / "model.safetensors", folder)
    message = problem_of_building(folder)
    assert message.startswith(f"the weights in '{folder}' lack ")
    assert message.endswith(" that its bert has; put config.json and weights of one model into the folder")


def test_a_damaged_tokenizer_is_refused(folder: Path):
    (folder / "tokenizer.json").write_text("{not json")
    with pytest.raises(JobError) as raised:
        TextField.fit("text", pd.Series(["the film"]), tokenized_by(folder))
    (problem,) = raised.value.problems
    assert problem.path == "dataset.text.tokenizer"
    assert problem.message.startswith("the model's tokenizer.json cannot be read: ")
    assert "write it again by AutoTokenizer.from_pretrained" in problem.message


def test_a_length_without_room_for_a_text_is_refused(folder: Path):
    for length in (1, 2):
        with pytest.raises(JobError, match=f"{length} tokens have no room .* the 2 .*; use at least 3"):
            TextField.fit("text", pd.Series(["the film"]), tokenized_by(folder, length))
    assert TextField.fit("text", pd.Series(["the film"]), tokenized_by(folder, 3)).room == 1


def tokenized_by(folder: Path, length: int = 8) -> Dataset:
    return Dataset.model_validate({"source": "a.csv", "text": {"tokenizer": str(folder), "length": length}})
