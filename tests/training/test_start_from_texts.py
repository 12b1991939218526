"""A job on few texts starts from a model that has filled blanks in many: with its weights and its vocabulary."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.errors import JobError
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, save_model
from stoker.planning.run import make_plan
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate as evaluate_in_training
from stoker.training.loop import start, train
from stoker.training.preparation import prepare
from stoker.training.transfer import load_weights

NETWORK = {"family": "transformer", "width": 16, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def learnt(make_job, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of blanks in many texts."""
    folder = tmp_path_factory.mktemp("blanks")
    rng = np.random.default_rng(0)
    words = ["film", "plot", "actor", "good", "bad", "great", "poor", "was", "the", "a"]
    frame = pd.DataFrame({"text": [" ".join(rng.choice(words, 8)) for _ in range(200)]})
    frame.to_csv(folder / "many.csv", index=False)
    training = {"epochs": 2, "batch_size": 20, "precision": "fp32"}
    job = make_job("fill-mask", str(folder / "many.csv"), architecture=NETWORK, training=training)
    assembly = assemble(prepare(job))
    for _ in train("r", start(assembly)):
        pass
    save_model(folder / "model", assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    few = pd.DataFrame({"text": ["good film", "bad film", "great plot", "poor actor"] * 10, "y": ["+", "-"] * 20})
    few.to_csv(folder / "few.csv", index=False)
    return folder, assembly


def test_the_vocabulary_and_all_weights_but_the_head_are_taken(learnt, make_job, tmp_path):
    folder, blanks = learnt
    dataset = {"source": str(folder / "few.csv"), "columns": {"label": "y"}}
    training = {"epochs": 2, "batch_size": 8, "precision": "fp32", "start_from": str(folder / "model")}
    job = make_job("text-classification", dataset, architecture=NETWORK, training=training)
    own = prepare(job)
    prepared = prepare(job, start=folder / "model")
    vocabulary = prepared.data.fields.text.vocabulary
    assert vocabulary == blanks.data.fields.text.vocabulary != own.data.fields.text.vocabulary
    assert prepared.job.dataset.text.tokenizer is None, "a resolved job names the model once"
    assembly = assemble(prepared)
    assert load_weights(assembly.objective, folder / "model") == ("output.weight", "output.bias")
    torch.testing.assert_close(assembly.objective.network.embedding.weight, blanks.objective.network.embedding.weight)
    for _ in train("r", start(assembly)):
        pass
    save_model(tmp_path, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    reported = evaluate_in_training(assembly, "test", "fp32")
    again = evaluate(Model.load(tmp_path), part="test")
    assert again == {f"{name}/test": pytest.approx(value, rel=1e-4) for name, value in reported.items()}


@pytest.fixture(scope="module")
def adapted(tiny_data, tiny_model, make_job, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Train a masked-language model as a whole, or adapters of it, on the texts of the tiny data."""
    folder = tmp_path_factory.mktemp("adapted")

    def train_one(name: str, **settings: Any) -> Any:
        network = {"family": "pretrained", "model": str(tiny_model("mlm")), **settings}
        training = {"epochs": 1, "batch_size": 16, "precision": "fp32"}
        job = make_job("fill-mask", tiny_data("fill-mask"), architecture=network, training=training)
        assembly = assemble(prepare(job))
        for _ in train("r", start(assembly)):
            pass
        saved = folder / name
        save_model(saved, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
        return saved, assembly.objective.network

    return train_one


@pytest.fixture
def classifying(tiny_data, tiny_model, make_job) -> Any:
    def make(saved: Any, **settings: Any) -> Any:
        network = {"family": "pretrained", "model": str(tiny_model("mlm")), **settings}
        training = {"epochs": 1, "batch_size": 16, "precision": "fp32", "start_from": str(saved)}
        task = "text-classification"
        return make_job(task, tiny_data(task), architecture=network, training=training)

    return make


@pytest.mark.parametrize("settings", [{}, {"lora": {"rank": 2}}], ids=["whole", "lora"])
def test_a_pretrained_classifier_starts_from_what_was_learnt_of_hidden_words(
    settings, adapted, classifying, tiny_model, tmp_path
):
    saved, filled = adapted(f"model-{bool(settings)}", **settings)
    prepared = prepare(classifying(saved, **settings), start=saved)
    assert prepared.data.fields.text.length == 12  # what the model reads at once
    assembly = assemble(prepared)
    assert set(load_weights(assembly.objective, saved)) == {"output.weight", "output.bias"}
    network = assembly.objective.network
    own, learnt = network.body.state_dict(), filled.body.state_dict()
    assert all(torch.equal(value, learnt[name]) for name, value in own.items())
    fresh = assemble(prepare(classifying(saved, **settings))).objective.network.body.state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in own.items())
    for _ in train("r", start(assembly)):
        pass
    save_model(tmp_path, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    reported = evaluate_in_training(assembly, "test", "fp32")
    again = evaluate(Model.load(tmp_path), part="test")
    assert again == {f"{name}/test": pytest.approx(value, rel=1e-4, abs=1e-6) for name, value in reported.items()}


@pytest.mark.parametrize("settings", [{"frozen": 1}, {"lora": {"rank": 2}}], ids=["frozen", "lora"])
def test_tuned_weights_that_a_job_would_not_save_are_refused(settings, adapted, classifying):
    saved, _ = adapted("tuned")
    cure = r"export that run .* and name the folder as architecture\.model, or train them here as well"
    job = classifying(saved, **settings)
    with pytest.raises(JobError, match=cure):
        load_weights(assemble(prepare(job, start=saved)).objective, saved)
    with pytest.raises(JobError, match=cure):
        make_plan(job, weights=saved)
