"""A model that answers questions, from a table to its predictions."""

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stoker.datasets.loading import load_dataset
from stoker.datasets.sources.questions import question
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, save_model
from stoker.inference.model_signature import signature
from stoker.inference.prediction import predict
from stoker.job.task import TASKS
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate_in_detail, show
from stoker.training.loop import start, train
from stoker.training.preparation import prepare


@pytest.fixture(scope="module")
def answerer(tmp_path_factory, make_job) -> tuple[Model, dict[str, float], Any]:
    """Train on 800 generated questions for a few seconds; return the model, its metrics and the assembly."""
    folder = tmp_path_factory.mktemp("answers")
    rng = random.Random(0)
    pd.DataFrame([question(rng, 3) for _ in range(1000)]).to_csv(folder / "a.csv", index=False)
    dataset = {
        "source": str(folder / "a.csv"), "columns": {"label": "answer", "features": ["question", "context"]},
        "text": {"tokens": "words", "length": 27},
    }  # fmt: skip
    job = make_job(
        "question-answering",
        dataset,
        architecture={"family": "transformer", "width": 64, "dropout": 0.0},
        training={"epochs": 10, "batch_size": 32, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 3e-3}},
    )
    assembly = assemble(prepare(job))
    for _ in train("r", start(assembly)):
        pass
    data = assembly.data
    save_model(folder / "model", assembly.job, data.fields, assembly.objective, data.fingerprint)
    model = Model.load(folder / "model")
    return model, evaluate(model, part="test"), assembly


def test_answers_are_learnt_from_scratch(answerer):
    assert answerer[1]["f1/test"] >= 0.95
    assert answerer[1]["exact_match/test"] >= 0.9


def test_long_texts_are_answered_in_the_words_of_the_text(answerer, tmp_path: Path):
    rng = random.Random(7)
    rows = [question(rng, people) for people in (2, 3, 7, 8) for _ in range(15)]
    pd.DataFrame(rows).drop(columns="answer").to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    (answers,) = predict(answerer[0], str(tmp_path / "a.jsonl"))
    table = answers.table
    assert list(table.columns) == ["prediction", "score", "begin", "end", "question", "context"]
    for row in table.to_dict("records"):
        assert row["context"][row["begin"] : row["end"]] == row["prediction"]
        assert 0 < row["score"] <= 1
    right = [found == row["answer"] for found, row in zip(table["prediction"], rows, strict=True)]
    assert sum(right) / len(right) > 0.8
    pd.DataFrame(rows).to_csv(tmp_path / "b.csv", index=False)
    assert evaluate(answerer[0], str(tmp_path / "b.csv"))["exact_match"] == pytest.approx(sum(right) / len(right))


def test_a_question_is_answered_like_among_others(answerer):
    rng = random.Random(9)
    frame = pd.DataFrame([question(rng, people) for people in (2, 8, 3)])
    together = answerer[0].predict(frame).table
    for row in range(3):
        alone = answerer[0].predict(frame.iloc[row : row + 1]).table
        assert alone["prediction"][0] == together["prediction"][row]
        assert alone["score"][0] == pytest.approx(together["score"][row], rel=1e-4)


def test_questions_in_the_form_of_squad_are_answered(answerer, tmp_path: Path):
    qas = [{"id": "1", "question": "Who has the red ball?"}]
    content = {"data": [{"paragraphs": [{"context": "Ann has the red ball. Bob has the blue cup.", "qas": qas}]}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (answers,) = predict(answerer[0], str(tmp_path / "a.json"))
    assert answers.table[["prediction", "begin", "end", "id"]].values.tolist() == [["Ann", 0, 3, "1"]]


def test_the_page_shows_questions_with_both_answers(answerer):
    page = show(answerer[2], "fp32")
    assert page.name == "answered"
    assert len(page.texts) == 8
    for text, highlights in zip(page.texts, page.highlights, strict=True):
        names = [line[:10].strip() for line in text.splitlines()]
        assert [name for name in names if name] in (
            ["question:", "answer:", "found:"],
            ["question:", "text:", "answer:", "found:"],
        )
        assert len(highlights) == names.count("")  # each below its answer
    assert any(page.highlights)


def test_the_review_has_each_question_once_with_its_number_in_the_source(answerer):
    assembly = answerer[2]
    found = evaluate_in_detail(assembly, "test", "fp32", assembly.task.review())
    rows = found.review.rows()
    data = load_dataset(assembly.job.dataset_to_load, TASKS["question-answering"])
    frame = pd.read_csv(assembly.job.dataset.source)
    assert len({row["id"] for row in rows}) == len(rows) == 16
    assert {row["id"] for row in rows} <= set(data.parts["test"].ids.tolist())
    for row in rows:
        assert (frame["question"][row["id"]], frame["answer"][row["id"]]) == (row["question"], row["target"])


def test_the_served_signature_names_the_answer_and_its_place(answerer):
    outputs = json.loads(signature(answerer[0].fields, answerer[0].network, type(answerer[0].task))["outputs"] or "")
    assert [(each["name"], each["type"]) for each in outputs] == [
        ("prediction", "string"), ("score", "double"), ("begin", "long"), ("end", "long"),
    ]  # fmt: skip
