"""The contract of every tokenizer, and what is particular to each."""

from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Library
from tokenizers import models, processors

from stoker.datasets.tokens.kinds import FITTED
from stoker.datasets.tokens.pretrained import PretrainedTokenizer
from stoker.datasets.tokens.tokenizer import END, MASK, PADDING, SPECIAL, UNKNOWN, Tokenizer

TEXTS = [
    "the cat sat on the mat",
    "The hat, the cat and the mat!",
    "",
    "def area(width):\n\treturn width * width\n",
    "Größe naïve 日本",
] * 3
LOSSLESS = ("characters", "bytes", "bpe")
every_kind = pytest.mark.parametrize("kind", FITTED)


def fitted(kind: str, vocabulary: int = 400) -> Tokenizer:
    return FITTED[kind].fit(TEXTS, vocabulary)  # type: ignore[index]


@every_kind
def test_numbers_are_within_the_vocabulary_and_beyond_the_special_ones(kind):
    tokenizer = fitted(kind)
    for text, numbers in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        assert numbers.dtype == np.int64
        assert ((numbers >= SPECIAL) & (numbers < tokenizer.size)).all()
        assert (len(numbers) == 0) == (text == "")


@every_kind
def test_a_tokenizer_survives_its_file(kind):
    tokenizer = fitted(kind)
    again = FITTED[kind].from_asset(tokenizer.asset())
    other = [*TEXTS, "a new word: xylophone ☃"]
    for mine, theirs in zip(tokenizer.encode(other), again.encode(other), strict=True):
        assert np.array_equal(mine, theirs)
    assert again.size == tokenizer.size
    assert again.asset() == tokenizer.asset()


@every_kind
def test_each_token_has_its_place_in_the_text(kind):
    tokenizer = fitted(kind)
    texts = [*TEXTS, "  İstanbul, is  the Cat's 🎈 mat\u00a0\n", "İ", " "]
    for text, numbers, spans in zip(texts, tokenizer.encode(texts), tokenizer.spans(texts), strict=True):
        assert spans.shape == (len(numbers), 2)
        assert spans.dtype == np.int64
        assert (np.diff(spans[:, 0]) >= 0).all()
        parts = [text[begin:end] for begin, end in spans.tolist()]
        assert all(part == part.strip() for part in parts)
        found = {place for begin, end in spans.tolist() for place in range(begin, end)}
        assert found == {place for place, each in enumerate(text) if not each.isspace()}


@every_kind
def test_equal_texts_give_the_same_vocabulary(kind):
    assert len({fitted(kind).asset() for _ in range(4)}) == 1


@every_kind
def test_special_tokens_are_not_written(kind):
    tokenizer = fitted(kind)
    numbers = tokenizer.encode(["the cat"])[0].tolist()
    assert tokenizer.decode([*numbers, END, PADDING]) == tokenizer.decode(numbers) == "the cat"
    assert tokenizer.decode([]) == ""
    assert isinstance(tokenizer.decode([UNKNOWN, MASK]), str)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_nothing_of_a_text_is_lost(kind):
    tokenizer = fitted(kind)
    for text, numbers in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        assert tokenizer.decode(numbers.tolist()) == text
        assert tokenizer.token_bytes()[numbers].sum() == len(text.encode())


@every_kind
def test_each_token_stands_for_some_bytes(kind):
    tokenizer = fitted(kind)
    counted = tokenizer.token_bytes()
    assert len(counted) == tokenizer.size
    assert counted[PADDING] == counted[END] == 0
    assert (counted[SPECIAL:] > 0).all()


@pytest.mark.parametrize("kind", ["words", "characters", "wordpiece"])
def test_the_vocabulary_is_no_larger_than_the_job_says(kind):
    assert fitted(kind, 12).size <= 12 + SPECIAL + 64 * (kind == "wordpiece")  # which keeps every letter twice
    assert fitted(kind, 400).size > fitted(kind, 12).size


