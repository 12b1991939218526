import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.datasets.columns import Ragged
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.report.text_lengths import length_notes
from stoker.datasets.samples import Samples
from stoker.datasets.tokens.tokenizer import SPECIAL, UNKNOWN
from stoker.datasets.tokens.words import Words, words_of
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import TextInput


def fit(texts: list[object], name: str = "text", **settings: object) -> TextField:
    return TextField.fit(name, pd.Series(texts), Dataset.model_validate({"source": "texts.csv", "text": settings}))


def words(field: TextField) -> tuple[str, ...]:
    assert isinstance(field.tokenizer, Words)
    return field.tokenizer.words


def numbers(field: TextField, texts: list[object]) -> list[list[int]]:
    """Return the numbers of each text, without padding."""
    column = field.encode(pd.Series(texts))
    assert isinstance(column, Ragged)
    ends = column.offsets.tolist()
    return [column.values[begin:end].tolist() for begin, end in itertools.pairwise(ends)]


def notes(field: TextField, texts: pd.Series, parts: np.ndarray) -> list[str]:
    """Return the notes on empty texts, and on the lengths of those of each part."""
    return [*field.notes(texts, parts), *length_notes(Fields((field,), None), parts_of(field, texts, parts))]


def parts_of(field: TextField, texts: pd.Series, parts: np.ndarray) -> dict[str, Samples]:
    columns = {part: field.encode(texts[parts == part].reset_index(drop=True)) for part in dict.fromkeys(parts)}
    return {part: Samples({"text": each}, None, None, torch.arange(len(each))) for part, each in columns.items()}


def test_words_and_punctuation_marks_are_tokens():
    assert words_of("It's GREAT, isn’t it?!") == ["it's", "great", ",", "isn’t", "it", "?", "!"]
    assert words_of("Größe 12 — naïve 日本語") == ["größe", "12", "—", "naïve", "日本語"]
    assert words_of("") == words_of(" \t\n") == words_of(None) == []


def test_the_most_frequent_words_come_first():
    field = fit(["b a c", "b c a", "c", "once"])
    assert words(field) == ("c", "a", "b")
    assert numbers(field, ["c a b"]) == [[4, 5, 6]]


def test_a_word_that_occurs_once_in_training_is_unknown():
    field = fit(["the film", "the plot"])
    assert words(field) == ("the",)
    assert numbers(field, ["the film", "plot twist"]) == [[4, UNKNOWN], [UNKNOWN, UNKNOWN]]


def test_if_no_word_repeats_all_are_kept():
    assert words(fit(["red fox", "grey owl"])) == ("fox", "grey", "owl", "red")


def test_the_vocabulary_has_the_size_of_the_job():
    field = fit(["a b c", "a b c", "a b", "a"], vocabulary=2)
    assert words(field) == ("a", "b")
    assert TextField.shape([field]) == TextInput(vocabulary=2 + SPECIAL, length=256)


def test_an_empty_or_missing_text_is_one_unknown_word():
    assert numbers(fit(["a", "a"]), ["", None, "  "]) == [[UNKNOWN]] * 3


def test_texts_without_any_word_have_no_vocabulary():
    field = fit([None, "", None])
    assert words(field) == ()
    assert numbers(field, ["a"]) == [[UNKNOWN]]
    assert TextField.from_json(field.to_json(), field.assets()) == field


def test_words_beyond_the_length_are_truncated_and_counted():
    field = fit(["a b a b"], length=3)
    assert numbers(field, ["a b a b a", "b"]) == [[4, 5, 4], [5]]
    texts, parts = pd.Series(["a b a b", "a b a", None, "a b a b"]), np.array(["train"] * 3 + ["val"])
    assert notes(field, texts, parts) == [
        "column 'text': 1 of 3 training texts are empty",
        "column 'text': 1 of 3 training texts have more than 3 words and are cut off there (dataset.text.length)",
    ]


def test_texts_that_are_numbers_are_read_as_written():
    assert numbers(fit([12, 12, None]), [12.0]) == [[4]]


def test_the_vocabulary_is_a_file_with_one_word_per_line():
    field = fit(["b a", "a b"])
    assert field.assets() == {"text.vocabulary.txt": "a\nb"}
    assert "words" not in field.to_json()


@pytest.mark.parametrize("name", ["a/b", "../../up", "..", "nul\0", "what do you think of it? " * 20, "漢字" * 90])
def test_the_vocabulary_has_a_valid_file_name(name: str):
    field, other = fit(["a a"], name), fit(["b b"], name + "!")
    (file,) = field.assets()
    assert "/" not in file
    assert "\0" not in file
    assert len(file.encode()) <= 255
    assert set(field.assets()) != set(other.assets())
    both = {**field.assets(), **other.assets()}
    assert TextField.from_json(field.to_json(), both) == field
    assert TextField.from_json(other.to_json(), both) == other


def test_a_models_tokenizer_cuts_texts_as_the_model_was_trained(tiny_model):
    field = fit(["never seen"], tokenizer=str(tiny_model("bert")))
    whole = numbers(field, ["A good film", "", "the " * 30])
    cls, sep, the = (field.tokenizer.encode([each])[0].tolist()[0] for each in ("[CLS]", "[SEP]", "the"))
    assert [whole[0][0], whole[0][-1]] == [cls, sep]
    assert field.tokenizer.decode(whole[0]) == "a good film"
    assert whole[1] == [cls, sep]
    assert whole[2] == [cls, *[the] * 10, sep]  # the model reads 12 tokens
    assert min(map(min, whole)) >= SPECIAL
    assert TextField.shape([field]) == TextInput(field.tokenizer.size, 12)
    assert TextField.from_json(field.to_json(), field.assets()) == field


def test_a_prefix_stands_before_each_text_and_counts_as_a_part_of_it(tiny_model):
    texts = pd.Series(["the film", ""], dtype=object)
    for more in ({"tokenizer": str(tiny_model("bert"))}, {"tokens": "words"}):
        field = fit(["the film"] * 2, **more, prefix="was: ")
        found = field.encode(texts).take(torch.arange(2))
        assert torch.equal(found, replace(field, prefix="").encode("was: " + texts).take(torch.arange(2)))
        assert not (found == UNKNOWN).any()  # a vocabulary is fitted to what is read
        assert TextField.from_json(field.to_json(), field.assets()) == field
        assert field.prefix == "was: "


def test_texts_beyond_what_a_model_reads_are_counted(tiny_model):
    field = fit([], tokenizer=str(tiny_model("bert")))
    texts = pd.Series(["the " * 10, "the " * 11, None])
    assert notes(field, texts, np.array(["train"] * 3)) == [
        "column 'text': 1 of 3 training texts are empty",
        "column 'text': 1 of 3 training texts have more than 10 tokens and are cut off there "
        "(dataset.text.length, at most what the model reads)",
    ]
    assert fit([], tokenizer=str(tiny_model("bert")), length=5).length == 5


def test_a_model_without_tokens_around_a_text_has_an_unknown_token_for_an_empty_one(tiny_model):
    field = fit([], tokenizer=str(tiny_model("gpt2")))
    (empty, text) = numbers(field, ["", "the film\n"])
    assert empty == [UNKNOWN]
    assert field.tokenizer.decode(text) == "the film\n"
    assert field.tokenizer.token_bytes()[text].sum() == len("the film\n")


def test_a_folder_without_tokenizer_is_named_with_the_cure(tmp_path):
    with pytest.raises(JobError, match=r"has no tokenizer\.json; write it by AutoTokenizer"):
        fit([], tokenizer=str(tmp_path))
