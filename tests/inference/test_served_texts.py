"""A stored model that writes texts takes the options of `stoker generate` as MLflow's parameters."""

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import init
from starlette.testclient import TestClient

from stoker.errors import JobError
from stoker.inference.model import Model
from stoker.tasks.writing.settings import Writing
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

PROMPTS = pd.DataFrame({"text": ["the cat", "on the"]})


@pytest.fixture(scope="module")
def folder(tiny_data, make_job, tmp_path_factory, store):
    """A model that has seen a few lines once, so that random numbers matter, as MLflow stores it."""
    folder = tmp_path_factory.mktemp("texts")
    network = {"family": "transformer", "width": 8, "heads": 2, "layers": 1}
    training = {"epochs": 1, "batch_size": 20, "precision": "fp32"}
    job = make_job("text-generation", tiny_data("text-generation"), architecture=network, training=training)
    assembly = assemble(prepare(job))
    for _ in train("r", start(assembly)):
        pass
    store(assembly, folder)
    return folder


@pytest.fixture(scope="module")
def stored(folder):
    return mlflow.pyfunc.load_model(str(folder / "stored"))


@pytest.fixture(scope="module")
def own(folder):
    return Model.load(folder / "run" / "model")


def written(own: Model, writing: Writing, seed: int) -> list[str]:
    """Return the texts of `stoker generate` for both prompts."""
    return ["".join(own.write(prompt, writing, seed, number)) for number, prompt in enumerate(PROMPTS["text"])]


def test_the_signature_has_the_options_of_generate_with_their_defaults(folder):
    parameters = mlflow.models.get_model_info(str(folder / "stored")).signature.params.to_dict()
    assert {each["name"]: (each["type"], each["default"]) for each in parameters} == {
        "length": ("long", 200),
        "temperature": ("double", 0.8),
        "top_k": ("long", None),
        "top_p": ("double", None),
        "stop": ("string", []),
        "seed": ("long", 0),
    }


def test_without_parameters_it_writes_as_generate_does_by_default(stored, own):
    assert stored.predict(PROMPTS)["prediction"].tolist() == written(own, Writing(), 0)


@pytest.mark.parametrize(
    ("parameters", "writing"),
    [
        ({"length": 9, "seed": 3}, Writing(9)),
        ({"length": 30, "temperature": 2, "seed": 3}, Writing(30, 2.0)),
        ({"length": 30, "temperature": 2.0, "top_k": 3}, Writing(30, 2.0, top_k=3)),
        ({"length": 30, "temperature": 2.0, "top_p": 0.5}, Writing(30, 2.0, top_p=0.5)),
        ({"temperature": 0.0, "length": 30}, Writing(30, 0.0)),
        ({"temperature": 2.0, "stop": ["a", "t"]}, Writing(temperature=2.0, stop=("a", "t"))),
        ({"length": 30, "top_k": None, "seed": np.int64(5)}, Writing(30)),
    ],
)
def test_each_parameter_means_what_the_option_does(stored, own, parameters, writing):
    texts = stored.predict(PROMPTS, params=parameters)["prediction"].tolist()
    assert texts == written(own, writing, int(parameters.get("seed", 0)))
    assert texts != stored.predict(PROMPTS, params={"seed": 99})["prediction"].tolist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": -1.0}, "temperature: -1 is out of range; use 0, which always takes the likeliest, to 100"),
        ({"temperature": float("nan")}, "temperature: nan is out of range"),
        ({"length": 0}, "length: 0 is out of range; use 1 to 1,000,000 tokens"),
        ({"top_k": 0}, "top_k: 0 is out of range; use 1 or more, or leave it out to draw from all"),
        ({"top_p": 1.5}, "top_p: 1.5 is out of range; use more than 0, up to 1, or leave it out"),
        ({"stop": [""]}, "stop: an empty text ends every text before it begins; leave it out"),
        ({"seed": -1}, "seed: -1 is below 0; use 0 or more"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_cure(stored, parameters, message):
    with pytest.raises(JobError) as caught:
        stored.predict(PROMPTS, params=parameters)
    assert message in str(caught.value)


def test_a_parameter_of_another_type_is_refused_by_mlflow(stored):
    with pytest.raises(MlflowException, match="top_k"):
        stored.predict(PROMPTS, params={"top_k": "many"})


def test_parameters_come_with_a_request_over_http(stored, own):
    content = {"dataframe_split": json.loads(PROMPTS.to_json(orient="split")), "params": {"length": 12, "seed": 4}}
    with TestClient(init(stored)) as client:
        answer = client.post("/invocations", json=content)
    assert answer.status_code == 200, answer.text
    assert [row["prediction"] for row in answer.json()["predictions"]] == written(own, Writing(12), 4)
