"""A job on few texts starts from a model that has filled blanks in many: with its weights and its vocabulary."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, save_model
from stoker.training.assembly import assemble, prepare
from stoker.training.evaluation import evaluate as evaluate_in_training
from stoker.training.loop import start, train
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
