"""A run's model, served by MLflow where Stoker is not installed."""

import json
import os
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
import venv
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from stoker.datasets.sources.builtin import read_builtin
from stoker.execution.results import write_model
from stoker.inference.generation import generate
from stoker.inference.model import Model
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare


@pytest.fixture(scope="module")
def isolated_python(tmp_path_factory):
    """A Python with the libraries, but without Stoker."""
    folder = tmp_path_factory.mktemp("isolated_python")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])  # its own .pth files are not read
    python = folder / "venv" / "bin" / "python"
    uvicorn = python.with_name("uvicorn")  # MLflow calls it by name
    uvicorn.write_text(f"#!{python}\nfrom uvicorn.main import main\nmain()\n")
    uvicorn.chmod(0o755)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")
    }
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    missing = subprocess.run(
        [python, "-c", "import mlflow, torch, stoker"], env=environment, capture_output=True, text=True
    )
    assert "No module named 'stoker'" in missing.stderr
    return python, environment


SOURCE = Path(__file__).parents[2] / "platform"
OTHERS = {
    "segmentation": {"family": "unet", "channels": [4, 8]},
    "text-classification": {"family": "rnn", "embedding": 6, "hidden": 5},
    "image-generation": {"family": "gan", "channels": [4, 8], "latent": 5},
    "translation": {"family": "transformer", "width": 8, "heads": 2, "layers": 1},
    "token-classification": {"family": "rnn", "embedding": 6, "hidden": 5},
}
STORE = """
import sys, mlflow
from pathlib import Path
from stoker.execution.packaging import packaged
folder, *tasks = sys.argv[1:]
for task in tasks:
    with packaged(Path(folder, "runs", task, "model")) as arguments:
        mlflow.pyfunc.save_model(Path(folder, task), **arguments)
print([name for name in ("torch", "torchmetrics") if name in sys.modules])
"""
QUESTIONS = """
import json, sys, mlflow, numpy, pandas
asked = {
    "segmentation": numpy.arange(180, dtype=numpy.uint8).reshape(2, 10, 9, 1),
    "text-classification": pandas.DataFrame({"text": ["the film was good", "bad", "a word nobody knows"]}),
    "translation": pandas.DataFrame({"en": ["the red dog", "no cat sees a word nobody knows"]}),
    "token-classification": pandas.DataFrame({"words": [["Ann", "Smith", "left"], "Bob saw Rome."]}),
    "image-generation": pandas.DataFrame({"class": ["dark", "bright", "dark"], "seed": [1, 1, 1]}),
}
answers = {}
for folder in sys.argv[1:]:
    model = mlflow.pyfunc.load_model(folder)
    name = folder.rpartition("/")[2]
    answer = model.predict(asked[name])
    answers[name] = answer.to_dict("list") if isinstance(answer, pandas.DataFrame) else answer.tolist()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def stored(tiny_data, make_job, tmp_path_factory):
    """A trained model of each task that the digits run does not cover, as MLflow stores it."""
    folder = tmp_path_factory.mktemp("stored")
    for task, network in OTHERS.items():
        training = {"epochs": 1, "batch_size": 20, "precision": "fp32"}
        assembly = assemble(prepare(make_job(task, tiny_data(task), architecture=network, training=training)))
        for _ in train("r", start(assembly)):
            pass
        run = RunFolder(folder / "runs" / task)
        run.path.mkdir(parents=True)
        write_model(run, assembly)
    stored = subprocess.run(
        [sys.executable, "-c", STORE, folder, *OTHERS],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert stored.returncode == 0, stored.stderr
    assert stored.stdout.splitlines()[-1] == "[]", "the driver would load what only the worker needs"
    return folder


@pytest.fixture(scope="module")
def answered(stored, isolated_python):
    """The predictions of the stored models in a Python without Stoker."""
    python, environment = isolated_python
    done = subprocess.run(
        [python, "-c", QUESTIONS, *[str(stored / task) for task in OTHERS]],
        env=environment,
        capture_output=True,
        text=True,
        cwd=stored,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("task", OTHERS)
def test_the_signature_is_written_as_mlflow_writes_it(stored, task):
    written = json.loads((stored / "runs" / task / "model" / "signature.json").read_text())
    signature = mlflow.models.get_model_info(str(stored / task)).signature
    for name, content in signature.to_dict().items():
        assert json.loads(content or "null") == json.loads(written[name] or "null")


def test_a_stored_segmentation_predicts_masks_with_the_values_of_the_files(stored, answered):
    masks = np.array(answered["segmentation"], np.uint8)
    assert masks.shape == (2, 10, 9)
    own = Model.load(stored / "runs" / "segmentation" / "model")
    assert np.array_equal(masks, own.predict(np.arange(180, dtype=np.uint8).reshape(2, 10, 9, 1)).images)
    assert set(masks.flatten().tolist()) <= {0, 255}


def test_a_stored_text_classifier_predicts_the_class_and_all_probabilities(stored, answered):
    table = pd.DataFrame(answered["text-classification"])
    assert list(table.columns) == ["prediction", "probability/blame", "probability/praise"]
    own = Model.load(stored / "runs" / "text-classification" / "model")
    texts = pd.DataFrame({"text": ["the film was good", "bad", "a word nobody knows"]})
    pd.testing.assert_frame_equal(table, own.predict(texts).table, check_dtype=False, atol=1e-5)


def test_a_stored_translator_writes_what_the_model_does(stored, answered):
    own = Model.load(stored / "runs" / "translation" / "model")
    texts = pd.DataFrame({"en": ["the red dog", "no cat sees a word nobody knows"]})
    expected = own.predict(texts).table
    assert answered["translation"] == expected.to_dict("list")
    signature = mlflow.models.get_model_info(str(stored / "translation")).signature
    assert [(column.name, column.type.name) for column in signature.outputs] == [("prediction", "string")]


def test_a_stored_tagger_takes_lists_of_words_and_plain_sentences(stored, answered):
    table = pd.DataFrame(answered["token-classification"])
    assert list(table.columns) == ["prediction", "entities"]
    assert [len(tags.split()) for tags in table["prediction"]] == [3, 4]
    own = Model.load(stored / "runs" / "token-classification" / "model")
    sentences = pd.DataFrame({"words": ['["Ann", "Smith", "left"]', "Bob saw Rome ."]})
    pd.testing.assert_frame_equal(table, own.predict(sentences).table, check_dtype=False)


def test_a_stored_generator_returns_an_image_for_each_class_and_seed(stored, answered):
    images = np.array(answered["image-generation"], np.uint8)
    assert images.shape == (3, 8, 8, 1)
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])
    own = Model.load(stored / "runs" / "image-generation" / "model")
    ((name, image),) = generate(own, 1, 1, ("bright",))
    assert name == "bright"
    assert np.abs(images[1].astype(int) - image).max() <= 1  # of 256: rounding of another process


def test_serves_images_without_an_installed_stoker(digits, isolated_python, tmp_path, until, answers, free_port):
    home, run = digits
    python, environment = isolated_python
    mlflow.set_tracking_uri(f"sqlite:///{home.path / 'mlflow.db'}")
    model = mlflow.artifacts.download_artifacts(run.status().model_uri, dst_path=str(tmp_path))
    port = free_port
    command = [python, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", str(port)]
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        until(lambda: server.poll() is not None or answers(f"http://127.0.0.1:{port}/ping"), "the server", 120)
        assert server.poll() is None, log.read_text()
        data = read_builtin("digits")
        sample = slice(0, 5)
        answer = _ask(port, {"inputs": data.columns["image"][sample].tolist()})
        predicted = [row["prediction"] for row in answer["predictions"]]
        assert sum(p == t for p, t in zip(predicted, data.columns["digit"][sample], strict=True)) >= 4
        assert sum(row[f"probability/{n}"] for row in answer["predictions"] for n in range(10)) == pytest.approx(5)
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)


def test_the_stored_code_is_all_that_the_model_needs(digits, isolated_python, tmp_path):
    home, run = digits
    python, environment = isolated_python
    mlflow.set_tracking_uri(f"sqlite:///{home.path / 'mlflow.db'}")
    model = mlflow.artifacts.download_artifacts(run.status().model_uri, dst_path=str(tmp_path))
    script = (
        "import mlflow, numpy, sys; model = mlflow.pyfunc.load_model(sys.argv[1]);"
        "print(model.predict(numpy.zeros((2, 8, 8, 1), numpy.uint8)).shape);"
        "print('ray' in sys.modules, __import__('stoker').__file__.startswith(sys.argv[1]))"
    )
    done = subprocess.run([python, "-c", script, model], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split("\n")[:2] == ["(2, 11)", "False True"], done.stderr
    assert (Path(model) / "python_env.yaml").exists()
    requirements = (Path(model) / "requirements.txt").read_text()
    assert "torch==" in requirements
    assert "stoker" not in requirements


def _ask(port, content):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error
