"""Texts, split into words that are numbered by a vocabulary of the training part."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar, Self

import numpy as np

from stoker.datasets.columns import Column, Ragged
from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.field import InputField
from stoker.datasets.records import RawColumn
from stoker.job.dataset import Dataset
from stoker.job.signature import TextInput
from stoker.job.task import Kind

PADDING, UNKNOWN = 0, 1
SPECIAL = 2
"""Numbers before the first word."""
MIN_OCCURRENCES = 2
"""A word that occurs once in the training part does not generalise."""
_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")  # texts have typographic apostrophes
_FILE_NAME = re.compile(r"[\w -]{1,50}")


@dataclass(frozen=True)
class TextField(InputField):
    """A text column: lower-case words and punctuation marks as numbers."""

    kind: ClassVar[Kind] = "text"

    words: tuple[str, ...]
    """The most frequent first; word i has the number i + 2."""
    length: int
    """Most words of a text; longer ones are truncated."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Build the vocabulary of the training rows."""
        counted = Counter(word for text in as_text(raw) for word in tokens(text))
        common = [item for item in counted.items() if item[1] >= MIN_OCCURRENCES] or list(counted.items())
        common.sort(key=lambda item: (-item[1], item[0]))
        words = tuple(word for word, _ in common[: settings.text.vocabulary])
        return cls(name, words, settings.text.length)

    def encode(self, raw: RawColumn) -> Column:
        """Return the numbers of each text; an empty one is a single unknown word."""
        numbers = {word: number for number, word in enumerate(self.words, start=SPECIAL)}
        return Ragged.of(
            [[numbers.get(word, UNKNOWN) for word in tokens(text)][: self.length] or [UNKNOWN] for text in as_text(raw)]
        )

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield a note on the number of truncated texts."""
        texts = as_text(raw)[parts == "train"]
        if cut := sum(len(tokens(text)) > self.length for text in texts):
            longer = f"{cut:,} of {len(texts):,} training texts have more than {self.length} words"
            yield f"column '{self.name}': {longer} and are cut off there (dataset.text.length)"

    @classmethod
    def shape(cls, fields: Sequence[Self]) -> TextInput:
        """Return the size of the vocabulary and the maximum length."""
        (field,) = fields
        return TextInput(len(field.words) + SPECIAL, field.length)

    def assets(self) -> dict[str, str]:
        """Return the vocabulary, one word per line."""
        return {_asset_name(self.name): "\n".join(self.words)}

    def to_json(self) -> dict[str, Any]:
        """Return plain values without the vocabulary."""
        return {"name": self.name, "length": self.length}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], assets: Mapping[str, str]) -> Self:
        """Rebuild the field from plain values and the vocabulary."""
        words = assets[_asset_name(content["name"])]
        return cls(content["name"], tuple(words.split("\n")) if words else (), content["length"])


def _asset_name(column: str) -> str:
    """Return the file name of a vocabulary, with a hash for a column name that is not a valid file name."""
    name = column if _FILE_NAME.fullmatch(column) else blake2b(column.encode(), digest_size=8).hexdigest()
    return f"{name}.vocabulary.txt"


def tokens(text: str | None) -> list[str]:
    """Split a text into lower-case words and punctuation marks."""
    return _TOKEN.findall(text.lower()) if text else []
