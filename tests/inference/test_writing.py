"""A model that writes texts: generate, predict, evaluate and the served model."""

import itertools

import pandas as pd
import pytest

from stoker.datasets.tokens.tokenizer import SPECIAL
from stoker.errors import JobError
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, save_model
from stoker.inference.prediction import predict
from stoker.inference.serving import Answering
from stoker.job.task import TASKS
from stoker.tasks.writing.settings import Writing
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate as evaluate_in_training
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

SENTENCE = "the cat sat on the mat and the hat sat on the cat\n"
ROUND = {
    "transformer": {"family": "transformer", "width": 32, "heads": 2, "dropout": 0.0},
    "rnn": {"family": "rnn", "embedding": 16, "hidden": 48, "dropout": 0.0},
}


@pytest.fixture(scope="module", params=ROUND)
def folder(request, make_job, tmp_path_factory: pytest.TempPathFactory):
    """A model that knows a sentence by heart."""
    place = tmp_path_factory.mktemp("writer")
    (place / "lines.txt").write_text(SENTENCE * 60)
    dataset = {"source": str(place / "lines.txt"), "text": {"length": 32}}
    training = {"epochs": 12, "batch_size": 8, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 1e-2}}
    assembly = assemble(
        prepare(make_job("text-generation", dataset, architecture=ROUND[request.param], training=training))
    )
    for _ in train("r", start(assembly)):
        pass
    save_model(place / "model", assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    reported = evaluate_in_training(assembly, "test", "fp32")
    return place, reported


@pytest.fixture(scope="module")
def model(folder) -> Model:
    return Model.load(folder[0] / "model")


def test_what_was_learnt_by_heart_is_written_again(model):
    writing = Writing(length=80, temperature=0)
    text = "".join(model.write("the cat sat on the m", writing, seed=0))
    assert ("the cat sat on the m" + text).startswith(SENTENCE)


def test_a_text_comes_in_pieces_before_its_end(model):
    pieces = model.write("the cat", Writing(length=5, temperature=0), seed=0)
    assert next(pieces) == " "
    assert "".join(itertools.chain([" "], pieces)) == " sat "


def test_the_same_seed_writes_the_same_text_and_numbers_differ(model):
    hot = Writing(length=60, temperature=3.0)
    texts = ["".join(model.write("the", hot, seed, number)) for seed, number in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_predictions_continue_each_row(model, tmp_path):
    pd.DataFrame({"text": ["the cat sat", "on the mat and"]}).to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "new.txt").write_text("the cat sat\non the mat and\n")
    tables = [
        pd.concat([each.table for each in predict(model, str(tmp_path / name))], ignore_index=True)
        for name in ("new.csv", "new.txt")
    ]
    assert tables[0]["text"].tolist() == ["the cat sat", "on the mat and"]
    assert tables[0]["prediction"].tolist() == tables[1]["prediction"].tolist()
    assert tables[0]["prediction"].tolist() == [
        "".join(model.write(prompt, Writing(), 0, number)) for number, prompt in enumerate(tables[0]["text"])
    ]
    assert all(0 < len(text) <= Writing().length for text in tables[0]["prediction"])


def test_the_served_model_writes_the_same(folder, model):
    request = pd.DataFrame({"text": ["the cat sat", "on the mat and"]})
    answer = Answering(folder[0] / "model").answer(request, {})
    assert isinstance(answer, pd.DataFrame)
    assert answer["prediction"].tolist() == model.predict(request).table["prediction"].tolist()


def test_a_saved_model_measures_what_the_training_did(folder, model, tmp_path):
    reported = folder[1]
    assert evaluate(model, part="test") == {f"{n}/test": pytest.approx(v, rel=1e-4) for n, v in reported.items()}
    assert reported.keys() == TASKS["text-generation"].metrics.keys()
    assert reported["perplexity"] < 1.5
    assert model.fields.text.tokenizer.size < SPECIAL + 20
    (tmp_path / "new.txt").write_text(SENTENCE * 4)
    known = evaluate(model, str(tmp_path / "new.txt"))
    assert known["bits_per_byte"] == pytest.approx(reported["bits_per_byte"], abs=0.1)
    (tmp_path / "new.txt").write_text("hat mat cat eht\n" * 16)
    assert evaluate(model, str(tmp_path / "new.txt"))["bits_per_byte"] > 5 * known["bits_per_byte"]


def test_a_model_that_predicts_writes_no_texts(flowers):
    with pytest.raises(JobError, match="writes no texts; use stoker predict"):
        list(flowers.model.write("once", Writing(), 0))