def test_an_unknown_character_is_shown_as_such():
    tokenizer = fitted("characters")
    numbers = tokenizer.encode(["catX"])[0].tolist()
    assert numbers[-1] == UNKNOWN
    assert tokenizer.decode(numbers) == "cat\ufffd"
    assert FITTED["characters"].fit(["", ""], 5).encode(["ab"])[0].tolist() == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_bytes_know_every_text(kind):
    tokenizer = fitted(kind)
    assert UNKNOWN not in tokenizer.encode(["☃ xylophone \0"])[0]
    snowman = tokenizer.encode(["☃"])[0].tolist()
    assert tokenizer.decode(snowman) == "☃"
    assert tokenizer.decode(snowman[:-1]).endswith("\ufffd")


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_the_name_of_a_special_token_is_text_like_any_other(kind):
    tokenizer = FITTED[kind].fit(["<end> of < the > <mask>"] * 3, 300)
    numbers = tokenizer.encode(["<end><mask>"])[0]
    assert (numbers >= SPECIAL).all()
    assert tokenizer.decode(numbers.tolist()).replace(" ", "") == "<end><mask>"


def test_bpe_merges_frequent_words():
    tokenizer = fitted("bpe")
    assert len(tokenizer.encode([" the"])[0]) == 1
    assert len(tokenizer.encode(["xylophone"])[0]) > 3


def test_wordpiece_reads_lower_case():
    tokenizer = fitted("wordpiece")
    same = [numbers.tolist() for numbers in tokenizer.encode(["The CAT", "the cat"])]
    assert same[0] == same[1]
    assert tokenizer.decode(same[0]) == "the cat"


def test_words_are_written_as_a_sentence():
    tokenizer = FITTED["words"].fit(["hello , world ! ( it's fine )"] * 2, 50)
    numbers = tokenizer.encode(["Hello, world! (It's fine)"])[0].tolist()
    assert tokenizer.decode(numbers) == "hello, world! (it's fine)"


@every_kind
def test_a_fitted_tokenizer_has_the_token_of_the_end_around_two_texts(kind):
    assert fitted(kind).around_pair == ([END], [END], ())


def named(model: Any, *tokens: str) -> PretrainedTokenizer:
    library = Library(model)
    library.add_special_tokens([token for token in tokens if token[0] in "[<"])
    return PretrainedTokenizer(library)


KINDS: dict[str, tuple[Any, str, dict[str, bool]]] = {
    "wordpiece": (
        lambda vocabulary: models.WordPiece(vocabulary, unk_token="[UNK]"),
        "[MASK]",
        {"[UNK]": True, "cat": True, "##s": False, ".": True},
    ),
    "bytes": (
        lambda vocabulary: models.BPE(vocabulary, []),
        "<mask>",
        {"\u0120cat": True, "cat": False, "s": False, "\u0120": True, ".": True},
    ),
    "sentencepiece": (
        lambda vocabulary: models.Unigram([(token, 0.0) for token in vocabulary], 0),
        "<mask>",
        {"<unk>": True, "\u2581cat": True, "s": False, "\u2581": True, ",": True},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pretrained_tokenizer_knows_beginnings_of_words_and_the_token_of_a_hidden_one(kind):
    model, mask, begins = KINDS[kind]
    vocabulary = {token: number for number, token in enumerate(begins)}
    tokenizer = named(model(vocabulary), mask)
    assert tokenizer.begins_words().tolist() == [True] * SPECIAL + [*begins.values(), True]
    assert tokenizer.mask == tokenizer.size - 1 == SPECIAL + len(begins)
    assert tokenizer.token_bytes()[tokenizer.mask] == 0
    assert named(model(vocabulary)).mask == MASK


def pretrained(**template: Any) -> PretrainedTokenizer:
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}
    library = Library(models.WordPiece(vocabulary, unk_token="[UNK]"))
    special = [("[CLS]", 1), ("[SEP]", 2)]
    if template:
        library.post_processor = processors.TemplateProcessing(**template, special_tokens=special)
    return PretrainedTokenizer(library)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}, ([1], [2], [2])),
        ({"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] [SEP] $B [SEP]"}, ([1], [2, 2], [2])),
        ({"single": "[CLS] $A [SEP]"}, ([1], [2], [2])),
        ({"single": "$A [SEP]"}, ([END - SPECIAL], [2], [2])),
        ({}, ([END - SPECIAL], [END - SPECIAL], [])),
    ],
)
def test_a_pretrained_tokenizer_has_the_tokens_of_its_file_around_two_texts(template, expected):
    found = pretrained(**template).around_pair
    assert [[number - SPECIAL for number in part] for part in found] == [list(part) for part in expected]
