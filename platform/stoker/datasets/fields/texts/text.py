"""Texts, cut into tokens that are numbered by a vocabulary of the training part."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from stoker.datasets.columns import Column, Ragged
from stoker.datasets.fields.field import InputField
from stoker.datasets.fields.texts.text_lists import joined_texts
from stoker.datasets.fields.texts.text_sizes import empty_note, require_whole
from stoker.datasets.model_files import most_tokens, read_tokenizer
from stoker.datasets.records import RawColumn
from stoker.datasets.tokens.kinds import FITTED, TokenizerKind, tokenizer_class
from stoker.datasets.tokens.tokenizer import END, SPECIAL, UNKNOWN, FittedTokenizer, Tokenizer
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset, LongTexts, Text, Tokens
from stoker.job.saved_model import ASSETS, FIELDS
from stoker.job.signature import TextInput
from stoker.job.task import TOKENIZED, Kind, TaskRow

WORDS, PARTS_OF_WORDS = 20_000, 8_000
"""Default sizes of a vocabulary."""
BLANK = "[MASK]"
"""Stands for a word to fill in, in a text that is given to a model of fill-mask."""
TOKENIZER_KEY = "dataset.text.tokenizer"
_FILE_NAME = re.compile(r"[\w -]{1,50}")


@dataclass(frozen=True)
class TextField(InputField):
    """A text column as token numbers."""

    kind: ClassVar[Kind] = "text"

    tokens: TokenizerKind
    """What a text is cut into."""
    vocabulary: str
    """The tokenizer, as the content of its file."""
    length: int
    """Most tokens of a text; longer ones are truncated."""
    long: LongTexts = "cut"
    """Whether they are refused instead."""
    prefix: str = ""
    """What is put before each text."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Build the vocabulary of the training rows, or take that of a pretrained model.

        Raises:
            JobError: the model's tokenizer cannot be used, or the vocabulary is too small.

        """
        text = settings.text
        if model := text.tokenizer:
            length = min(text.length, most_tokens(model, TOKENIZER_KEY) or text.length)
            if saved := saved_text(Path(model)):
                return cls(name, saved.tokens, saved.vocabulary, length, text.long, text.prefix)
            field = cls(name, "pretrained", read_tokenizer(model, TOKENIZER_KEY), length, text.long, text.prefix)
            _require_room(field)
            return field
        tokens = text.tokens or "words"
        texts = [text.prefix + each for each in joined_texts(raw)]
        return cls(name, tokens, fitted_tokenizer(texts, text, tokens).asset(), text.length, text.long, text.prefix)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer."""
        return tokenizer_class(self.tokens).from_asset(self.vocabulary)

    def encode(self, raw: RawColumn) -> Column:
        """Return the numbers of each text, truncated; an empty one is a single unknown token.

        Raises:
            JobError: the job refuses to truncate a text.

        """
        before, behind = self.tokenizer.around
        encoded = self.tokenizer.encode([self.prefix + text for text in joined_texts(raw)])
        require_whole(self.long, self.name, raw, [*map(len, encoded)], self.room, self.tokenizer.unit)
        cut = [np.concatenate([before, numbers[: self.room], behind]).astype(np.int64) for numbers in encoded]
        column = Ragged.of([numbers[: self.length] if len(numbers) else [UNKNOWN] for numbers in cut])
        least = self.room == self.length  # nothing stands around a text: an empty one is an unknown token
        whole = torch.tensor([max(len(numbers), least) for numbers in encoded], dtype=torch.int32)
        return replace(column, whole=whole) if (whole > self.room).any() else column

    def encode_blanks(self, raw: RawColumn) -> Column:
        """Return the numbers of each text, with the token of a hidden word for each BLANK in it.

        Raises:
            JobError: a text has no blank.

        """
        found = []
        before, behind = self.tokenizer.around
        parts_of_words = not self.tokenizer.begins_words().all()
        for row, text in enumerate(joined_texts(raw), start=1):
            *before_blanks, last = text.split(BLANK)
            if not before_blanks:
                message = f"row {row}: the text has no {BLANK} to fill; write it where a word is missing"
                raise JobError([Problem("", message)])
            if parts_of_words:  # of which the first has the blank before it
                before_blanks = [each.rstrip() for each in before_blanks]
            parts = self.tokenizer.encode([*before_blanks, last])
            pieces = [piece for part in parts for piece in (np.array([self.tokenizer.mask]), part)][1:]
            found.append(np.concatenate([before, np.concatenate(pieces)[: self.room], behind]).astype(np.int64))
        return Ragged.of(found)

    @cached_property
    def room(self) -> int:
        """Return the most tokens of a text without those that stand around it."""
        return max(self.length - sum(map(len, self.tokenizer.around)), 0)

    def stream(self, raw: RawColumn) -> Ragged:
        """Return the numbers of each text as a whole, with the token of its end."""
        encoded = self.tokenizer.encode(joined_texts(raw))
        return Ragged.of([np.append(numbers, END) for numbers in encoded])

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield a note on the number of empty texts."""
        yield from empty_note(self.name, joined_texts(raw), parts)

    @classmethod
    def shape(cls, fields: Sequence[Self]) -> TextInput:
        """Return the size of the vocabulary and the maximum length."""
        (field,) = fields
        return TextInput(field.tokenizer.size, field.length)

    def assets(self) -> dict[str, str]:
        """Return the vocabulary."""
        return {asset_name(self.name): self.vocabulary}

    def to_json(self) -> dict[str, Any]:
        """Return plain values without the vocabulary."""
        sizes = {"length": self.length, "long": self.long}
        return {"name": self.name, "tokens": self.tokens, **sizes, "prefix": self.prefix}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], assets: Mapping[str, str]) -> Self:
        """Rebuild the field from plain values and the vocabulary.

        Raises:
            JobError: an older version saved it, which numbered words otherwise.

        """
        if "tokens" not in content:
            message = "an older version numbered the words of this model; use it with that version"
            raise JobError([Problem("", message)])
        vocabulary = assets[asset_name(content["name"])]
        sizes = content["length"], content.get("long", "cut")
        return cls(content["name"], content["tokens"], vocabulary, *sizes, content.get("prefix", ""))


def saved_text(model: Path) -> TextField | None:
    """Return the only text field of a saved model, also of dialogues; None if it is none of ours, or reads no text."""
    file = model / FIELDS
    if not file.is_file():
        return None
    inputs = json.loads(file.read_text(encoding="utf-8"))["inputs"]
    texts = [dict(each) for each in inputs if each["kind"] in TOKENIZED]
    if len(texts) != 1:
        return None
    assets = {path.name: path.read_text(encoding="utf-8") for path in (model / ASSETS).glob("*")}
    return TextField.from_json(texts[0], assets)


def fitted_tokenizer(texts: Sequence[str], text: Text, tokens: Tokens) -> FittedTokenizer:
    """Fit a tokenizer to texts.

    Raises:
        JobError: the job asks for fewer tokens than this kind begins with, such as all bytes.

    """
    vocabulary = text.vocabulary or default_vocabulary(tokens)
    fitted = FITTED[tokens].fit(texts, vocabulary)
    needed = fitted.size - SPECIAL
    if needed > vocabulary != default_vocabulary(tokens):
        message = f"{vocabulary:,} is less than the {needed:,} tokens that {tokens} begins with for these texts"
        raise JobError([Problem("dataset.text.vocabulary", f"{message}; use a larger one, or leave it out")])
    return fitted


def _require_room(field: TextField) -> None:
    """Check that a text has room between what a model was trained with around it.

    Raises:
        JobError: it has none, or the file of the tokenizer is broken.

    """
    try:
        around = sum(map(len, field.tokenizer.around))
    except ValueError as error:
        raise JobError([Problem(TOKENIZER_KEY, str(error))]) from error
    if not field.room:
        message = f"{field.length} tokens have no room for a text beside the {around} that the model has around it"
        raise JobError([Problem("dataset.text.length", f"{message}; use at least {around + 1}")])


def default_vocabulary(tokens: Tokens) -> int:
    """Return the most tokens of a vocabulary unless the job says how many."""
    return PARTS_OF_WORDS if tokens in ("bpe", "wordpiece") else WORDS


def completed_text(text: Text, task: TaskRow) -> Text:
    """Fill in what texts are cut into, and the size of the vocabulary; both are known with a tokenizer."""
    if text.tokenizer:
        return text
    tokens = text.tokens or task.tokens
    return text.model_copy(update={"tokens": tokens, "vocabulary": text.vocabulary or default_vocabulary(tokens)})


def asset_name(column: str) -> str:
    """Return the file name of a vocabulary, with a hash for a column name that is not a valid file name."""
    name = column if _FILE_NAME.fullmatch(column) else blake2b(column.encode(), digest_size=8).hexdigest()
    return f"{name}.vocabulary.txt"
