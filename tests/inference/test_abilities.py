"""What a user's own network or objective can do beyond `forward`, as predict, evaluate and the served model use it."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stoker.errors import JobError
from stoker.execution.packaging import packaged
from stoker.execution.results import write_model
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, concatenated
from stoker.inference.prediction import predict
from stoker.job.job import Job
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate as evaluate_in_training
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

CODE = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from stoker.tasks.objective import Supervised

class Plain(nn.Module):
    def __init__(self, signature):
        super().__init__()
        self.layer = nn.Linear(signature.numbers, len(signature.classes))
    def forward(self, numbers):
        return self.layer(numbers)

class Able(Plain):
    def decode(self, inputs, noise):
        assert noise.normal(2).shape == (len(inputs["numbers"]), 2)
        return -self(inputs["numbers"])
    def encode(self, inputs):
        return inputs["numbers"][:, :3] * 2

class Noisy(Plain):
    def decode(self, inputs, noise):
        return self(inputs["numbers"]) + noise.normal(3)

class OwnMatters(Plain):
    # methods and layers that have the names of abilities, and are none
    def __init__(self, signature):
        super().__init__(signature)
        self.encode = nn.Linear(signature.numbers, 2)
        self.back = nn.Linear(2, signature.numbers)
    def decode(self, code):
        return self.back(code)
    def sample(self, mean, deviation):
        return mean + deviation
    def forward(self, numbers):
        return self.layer(numbers + self.sample(self.decode(self.encode(numbers)), 0))

class Masks(nn.Module):
    # learns to answer 1 where the image is bright; decodes the reverse
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 1)
    def forward(self, image):
        return self.layer(image)
    def decode(self, inputs, noise):
        return -self(inputs["image"])

class Writer(nn.Module):
    # writes a text from another one without a memory
    def __init__(self, signature, width=16):
        super().__init__()
        self.embedding = nn.Embedding(signature.output.vocabulary, width)
        self.reading = nn.GRU(width, width, batch_first=True)
        self.writing = nn.GRU(width, width, batch_first=True)
        self.output = nn.Linear(width, signature.output.vocabulary)
    def forward(self, en, written):
        _, read = self.reading(self.embedding(en))
        return self.output(self.writing(self.embedding(written), read)[0])

class Searching(Writer):
    beam = 3

class ByInputs(Able):
    def forward(self, inputs):
        return self.layer(inputs["numbers"] if isinstance(inputs, dict) else inputs)

class Own(Supervised):
    def __init__(self, signature):
        super().__init__(ByInputs(signature))
    def losses(self, output, batch):
        return cross_entropy(output, batch.target, reduction="none")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("able")
    (folder / "able_code.py").write_text(CODE)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("able_code", None)


@pytest.fixture(scope="module")
def trained(folder: Path, make_job: Callable[..., Job]) -> Callable[[str], tuple[Model, dict[str, float]]]:
    """Return a trained model of a class, and the metrics of its test part in training."""

    @cache
    def train_class(name: str) -> tuple[Model, dict[str, float]]:
        network = {"family": "custom", "class": f"able_code:{name}"}
        training = {"epochs": 20, "precision": "fp32", "optimizer": {"type": "adam", "lr": 0.05}}
        assembly = assemble(
            prepare(make_job("tabular-classification", "iris", architecture=network, training=training))
        )
        for _ in train("r", start(assembly)):
            pass
        run = RunFolder(folder / name)
        run.path.mkdir(exist_ok=True)
        write_model(run, assembly)
        return Model.load(run.model), evaluate_in_training(assembly, "test", "fp32")

    return train_class


def test_metrics_and_predictions_are_those_of_what_a_network_decodes(trained):
    """The reverse of what was learnt, here: the loss is as good as before, the answers are as bad as can be."""
    _, plain = trained("Plain")
    for name in ("Able", "Own"):
        model, reported = trained(name)
        assert reported["loss"] == pytest.approx(plain["loss"], abs=0.3)
        assert plain["accuracy"] > 0.8
        assert reported["accuracy"] < 0.3
        assert evaluate(model)["accuracy/test"] == pytest.approx(reported["accuracy"])
        answers = concatenated(list(predict(model, "iris"))).table
        assert (answers["prediction"] == answers["species"]).mean() < 0.3


def test_masks_are_measured_as_they_are_predicted(folder: Path, make_job: Callable[..., Job], tiny_data):
    network = {"family": "custom", "class": "able_code:Masks"}
    training = {"epochs": 10, "precision": "fp32", "optimizer": {"type": "adam", "lr": 0.1}}
    assembly = assemble(
        prepare(make_job("segmentation", tiny_data("segmentation"), architecture=network, training=training))
    )
    for _ in train("r", start(assembly)):
        pass
    assert evaluate_in_training(assembly, "test", "fp32")["accuracy"] < 0.3


@pytest.mark.parametrize("name", ["Writer", "Searching"])
def test_a_network_writes_texts_if_it_takes_what_is_written(
    folder: Path, make_job: Callable[..., Job], tiny_data, name
):
    network = {"family": "custom", "class": f"able_code:{name}", "width": 24}
    training = {"epochs": 40, "precision": "fp32", "optimizer": {"type": "adam", "lr": 0.02}}
    assembly = assemble(
        prepare(make_job("translation", tiny_data("translation"), architecture=network, training=training))
    )
    for _ in train("r", start(assembly)):
        pass
    run = RunFolder(folder / name)
    run.path.mkdir(exist_ok=True)
    write_model(run, assembly)
    few = pd.DataFrame({"en": ["the red dog", "no cat", "sees"]})
    model = Model.load(run.model)
    whole = model.predict(few).table
    assert set(" ".join(whole["prediction"]).split()) <= {"der", "rote", "hund", "sieht", "kein", "kater"}
    pd.testing.assert_frame_equal(model.predict(few[:1]).table, whole[:1])
    assert evaluate_in_training(assembly, "train", "fp32")["bleu"] > 30


def test_a_decoded_answer_does_not_depend_on_the_others(trained):
    model, _ = trained("Noisy")
    rows = pd.DataFrame(np.ones((6, 4)), columns=list(model.fields.columns))
    whole = model.predict(rows).table
    pd.testing.assert_frame_equal(model.predict(rows[:2]).table, whole[:2])
    assert whole["probability/setosa"].nunique() == 6  # and each has noise of its own


def test_methods_and_layers_of_these_names_are_the_networks_own_matter(trained):
    model, reported = trained("OwnMatters")
    assert evaluate(model)["accuracy/test"] == pytest.approx(reported["accuracy"])
    assert concatenated(list(predict(model, "iris"))).table["prediction"].nunique() == 3
    with pytest.raises(JobError, match="gives no codes"):
        next(predict(model, "iris", kind="code"))


def test_codes_are_written_beside_the_columns_of_the_input(trained):
    for name in ("Able", "Own"):
        model, _ = trained(name)
        table = concatenated(list(predict(model, "iris", kind="code"))).table
        codes = table[["code/0", "code/1", "code/2"]].to_numpy()
        assert "prediction" not in table
        lengths = table.iloc[:, 3].to_numpy(float)
        assert np.corrcoef(codes[:, 0], lengths)[0, 1] == pytest.approx(1)


def test_a_network_without_codes_says_so(trained):
    model, _ = trained("Plain")
    with pytest.raises(JobError, match=r"gives no codes: only a network with a method `encode\(inputs\)` does"):
        next(predict(model, "iris", kind="code"))


def test_a_served_model_answers_codes_when_asked(trained, folder: Path):
    import mlflow

    model, _ = trained("Own")
    with packaged(folder / "Own" / "model") as arguments:
        mlflow.pyfunc.save_model(folder / "stored", **arguments)
    stored = mlflow.pyfunc.load_model(str(folder / "stored"))
    rows = pd.DataFrame(np.eye(4) * 5, columns=list(model.fields.columns))
    pd.testing.assert_frame_equal(stored.predict(rows), model.predict(rows).table)
    codes = stored.predict(rows, params={"output_kind": "code"})
    pd.testing.assert_frame_equal(codes, model.predict(rows, "code").table)
