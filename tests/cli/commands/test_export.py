"""`export` prints the code that loads what it wrote, and overwrites nothing."""

import json
import shutil
from pathlib import Path

import pytest

from stoker.inference.model import save_model
from stoker.tracking.run import RunStatus, State
from stoker.training.assembly import assemble
from stoker.training.preparation import prepare


@pytest.fixture(autouse=True)
def run(make_job, tiny_data, tiny_model, make_run, tmp_path) -> None:
    """A run that has ended, with a model with adapters."""
    architecture = {"family": "pretrained", "model": str(tiny_model("bert")), "lora": {"rank": 2}}
    job = make_job("text-classification", tiny_data("text-classification"), architecture=architecture)
    assembly = assemble(prepare(job))
    save_model(tmp_path / "model", assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    shutil.copytree(tmp_path / "model", make_run("reviews-00000001", status=RunStatus(state=State.SUCCEEDED)).model)


def files(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_adapters_are_exported_apart_or_merged(stoker, capsys, tmp_path):
    assert stoker("export", "reviews", "--output", tmp_path / "apart") == 0
    shown = capsys.readouterr()
    assert f'from_pretrained("{tmp_path / "apart"}")' in shown.out
    assert f"wrote the model to {tmp_path / 'apart'}/" in shown.err
    tokens = {"tokenizer.json", "tokenizer_config.json"}
    assert files(tmp_path / "apart") >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "head.safetensors",
        *tokens,
    }
    assert stoker("export", "reviews", "--output", tmp_path / "merged", "--merge", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["files"]) == files(tmp_path / "merged") >= {"config.json", "model.safetensors", *tokens}
    assert told["folder"] == str(tmp_path / "merged")
    assert "AutoModelForSequenceClassification" in told["code"]


def test_a_folder_with_files_is_bad_input(stoker, capsys, tmp_path):
    assert stoker("export", "reviews", "--output", tmp_path / "model") == 2
    assert f"'{tmp_path / 'model'}' is there already; name a new folder, or delete it" in capsys.readouterr().err


def test_an_unknown_run_is_not_found(stoker, tmp_path):
    assert stoker("export", "nothing", "--output", tmp_path / "new") == 3
