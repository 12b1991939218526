"""Sentences as lists of words, and a tag for each word."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.fields.lists import holds_lists
from stoker.datasets.fields.texts.word_tags import WordTagsField, entity_types
from stoker.datasets.fields.texts.words import CHARACTERS, WordsField, sentences
from stoker.datasets.loading import load_dataset
from stoker.datasets.tokens.tokenizer import SPECIAL, UNKNOWN
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import WordsInput, WordTagsOutput
from stoker.job.task import TASKS

SETTINGS = Dataset(source="news.jsonl")


def column(*cells: Any) -> pd.Series:
    return pd.Series([json.dumps(each) if isinstance(each, list) else each for each in cells], dtype=object)


def words_field(*cells: Any, **text: Any) -> WordsField:
    return WordsField.fit("words", column(*cells), Dataset.model_validate({"source": "news.jsonl", "text": text}))


def load(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> LoadedDataset:
    columns = {"label": "tags", **settings.pop("columns", {})}
    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    dataset = {"source": str(folder / "a.jsonl"), "split": "none", "columns": columns, **settings}
    return load_dataset(Dataset.model_validate(dataset), TASKS["token-classification"])


def problem(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> str:
    with pytest.raises(JobError) as caught:
        load(folder, rows, **settings)
    return str(caught.value)


SENTENCE = {"words": ["EU", "rejects", "it"], "tags": ["B-ORG", "O", "O"]}


class TestWords:
    def test_words_are_numbered_in_lower_case_and_rare_ones_are_unknown(self):
        field = words_field(["The", "the", "cat", "once"], ["Cat", "THE"])
        the, cat = SPECIAL, SPECIAL + 1
        encoded = field.encode(column(["THE", "Cat", "once", "never"], []))
        assert encoded.take(torch.tensor([0]))[0, :, 0].tolist() == [the, cat, UNKNOWN, UNKNOWN]
        assert encoded.take(torch.tensor([1])).tolist() == [[[0] * (1 + CHARACTERS)]]
        assert field.shape([field]) == WordsInput(SPECIAL + 2, field.characters.size, 256, CHARACTERS)

    def test_the_vocabulary_has_the_most_frequent_words(self):
        field = words_field(["a", "a", "a", "b", "b", "c", "c"], vocabulary=2)
        assert field.encode(column(["a", "b", "c"])).take(torch.tensor([0]))[0, :, 0].tolist() == [4, 5, UNKNOWN]

    def test_characters_keep_their_case_and_rare_ones_are_unknown(self):
        field = words_field(["Aa", "aA", "x"])
        spelled = field.prepare(field.encode(column(["aA", "xé"])).take(torch.tensor([0])))
        assert spelled.dtype == torch.int64
        assert spelled[0, :, 1:4].tolist() == [[5, 4, 0], [UNKNOWN, UNKNOWN, 0]]
        assert field.decode(spelled[0]) == ["aA", "��"]

    def test_of_a_long_word_both_ends_are_seen(self):
        word = "abcdefgh" * 4
        field = words_field([f"{word}tail", "tail"])
        assert field.decode(field.encode(column([f"{word}tail"])).take(torch.tensor([0]))[0]) == ["abcdefghefghtail"]

    def test_a_plain_sentence_is_split_into_words(self):
        text = "Ann Smith-Jones (@ann) doesn't read https://a.b/c?d, at 3.5 [1]"
        assert sentences(column(text, None, "[not a list]")) == [
            ["Ann", "Smith-Jones", "(", "@ann", ")", "doesn't", "read", "https://a.b/c?d,", "at", "3.5", "[", "1", "]"],
            [],
            ["[", "not", "a", "list", "]"],
        ]

    def test_lists_in_memory_are_read_as_those_of_files(self):
        expected = [["a", "1", ""]]
        for cell in (["a", 1, None], ("a", 1, None), np.array(["a", 1, None], object), '["a", 1, null]'):
            assert sentences(pd.Series([cell], dtype=object)) == expected

    def test_long_sentences_are_cut_off_and_counted(self, tmp_path: Path):
        long = {"words": ["a", "b"] * 4, "tags": ["X", "Y"] * 4}
        data = load(tmp_path, [long, SENTENCE, long], text={"length": 5})
        assert "column 'words': 2 of 3 training texts have more than 5 words and are cut off there" in " ".join(
            data.notes
        )
        samples = data.parts["train"]
        assert samples.inputs["words"].take(torch.arange(3)).shape == (3, 5, 1 + CHARACTERS)
        assert samples.target is not None
        assert (samples.target.take(torch.arange(3)) > 0).sum(dim=1).tolist() == [5, 3, 5]


class TestWordTags:
    def test_tags_are_counted_from_1_and_padded_with_0(self, tmp_path: Path):
        data = load(tmp_path, [SENTENCE, {"words": ["Ann"], "tags": ["I-PER"]}])
        assert data.fields.signature.output == WordTagsOutput(("O", "B-ORG", "I-ORG", "B-PER", "I-PER"), ("ORG", "PER"))
        assert "column 'tags': entities of 2 types (ORG, PER)" in data.notes
        assert data.parts["train"].target is not None
        assert data.parts["train"].target.take(torch.arange(2)).tolist() == [[2, 1, 1], [5, 0, 0]]

    @pytest.mark.parametrize(
        ("tags", "types"),
        [
            (["O", "B-LOC", "I-LOC", "B-creative-work"], ("LOC", "creative-work")),
            (["S-LOC", "B-PER", "I-PER", "E-PER"], ("LOC", "PER")),
            (["B", "I", "O"], ("_",)),
            (["O"], ()),
            (["NOUN", "VERB", "O"], ()),
            (["B-LOC", "NOUN"], ()),
            (["U-LOC", "O"], ()),
        ],
    )
    def test_entities_are_known_by_their_tags(self, tags: list[str], types: tuple[str, ...]):
        assert entity_types(tags) == types
        field = WordTagsField.fit("tags", column([*tags, "O", "O"]), SETTINGS) if len({*tags, "O"}) > 1 else None
        assert field is None or field.output.types == types

    def test_tags_may_be_the_places_of_named_ones(self, tmp_path: Path):
        rows = [{"words": ["Ann", "saw"], "tags": [1, 0]}, {"words": ["Rome"], "tags": [2]}]
        named = load(tmp_path, rows, columns={"classes": ["O", "B-PER", "B-LOC"]})
        assert named.fields.signature.output == WordTagsOutput(("O", "B-PER", "B-LOC"), ("LOC", "PER"))
        assert named.parts["train"].target is not None
        assert named.parts["train"].target.take(torch.arange(2)).tolist() == [[2, 1], [3, 0]]
        plain = load(tmp_path, rows).fields.signature.output
        assert plain == WordTagsOutput(("0", "1", "2"), ())
        message = "row 1: '1' is none of the tags that training knows; name all tags in dataset.columns.classes"
        assert message in problem(tmp_path, rows, columns={"classes": ["O", "B-PER"]})

    def test_tables_of_any_format_hold_lists(self, tmp_path: Path):
        rows = [SENTENCE, {"words": ["Ann"], "tags": ["B-PER"]}] * 3
        frame = pd.DataFrame(rows)
        frame.to_parquet(tmp_path / "a.parquet")
        frame.map(json.dumps).to_csv(tmp_path / "a.csv", index=False)
        frame.map(" ".join).to_csv(tmp_path / "b.csv", index=False)
        expected = load(tmp_path, rows).parts["train"].inputs["words"].take(torch.arange(6))
        for name in ("a.parquet", "a.csv", "b.csv"):
            columns = {"label": "tags", "features": ["words"]}
            settings = {"source": str(tmp_path / name), "split": "none", "columns": columns}
            data = load_dataset(Dataset.model_validate(settings), TASKS["token-classification"])
            assert torch.equal(data.parts["train"].inputs["words"].take(torch.arange(6)), expected)

    def test_a_row_with_other_numbers_of_words_and_tags_is_named(self, tmp_path: Path):
        wrong = {"words": ["EU", "rejects"], "tags": ["B-ORG", "O", "O"]}
        cure = 'write a list of each, such as ["EU", "rejects"] and ["B-ORG", "O"]'
        expected = f"dataset.columns.label: row 3 has 2 words and 3 tags in column 'tags'; {cure}"
        assert problem(tmp_path, [SENTENCE, SENTENCE, wrong]) == expected
        only = {"words": ["Ann", "left"], "tags": ["B-PER"]}
        assert "row 2 has 2 words and 1 tag in column" in problem(tmp_path, [SENTENCE, only])

    def test_a_tag_that_training_lacks_is_named(self, tmp_path: Path):
        rows = [{**SENTENCE, "part": part} for part in ("train", "train", "val")]
        rows.append({"words": ["Rome"], "tags": ["B-LOC"], "part": "val"})
        expected = "column 'tags', row 4: 'B-LOC' is none of the tags that training knows"
        assert expected in problem(tmp_path, rows, split={"column": "part"})
        named = {"classes": ["O", "B-ORG", "B-LOC"]}
        assert len(load(tmp_path, rows, split={"column": "part"}, columns=named).parts["val"]) == 2

    def test_data_without_different_tags_are_reported(self, tmp_path: Path):
        nothing = {"words": [], "tags": []}
        untagged = [{"words": ["one"], "tags": []}]
        assert "all training texts are empty" in problem(tmp_path, [nothing], columns={"features": ["words"]})
        assert "no training row has a tag" in problem(tmp_path, untagged, columns={"features": ["words"]})
        assert "only one tag, 'O'" in problem(tmp_path, [{"words": ["a", "b"], "tags": ["O", "O"]}])
        many = {"words": ["a"] * 1001, "tags": [str(number) for number in range(1001)]}
        assert "1001 different tags in the training rows, at most 1000 can be learnt" in problem(tmp_path, [many])


class TestRoles:
    def test_the_column_with_the_most_different_words_is_learnt_from(self, tmp_path: Path):
        row = {"id": 7, "pos": ["A", "A", "A"], "offsets": [0, 3, 11], "words": SENTENCE["words"], "title": "EU"}
        data = load(tmp_path, [{**row, "tags": SENTENCE["tags"]}] * 3)
        assert data.fields.columns == ("words",)
        assert data.spec.columns.types == {"words": "words"}
        notes = " ".join(data.notes)
        assert "column 'id' is left out: it holds no lists of words" in notes
        assert "column 'pos' is left out: it has fewer different words; name it in dataset.columns.features" in notes
        chosen = load(tmp_path, [{**row, "tags": SENTENCE["tags"]}] * 3, columns={"features": ["pos"]})
        assert chosen.fields.columns == ("pos",)

    def test_a_table_without_lists_is_reported(self, tmp_path: Path):
        rows = [{"text": "Ann left", "tags": ["B-PER", "O"]}] * 2
        assert "column 'text' is left out: it holds no lists of words" in problem(tmp_path, rows)
        assert load(tmp_path, rows, columns={"types": {"text": "words"}}).fields.columns == ("text",)

    def test_what_words_are_cut_into_cannot_be_chosen(self, tmp_path: Path):
        message = "dataset.text.tokens: does nothing for this data, whose column is a list of words; leave it out"
        assert problem(tmp_path, [SENTENCE], text={"tokens": "bpe"}) == message

    def test_lists_are_told_from_other_values(self):
        assert holds_lists(column(["a"], None, []), 9)
        for other in (column("a", ["a"]), column("[a]"), pd.Series([1, 2]), column({"a": 1}), column(None)):
            assert not holds_lists(other, 9)
