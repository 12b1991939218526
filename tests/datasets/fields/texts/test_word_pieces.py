"""Sentences whose words are cut into the tokens of a pretrained model."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.word_pieces import WordPiecesField
from stoker.datasets.fields.texts.word_tags import WordTagsField
from stoker.datasets.loading import load_dataset
from stoker.datasets.records import Records
from stoker.datasets.tokens.tokenizer import SPECIAL, UNKNOWN
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS

CLS, SEP = SPECIAL + 2, SPECIAL + 3
SENTENCES = [["A", "good", "xfilms", ",", "was", "\u200b"], [], ["the", "New York", "", "plot"]]


def column(*cells: Any) -> pd.Series:
    return pd.Series([json.dumps(each) if isinstance(each, list) else each for each in cells], dtype=object)


@pytest.fixture(scope="module")
def make(tiny_model):
    """Build a field with the tokenizer of a tiny BERT or GPT-2."""

    def build(kind: str = "bert", length: int = 12) -> WordPiecesField:
        text = {"tokenizer": str(tiny_model(kind)), "length": length}
        return WordPiecesField.fit("words", column(), Dataset.model_validate({"source": "a", "text": text}))

    return build


def encoded(field: WordPiecesField, *words: str) -> list[list[int]]:
    row = field.encode(column([*words])).take(torch.tensor([0]))[0]
    return [[number, word] for number, word in row.tolist()]


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_words_have_the_tokens_that_transformers_gives_them(kind, make, tiny_model):
    import transformers

    field = make(kind, length=24)
    own = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tiny_model(kind) / "tokenizer.json"))
    for words in (["a", "good", "xfilms", "was", "bad"], ["the", "plot"], ["cat"]):
        text = " ".join(words)
        theirs = own(text, truncation=False)
        spans = [theirs.token_to_chars(place) for place in range(len(theirs["input_ids"]))]
        blanks = [0 if span is None else text[span.start : span.end].startswith(" ") for span in spans]
        found = encoded(field, *words)
        assert [number - SPECIAL for number, _ in found] == theirs["input_ids"]
        starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
        assert [word for _, word in found] == [
            0 if span is None else sum(start <= span.start + blank for start in starts)
            for span, blank in zip(spans, blanks, strict=True)
        ]


def test_a_word_without_tokens_is_an_unknown_one(make):
    found = encoded(make(), *SENTENCES[2], "\u200b")
    assert found[0] == [CLS, 0]
    assert found[-1] == [SEP, 0]
    assert [word for _, word in found[1:-1]] == sorted(word for _, word in found[1:-1])
    assert {word for _, word in found} == {0, 1, 2, 3, 4, 5}
    assert [number for number, word in found if word in (3, 5)] == [UNKNOWN, UNKNOWN]


def test_a_sentence_without_words_has_what_stands_around_it(make):
    assert encoded(make()) == [[CLS, 0], [SEP, 0]]
    assert len(make("gpt2").encode(column(None)).values) == 0


def test_words_are_written_as_far_as_their_tokens_go(make):
    field = make("gpt2", length=24)
    words = ["A", "Good", "film,", "wäs"]
    assert field.decode(field.encode(column(words)).take(torch.tensor([0]))[0]) == words


def test_tags_stand_beside_the_words_that_are_read(make):
    field = make(length=6)  # four tokens beside [CLS] and [SEP]
    tags = WordTagsField("tags", ("X", "Y"), False, 6)
    rows = [["a", "thing", "costly", "plot", "film"], ["good", "film"], []]
    labels = [["X", "Y", "X", "Y", "X"], ["Y", "X"], []]
    records = Records({"words": column(*rows), "tags": column(*labels)})
    samples = Fields((field,), tags).encode(records)
    taken = samples.inputs["words"].take(torch.arange(3))
    assert samples.target is not None
    target = samples.target.take(torch.arange(3))
    assert target.shape == taken.shape[:2]
    read = [len(words) for words in field.read(records.columns["words"])]
    assert read == taken[..., 1].amax(dim=1).tolist()
    assert 0 < read[0] <= 4
    for row, count in enumerate(read):
        expected = [1 + (tag == "Y") for tag in labels[row][:count]]
        assert target[row].tolist() == expected + [0] * (target.shape[1] - count)


def test_long_sentences_are_cut_off_and_counted(tmp_path: Path, tiny_model):
    long = {"words": ["good", "film"] * 6, "tags": ["X", "Y"] * 6}
    rows = [long, {"words": ["film"], "tags": ["Y"]}, long]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    text = {"tokenizer": str(tiny_model("bert"))}  # which reads 12 tokens at most
    settings = {"source": str(tmp_path / "a.jsonl"), "split": "none", "columns": {"label": "tags"}, "text": text}
    data = load_dataset(Dataset.model_validate(settings), TASKS["token-classification"])
    note = "column 'words': 2 of 3 training texts have more than 10 tokens and are cut off there (dataset.text.length, "
    assert f"{note}at most what the model reads)" in data.notes
    assert (data.parts["train"].target.take(torch.arange(3)) > 0).sum(dim=1).tolist() == [10, 1, 10]


def test_a_length_without_room_for_a_word_is_refused(make):
    with pytest.raises(JobError, match="2 tokens have no room for a text beside the 2"):
        make(length=2)
