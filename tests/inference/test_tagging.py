"""Words of new sentences are tagged, however they are written."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from stoker.datasets.records import table
from stoker.errors import JobError
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, concatenated, save_model
from stoker.inference.prediction import predict
from stoker.tasks.reading.spans import iob2, spans
from stoker.training.assembly import assemble
from stoker.training.events import EpochEnd
from stoker.training.loop import start, train
from stoker.training.preparation import prepare


@pytest.fixture(scope="module")
def tagger(make_job, tiny_data, tmp_path_factory) -> tuple[Model, float]:
    """A model that knows the names of the small sentences, and its F1 of the validation part."""
    dataset = {**tiny_data("token-classification"), "text": {"length": 9}}
    architecture = {"family": "rnn", "embedding": 32, "hidden": 16, "dropout": 0.0, "word_dropout": 0.2}
    training = {"epochs": 12, "batch_size": 4, "precision": "fp32", "optimizer": {"type": "adam", "lr": 0.02}}
    assembly = assemble(
        prepare(make_job("token-classification", dataset, architecture=architecture, training=training))
    )
    *_, last = (event for event in train("r", start(assembly)) if isinstance(event, EpochEnd))
    folder = tmp_path_factory.mktemp("tagger")
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return Model.load(folder), last.metrics["f1/val"]


def tagged(model: Model, path: Path, content: str) -> pd.DataFrame:
    path.write_text(content)
    return concatenated(list(predict(model, str(path)))).table


SENTENCE = ["Ann", "Smith", "left", "Oslo"]
TAGS, ENTITIES = "B-PER I-PER O B-LOC", [("Ann Smith", "PER", 0, 2), ("Oslo", "LOC", 3, 4)]


def test_names_are_learnt(tagger):
    assert tagger[1] > 0.9


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "Ann Smith left Oslo\nand"),
        ("a.jsonl", f"{json.dumps({'tokens': SENTENCE})}\n{json.dumps({'tokens': ['and']})}\n"),
        ("a.csv", 'sentence\n"Ann Smith left Oslo"\nand\n'),
        ("a.conll", "Ann O\nSmith O\nleft O\nOslo O\n\nand O\n"),
    ],
)
def test_sentences_are_tagged_however_they_are_written(tagger, tmp_path: Path, name: str, content: str):
    table = tagged(tagger[0], tmp_path / name, content)
    assert list(table.columns)[:2] == ["prediction", "entities"]
    assert table["prediction"].tolist() == [TAGS, "O"]
    found = [json.loads(cell) for cell in table["entities"]]
    assert [tuple(each.values()) for each in found[0]] == ENTITIES
    assert found[1] == []


def test_a_sentence_is_tagged_like_among_others(tagger, tmp_path: Path):
    together = tagged(tagger[0], tmp_path / "a.txt", "Ann Smith left Oslo\nBob and Ann saw Rome and Oslo\nand\n")
    assert together["prediction"][0] == TAGS
    alone = tagged(tagger[0], tmp_path / "b.txt", "Bob and Ann saw Rome and Oslo\n")
    assert alone["prediction"][0] == together["prediction"][1]


def test_words_beyond_the_length_are_cut_off_with_a_note(tagger, tmp_path: Path):
    (tmp_path / "a.txt").write_text(f"{'and ' * 12}\nAnn\n")
    notes: list[str] = []
    (answers,) = predict(tagger[0], str(tmp_path / "a.txt"), tell=notes.append)
    assert [len(tags.split()) for tags in answers.table["prediction"]] == [9, 1]
    assert notes == [
        "column 'words': 1 of 2 sentences have more than 9 words and are cut off there (dataset.text.length)"
    ]


def test_a_pretrained_model_tags_words_and_not_their_tokens(make_job, tiny_data, tiny_model, tmp_path: Path):
    architecture = {"family": "pretrained", "model": str(tiny_model("bert"))}
    job = make_job(
        "token-classification",
        tiny_data("token-classification"),
        architecture=architecture,
        training={"epochs": 1, "batch_size": 16, "precision": "fp32"},
    )
    assembly = assemble(prepare(job))
    *_, last = (event for event in train("r", start(assembly)) if isinstance(event, EpochEnd))
    save_model(tmp_path / "saved", assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    model = Model.load(tmp_path / "saved")
    rows = [{"words": SENTENCE}, {"words": ["film"] * 12}]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    notes: list[str] = []
    (answers,) = predict(model, str(tmp_path / "a.jsonl"), tell=notes.append)
    assert [len(tags.split()) for tags in answers.table["prediction"]] == [4, 10]
    # Of the first one only tokens of its last word are cut off.
    assert [note.partition(" (")[0] for note in notes] == [
        "column 'words': 2 of 2 sentences have more than 10 tokens and are cut off there"
    ]
    network = assembly.objective.network.eval()
    samples = assembly.data.fields.encode(table(pd.DataFrame({"words": [SENTENCE]})), target=False)
    places = network(assembly.data.fields.gather(samples, torch.tensor([0])))[0, :4].argmax(dim=1)
    tags = [assembly.task.fields.target.tags[place] for place in places]
    assert answers.table["prediction"][0].split() == iob2(spans(tags), 4)
    assert evaluate(model, part="val")["f1/val"] == pytest.approx(last.metrics["f1/val"], nan_ok=True)


def test_new_sentences_are_evaluated_and_unknown_tags_refused(tagger, tmp_path: Path):
    path = tmp_path / "a.conll"
    path.write_text("Ann B-PER\nSmith I-PER\nleft O\nOslo B-LOC\n")
    found = evaluate(tagger[0], str(path))
    assert {name: found[name] for name in ("accuracy", "precision", "recall", "f1")} == dict.fromkeys(
        ("accuracy", "precision", "recall", "f1"), 1.0
    )
    path.write_text("Ann B-ORG\n")
    with pytest.raises(JobError, match="row 1: 'B-ORG' is none of the tags that training knows"):
        evaluate(tagger[0], str(path))
