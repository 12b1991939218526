"""`generate` of texts, images and rows: what the options do, and which of them do nothing."""

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from stoker.inference.model import save_model
from stoker.inference.serving import Answering
from stoker.tracking.run import RunStatus, State
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

SENTENCE = "the cat sat on the mat and the hat sat on the cat\n"


@pytest.fixture(scope="module")
def model(make_job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that has read a sentence."""
    folder = tmp_path_factory.mktemp("writer")
    (folder / "lines.txt").write_text(SENTENCE * 40)
    dataset = {"source": str(folder / "lines.txt"), "text": {"length": 16}}
    network = {"family": "transformer", "width": 16, "heads": 2, "layers": 1}
    training = {"epochs": 4, "batch_size": 8, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 1e-2}}
    assembly = assemble(prepare(make_job("text-generation", dataset, architecture=network, training=training)))
    for _ in train("r", start(assembly)):
        pass
    save_model(folder / "model", assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return folder / "model"


@pytest.fixture(autouse=True)
def run(model, make_run) -> str:
    """A run that has ended, with its model."""
    folder = make_run("plays-00000001", status=RunStatus(state=State.SUCCEEDED))
    shutil.copytree(model, folder.model)
    return "plays"


def test_a_text_follows_its_prompt(stoker, capsys):
    assert stoker("generate", "plays", "--prompt", "the cat", "--length", 20) == 0
    text = capsys.readouterr().out
    assert text.startswith("the cat")
    assert len(text) == len("the cat") + 20 + 1
    assert stoker("generate", "plays", "--prompt", "the cat", "--length", 20) == 0
    assert capsys.readouterr().out == text
    assert stoker("generate", "plays", "--prompt", "the cat", "--length", 20, "--seed", 1) == 0
    assert capsys.readouterr().out != text


def test_the_served_model_writes_the_text_of_a_seed(stoker, capsys, model):
    options = {"seed": 7, "temperature": 2.0, "length": 40, "top_k": 9, "top_p": 0.9}
    arguments = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert stoker("generate", "plays", "--prompt", "the cat", *arguments) == 0
    (text,) = Answering(model).answer(pd.DataFrame({"text": ["the cat"]}), options)["prediction"]
    assert capsys.readouterr().out == f"the cat{text}\n"


def test_several_texts_are_told_apart(stoker, capsys, tmp_path):
    assert stoker("generate", "plays", "--prompt", "the", "--length", 8, "--count", 3, "-o", "json") == 0
    made = json.loads(capsys.readouterr().out)
    assert [each["prompt"] for each in made] == ["the"] * 3
    assert len({each["text"] for each in made}) > 1
    assert (
        stoker("generate", "plays", "--prompt", "the", "--length", 8, "--count", 3, "--output", tmp_path / "texts") == 0
    )
    files = sorted((tmp_path / "texts").iterdir())
    assert [file.name for file in files] == ["0.txt", "1.txt", "2.txt"]
    assert [file.read_text() for file in files] == [f"the{each['text']}" for each in made]


def test_a_text_ends_before_a_stop(stoker, capsys):
    assert stoker("generate", "plays", "--prompt", "t", "--length", 200, "--stop", "a", "--stop", "o") == 0
    assert not {"a", "o"} & set(capsys.readouterr().out)


def test_a_conversation_goes_on_until_the_input_ends(stoker, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\nthe hat\n"))
    assert stoker("generate", "plays", "-i", "--length", 5) == 0
    assert len(capsys.readouterr().out.replace("\n", "")) >= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--class", "a"], "--class does nothing for texts"),
        (["--guidance", "2"], "--guidance does nothing for texts"),
        (["--output", "texts.png"], "texts are written to a folder, not to an image"),
        (["-i", "--prompt", "a"], "-i reads its prompts from the terminal"),
        (["--top-p", "0"], "0 is not in the range"),
        (["--temperature", "-1"], "-1.0 is not in the range"),
    ],
)
def test_options_that_do_not_fit_are_refused(stoker, capsys, arguments, message):
    assert stoker("generate", "plays", *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_model_that_only_answers_is_pointed_to_predict(stoker, make_run, make_job, capsys):
    job = make_job("tabular-classification", {"source": "xor"}, architecture={"family": "perceptron"})
    assembly = assemble(prepare(job))
    folder = make_run("corners-00000001", status=RunStatus(state=State.SUCCEEDED)).model
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    assert stoker("generate", "corners", "--prompt", "a") == 2
    assert "a model of tabular-classification makes no samples; use stoker predict" in capsys.readouterr().err


def test_rows_are_written_as_a_table(stoker, make_run, make_job, capsys, tmp_path):
    network = {"family": "tabular-diffusion", "width": 4, "layers": 1, "steps": 2}
    assembly = assemble(prepare(make_job("table-generation", "wine", architecture=network)))
    folder = make_run("wines-00000001", status=RunStatus(state=State.SUCCEEDED)).model
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    assert stoker("generate", "wines", "--count", 5, "--class", "2") == 0
    printed = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert (len(printed), set(printed["cultivar"])) == (5, {2})
    assert stoker("generate", "wines", "--count", 5, "--class", "2", "--output", tmp_path / "rows.csv") == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "rows.csv"), printed)
    assert stoker("generate", "wines", "--count", 2, "-o", "json") == 0
    assert [len(row) for row in json.loads(capsys.readouterr().out)] == [14, 14]
    for arguments, message in (
        (["--output", tmp_path / "rows"], "name a file with .csv"),
        (["--top-k", 3], "for rows"),
    ):
        assert stoker("generate", "wines", *arguments) == 2
        assert message in capsys.readouterr().err
    asked = pd.DataFrame({"class": ["1", "3"], "seed": [0, 0]})
    answered = Answering(folder).answer(asked, {})
    assert answered["cultivar"].tolist() == ["1", "3"]


@pytest.fixture(scope="module")
def assistant(make_job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that says what it hears."""
    folder = tmp_path_factory.mktemp("assistant")
    said = {
        word: [{"role": "user", "content": f"say {word}"}, {"role": "assistant", "content": word}]
        for word in ("cat", "dog")
    }
    talks = [said[one] + said[other] for one in said for other in said] * 20
    (folder / "talks.jsonl").write_text("".join(f"{json.dumps({'messages': talk})}\n" for talk in talks))
    dataset = {"source": str(folder / "talks.jsonl"), "text": {"tokens": "words", "length": 20}, "split": "none"}
    network = {"family": "transformer", "width": 16, "heads": 2, "layers": 1, "dropout": 0.0}
    training = {"epochs": 30, "batch_size": 8, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 1e-2}}
    assembly = assemble(prepare(make_job("instruction-tuning", dataset, architecture=network, training=training)))
    for _ in train("r", start(assembly)):
        pass
    save_model(folder / "model", assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return folder / "model"


def test_an_assistant_answers_and_remembers_the_conversation(stoker, make_run, assistant, capsys, monkeypatch):
    shutil.copytree(assistant, make_run("talks-00000001", status=RunStatus(state=State.SUCCEEDED)).model)
    assert stoker("generate", "talks", "--prompt", "say cat") == 0
    assert capsys.readouterr().out == "cat\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("say dog\nsay cat\nsay dog\n"))
    assert stoker("generate", "talks", "-i") == 0
    assert capsys.readouterr().out == "dog\ncat\ndog\n"
    assert stoker("generate", "talks", "--prompt", "say dog", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == [{"prompt": "say dog", "text": "dog"}]
