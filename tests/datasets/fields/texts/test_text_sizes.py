"""Texts that are longer than what is read of them are cut off or refused, and empty ones are counted."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stoker.datasets.loading import load_dataset
from stoker.errors import JobError
from stoker.inference.model import Model, save_model
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS
from stoker.training.assembly import assemble
from stoker.training.preparation import prepare

LONG = "one two three four five six"
CASES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "a text": ("text-classification", {"text": LONG, "label": "a"}, ["text"]),
    "words": ("token-classification", {"words": LONG, "label": "O O O O O B-X"}, ["words"]),
    "a source": ("translation", {"en": LONG, "label": "eins"}, ["en"]),
    "a target": ("translation", {"en": "one", "label": LONG}, ["en"]),
    "a question": ("question-answering", {"question": LONG, "text": "one two", "label": "two"}, ["question", "text"]),
    "a text with blanks": ("fill-mask", {"text": LONG}, ["text"]),
}
SHORT = {"text": "one two", "label": "b", "words": "two", "en": "one two", "question": "one two"}
OWN = {"words": "O", "token-classification": "O", "translation": "zwei", "question-answering": "two"}


def spec(folder: Path, case: str, cells: str | None = None, **text: Any) -> tuple[str, Dataset]:
    """Write a table whose third row has a long text, or all texts of another content."""
    task, long, features = CASES[case]
    rows = []
    for row in range(20):
        short = {name: SHORT[name] if name != "label" else OWN.get(task, "ab"[row % 2]) for name in long}
        rows.append(dict(long if row == 2 and cells is None else short))
        if cells is not None:
            rows[-1][features[0]] = cells
    rows[-1] |= {} if task != "token-classification" else {"label": "B-X"}
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    columns = {"features": features, "types": {name: "text" for name in features if name != "words"}}
    columns |= {"label": "label"} if "label" in long else {}
    tokens = {} if "words" in long else {"tokens": "words"}
    section = {"source": str(folder / "rows.csv"), "columns": columns, "split": "none", "text": {**tokens, **text}}
    return task, Dataset.model_validate(section)


def problem(task: str, dataset: Dataset) -> tuple[str, str]:
    with pytest.raises(JobError) as raised:
        load_dataset(dataset, TASKS[task])  # type: ignore[index]
    (found,) = raised.value.problems
    return found.path, found.message


@pytest.mark.parametrize("case", CASES)
def test_long_texts_are_refused_with_their_number_and_row_if_the_job_says_so(case: str, tmp_path: Path):
    length = 9 if case == "a question" else 4
    task, dataset = spec(tmp_path, case, length=length, long="refuse")
    path, message = problem(task, dataset)
    assert path == "dataset.text.long"
    assert "1 of 20 have more than " in message
    assert "such as row 3 with 6; shorten them, or train with a larger dataset.text.length" in message
    _, dataset = spec(tmp_path, case, length=length)
    assert len(load_dataset(dataset, TASKS[task]).parts["train"])  # type: ignore[index]
    _, dataset = spec(tmp_path, case, length=60, long="refuse")
    data = load_dataset(dataset, TASKS[task])  # type: ignore[index]
    assert (
        type(data.fields).from_json(json.loads(json.dumps(data.fields.to_json())), data.fields.assets()) == data.fields
    )


@pytest.mark.parametrize("case", ["a text", "words", "a source"])
def test_texts_that_are_all_empty_are_refused(case: str, tmp_path: Path):
    task, dataset = spec(tmp_path, case, cells="\t")
    if task == "token-classification":
        dataset = dataset.model_copy(
            update={"columns": dataset.columns.model_copy(update={"types": {"words": "words"}})}
        )
    path, message = problem(task, dataset)
    assert path == "dataset.columns.features"
    assert "all training texts are empty" in message or "no column is left" in message


def test_some_empty_texts_are_counted_in_a_note(tmp_path: Path):
    rows = [{"text": "" if row < 3 else f"word {row}", "label": "ab"[row % 2]} for row in range(20)]
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    dataset = Dataset.model_validate(
        {"source": str(tmp_path / "rows.csv"), "columns": {"label": "label"}, "split": "none"}
    )
    notes = load_dataset(dataset, TASKS["text-classification"]).notes
    assert "column 'text': 3 of 20 training texts are empty" in notes


def test_a_model_refuses_what_its_job_refused(tmp_path: Path, make_job):
    task, dataset = spec(tmp_path, "a text", cells="one two", length=4, long="refuse")
    frame = pd.read_csv(dataset.source)
    frame["text"] = [f"word {row}" for row in range(len(frame))]
    frame.to_csv(dataset.source, index=False)
    architecture = {"family": "rnn", "embedding": 2, "hidden": 2}
    job = make_job(task, dataset.model_dump(exclude_none=True), architecture=architecture, training={"epochs": 1})
    assembly = assemble(prepare(job))
    save_model(tmp_path / "model", assembly.job, assembly.data.fields, assembly.objective, "x")
    fields = Model.load(tmp_path / "model").fields
    with pytest.raises(JobError, match="1 of 2 have more than 4 words, such as row 2 with 6"):
        fields.text.encode(pd.Series(["one", LONG], dtype=object))


@pytest.mark.parametrize(
    ("tokens", "vocabulary", "needed"), [("bpe", 3, "256"), ("wordpiece", 2, "26"), ("bytes", 5, "256")]
)
def test_a_vocabulary_smaller_than_what_a_tokenizer_begins_with_is_refused(
    tokens: str, vocabulary: int, needed: str, tmp_path: Path
):
    task, dataset = spec(tmp_path, "a text", tokens=tokens, vocabulary=vocabulary)
    path, message = problem(task, dataset)
    assert path == "dataset.text.vocabulary"
    assert message.startswith(
        f"{vocabulary} is less than the {needed} tokens that {tokens} begins with for these texts"
    )


def test_a_column_of_texts_in_the_place_of_the_label_is_refused(tmp_path: Path):
    rows = [{"text": f"a film of {row} hours", "label": "ab"[row % 2]} for row in range(30)]
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    columns = {"label": "text", "features": ["label"], "types": {"label": "text"}}
    dataset = Dataset.model_validate({"source": str(tmp_path / "rows.csv"), "columns": columns, "split": "none"})
    assert problem("text-classification", dataset) == (
        "dataset.columns.label",
        "column 'text' has 30 different values in 30 training rows, as 'a film of 0 hours'; "
        "these are texts, not classes; name the column of classes in dataset.columns.label",
    )
