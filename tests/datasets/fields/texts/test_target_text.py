import json

import pandas as pd
import pytest
import torch

from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.loading import load_dataset
from stoker.datasets.records import table
from stoker.datasets.report.text_lengths import length_notes
from stoker.datasets.samples import Samples
from stoker.datasets.tokens.tokenizer import END
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS

PAIRS = {"en": ["a cat", "a dog", "the dog 7"], "de": ["eine Katze", "ein Hund", "der Hund 7"]}


def fit(**text: object) -> Fields:
    dataset = Dataset.model_validate({"source": "pairs.csv", "text": text})
    return Fields.fit(table(pd.DataFrame(PAIRS), "de"), Roles({"en": "text"}, "de", ()), "text", dataset)


@pytest.mark.parametrize("tokens", ["words", "characters", "bytes", "bpe", "wordpiece"])
def test_a_text_and_what_is_written_from_it_have_one_vocabulary(tokens):
    fields = fit(tokens=tokens)
    (source,), target = fields.inputs, fields.target
    assert isinstance(source, TextField)
    assert isinstance(target, TargetTextField)
    assert source.vocabulary == target.vocabulary
    assert fields.signature.texts["en"].vocabulary == fields.signature.output.vocabulary == target.tokenizer.size
    assert sorted(fields.assets()) == ["en.vocabulary.txt", "target.de.vocabulary.txt"]
    assert Fields.from_json(json.loads(json.dumps(fields.to_json())), fields.assets()) == fields


def test_a_text_to_write_has_its_end_and_is_compared_as_a_whole():
    target = fit(length=4).target
    assert isinstance(target, TargetTextField)
    text = "eine Katze und ein Hund, 7 Hunde; Äpfel"
    row = target.encode(pd.Series([text])).take(torch.tensor([0]))[0].tolist()
    assert row[-1] == END
    assert len(row) > target.output.length == 5
    assert target.text(row) == target.text([*row, 5, 6]) == text


def test_parts_beyond_the_length_are_counted_for_both_columns(tmp_path):
    pd.DataFrame({"en": ["a b c d", "a", "a"], "de": ["x", "x y z w", "x y z w"], "part": ["train"] * 3}).to_csv(
        tmp_path / "a.csv", index=False
    )
    dataset = {
        "source": str(tmp_path / "a.csv"), "columns": {"label": "de", "features": ["en"]},
        "text": {"tokens": "characters", "length": 5}, "split": {"column": "part"},
    }  # fmt: skip
    data = load_dataset(Dataset.model_validate(dataset), TASKS["translation"])
    beyond = "training texts have more than 5 characters and are cut off there (dataset.text.length)"
    assert [note for note in data.notes if "cut off" in note] == [
        f"column 'en': 1 of 3 {beyond}",
        f"column 'de': 2 of 3 {beyond}",
    ]
    assert data.fields.signature.output.longest == 6


def test_sentences_are_joined_and_the_first_of_several_targets_is_learnt(tmp_path):
    rows = [
        {"source": ["One cat.", "Two cats."], "target": ["cats", "a cat"]},
        {"source": "[1] as it is", "target": "[x"},
        {"source": [], "target": ["none", "nothing"]},
    ]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows * 4))
    dataset = Dataset.model_validate(
        {
            "source": str(tmp_path / "a.jsonl"),
            "columns": {"label": "target", "features": ["source"]},
            "text": {"tokens": "characters"},
        }
    )
    data = load_dataset(dataset, TASKS["summarization"])
    target, tokenizer = data.fields.target, data.fields.text.tokenizer
    assert isinstance(target, TargetTextField)
    pairs = set()
    for part in data.parts.values():
        read, known = part.inputs["source"].take(torch.arange(len(part))), part.target.take(torch.arange(len(part)))
        pairs |= {(tokenizer.decode(a.tolist()), target.text(b.tolist())) for a, b in zip(read, known, strict=True)}
    assert {known for _, known in pairs} == {"cats", "[x", "none"}
    assert ("One cat. Two cats.", "cats") in pairs
    assert ("[1] as it is", "[x") in pairs
    assert ("", "none") not in pairs  # an empty source is one unknown token
    assert len(pairs) == 3


def test_a_row_without_a_text_to_learn_is_reported(tmp_path):
    pd.DataFrame({"en": ["a", "b", "c"], "de": ["x", None, "z"]}).to_csv(tmp_path / "a.csv", index=False)
    dataset = Dataset.model_validate({"source": str(tmp_path / "a.csv"), "columns": {"label": "de"}})
    with pytest.raises(JobError) as caught:
        load_dataset(dataset, TASKS["translation"])
    assert caught.value.problems[0].path == "dataset.columns.label"
    assert caught.value.problems[0].message == "1 of 3 rows have no value in column 'de' (first: row 2); remove them"


def test_notes_count_the_training_part_alone():
    target = fit(tokens="characters", length=9).target
    assert isinstance(target, TargetTextField)
    texts = {"val": "x" * 10, "train": "x"}
    parts = {part: Samples({}, target.encode(pd.Series([text])), None, torch.arange(1)) for part, text in texts.items()}
    assert list(length_notes(Fields((), target), parts)) == []
