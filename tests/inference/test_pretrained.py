"""Trained pretrained models: only what training changed is kept, in checkpoints and in saved models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stoker.datasets.feeding import limits
from stoker.datasets.records import table
from stoker.errors import JobError, TrainingFailed
from stoker.execution.packaging import packaged
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, save_model
from stoker.job.job import Job
from stoker.storage import open_storage
from stoker.training.assembly import Assembly, assemble
from stoker.training.attempt import attempt
from stoker.training.checkpoint import Checkpoints
from stoker.training.evaluation import measure
from stoker.training.loop import start, train
from stoker.training.optimization import build_optimizers
from stoker.training.preparation import prepare
from stoker.training.transfer import load_weights

TRAINED = {"lora": {"lora": {"rank": 2}}, "head": {"frozen": "all"}, "layer": {"frozen": 1}, "whole": {}}
TEXTS = ["a good film", "the bad plot was a bad plot"]


@pytest.fixture
def source(tiny_model, tmp_path) -> Path:
    """A model's folder that a test may change."""
    shutil.copytree(tiny_model("bert"), tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def job_of(source, tiny_data, make_job) -> Callable[[str], Job]:
    """Make a job of two epochs."""

    def make(kind: str) -> Job:
        architecture = {"family": "pretrained", "model": str(source), **TRAINED[kind]}
        settings = {"batch_size": 16, "epochs": 2, "precision": "fp32"}
        return make_job(
            "text-classification", tiny_data("text-classification"), architecture=architecture, training=settings
        )

    return make


@pytest.fixture
def run(job_of, tmp_path) -> Callable[[str], Assembly]:
    """Train a job with checkpoints, and save its model in `saved`."""

    def train(kind: str) -> Assembly:
        assembly = assemble(prepare(job_of(kind)))
        state = start(assembly)
        list(attempt("r", state, Checkpoints(open_storage(str(tmp_path / "checkpoints")), "", 2, 1), 1, lambda: ""))
        save_model(tmp_path / "saved", assembly.job, assembly.data.fields, assembly.objective, "data")
        return assembly

    return train


def names_of(file: Path) -> set[str]:
    with safe_open(file, "pt") as content:
        return set(content.keys())


def change_weights(source: Path) -> None:
    weights = load_file(source / "model.safetensors")
    save_file({name: value + 0.01 for name, value in weights.items()}, source / "model.safetensors")


def outputs(network: Any, fields: Any) -> torch.Tensor:
    samples = fields.encode(table(pd.DataFrame({"text": TEXTS})), target=False)
    with torch.inference_mode():
        return network.eval()(fields.gather(samples, torch.arange(len(TEXTS))))


@pytest.mark.parametrize("kind", TRAINED)
def test_checkpoint_and_model_hold_what_is_trained(kind, run, tmp_path):
    assembly = run(kind)
    trained = {name for name, each in assembly.objective.network.named_parameters() if each.requires_grad}
    assert names_of(tmp_path / "saved" / "weights.safetensors") == trained
    *_, newest = sorted((tmp_path / "checkpoints").glob("step-*/rank-0.safetensors"))
    kept = names_of(newest)
    for group in ("objective", "best"):
        assert {name.partition(".")[2] for name in kept if name.startswith(f"{group}.")} == {
            f"network.{name}" for name in trained
        }
    states = {name for name in kept if name.startswith("optimizer.")}
    assert {name.removeprefix("optimizer.network.0.network.").rpartition(".")[0] for name in states} == trained
    assert (tmp_path / "saved" / "config.json").is_file()
    digest = json.loads((tmp_path / "saved" / "origin.json").read_text())["sha256"]
    assert bool(digest) == (kind != "whole")


@pytest.mark.parametrize("kind", TRAINED)
def test_a_loaded_model_answers_like_the_trained_network(kind, run, tmp_path):
    assembly = run(kind)
    model = Model.load(tmp_path / "saved")
    expected = outputs(assembly.objective.network, assembly.data.fields)
    torch.testing.assert_close(outputs(model.network, model.fields), expected, atol=1e-6, rtol=1e-5)


def test_a_model_that_was_trained_whole_needs_no_source(run, source, tmp_path):
    assembly = run("whole")
    expected = outputs(assembly.objective.network, assembly.data.fields)
    shutil.rmtree(source)
    model = Model.load(tmp_path / "saved")
    torch.testing.assert_close(outputs(model.network, model.fields), expected, atol=1e-6, rtol=1e-5)


def test_a_model_with_adapters_refuses_other_weights_below_them(run, source, tmp_path):
    run("lora")
    change_weights(source)
    with pytest.raises(JobError, match=r"are not those that this run was trained on \(SHA-256 [0-9a-f]{12}\); put"):
        Model.load(tmp_path / "saved")
    shutil.rmtree(source)
    with pytest.raises(JobError, match=f"there is no folder '{source}'"):
        Model.load(tmp_path / "saved")


def test_a_checkpoint_is_not_restored_over_other_weights(run, job_of, source, tmp_path):
    run("lora")
    change_weights(source)
    state = start(assemble(prepare(job_of("lora"))))
    with pytest.raises(TrainingFailed, match="the pretrained model has changed since the checkpoint was written"):
        Checkpoints(open_storage(str(tmp_path / "checkpoints")), "", 2, 2).restore(state)


def test_optimizers_hold_only_what_is_trained(job_of):
    for kind in TRAINED:
        objective = assemble(prepare(job_of(kind))).objective
        for chosen in ("sgd", "adam", "adamw", "muon"):
            training = job_of(kind).training.model_validate({"optimizer": chosen})
            (optimizers,) = build_optimizers(training.optimizer, objective.groups()).values()
            held = [each for one in optimizers for group in one.param_groups for each in group["params"]]
            assert {id(each) for each in held} == {id(each) for each in objective.parameters() if each.requires_grad}
            assert len(held) == len({id(each) for each in held})


def test_a_run_starts_from_adapters_of_an_earlier_one(run, job_of, tmp_path):
    trained = run("lora").objective.network.state_dict()
    objective = assemble(prepare(job_of("lora"))).objective
    assert load_weights(objective, tmp_path / "saved") == ()
    assert all(torch.equal(value, trained[name]) for name, value in objective.network.state_dict().items())


def test_an_evaluation_cuts_the_training_data_by_the_models_tokenizer(run, tmp_path):
    assembly = run("lora")
    save_model(tmp_path / "saved", assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    assert assembly.job.dataset.text.tokenizer is None
    assert set(evaluate(Model.load(tmp_path / "saved"), part="test")) >= {"loss/test", "accuracy/test"}


def test_a_served_model_asks_for_the_libraries(run, tmp_path):
    run("lora")
    (tmp_path / "saved" / "example.json").write_text(
        json.dumps({"columns": ["text"], "data": [[each] for each in TEXTS]})
    )
    with packaged(tmp_path / "saved") as arguments:
        names = {requirement.partition("==")[0] for requirement in arguments["pip_requirements"]}
    assert {"tokenizers", "transformers", "peft", "torch"} <= names


def test_wide_layers_compute_few_samples_at_once_and_measure_the_same(run, tmp_path, monkeypatch):
    run("whole")
    model = Model.load(tmp_path / "saved")
    samples = assemble(prepare(model.job)).parts["train"]
    sizes: list[int] = []
    model.network.register_forward_pre_hook(lambda _, given: sizes.append(len(next(iter(given[0].values())))))
    at_once = measure(model.objective, model.task, samples, "fp32", 0).metrics
    assert sizes == [len(samples)]
    sizes.clear()
    widest = max(max(each.shape) for each in model.network.body.encoder.layer.parameters())
    monkeypatch.setattr(limits, "MAX_VALUES", 10 * 12 * widest)  # ten texts of 12 tokens
    assert measure(model.objective, model.task, samples, "fp32", 0).metrics == pytest.approx(at_once, rel=1e-5)
    assert sizes[:-1] == [10] * (len(samples) // 10)
    sizes.clear()
    model.predict(pd.DataFrame({"text": TEXTS * 20}))
    assert max(sizes) == 10


OWN_OUTPUT = {
    "fill-mask": ("mlm", pd.DataFrame({"text": ["the [MASK] was good", "[MASK]"]})),
    "translation": ("t5", pd.DataFrame({"en": ["the red dog", "no cat"]})),
    "summarization": ("bart", pd.DataFrame({"en": ["the red dog", "no cat"]})),
}


@pytest.mark.parametrize("task", OWN_OUTPUT)
def test_a_stored_model_with_its_own_output_answers_as_predict_does(
    task, tiny_data, tiny_model, make_job, store, tmp_path
):
    kind, rows = OWN_OUTPUT[task]
    dataset = {**tiny_data(task), "text": {"length": 12}}
    architecture = {"family": "pretrained", "model": str(tiny_model(kind)), "lora": {"rank": 2}}
    training = {"epochs": 1, "batch_size": 16, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 0.02}}
    assembly = assemble(prepare(make_job(task, dataset, architecture=architecture, training=training)))
    for _ in train(task, start(assembly)):
        pass
    store(assembly, tmp_path)
    expected = Model.load(tmp_path / "run" / "model").predict(rows).table
    served = mlflow.pyfunc.load_model(str(tmp_path / "stored"))
    pd.testing.assert_frame_equal(served.predict(rows), expected)
    assert (expected["prediction"] != "").any()
