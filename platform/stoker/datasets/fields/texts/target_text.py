"""Texts to write, such as translations and summaries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from stoker.datasets.columns import Column, Ragged
from stoker.datasets.fields.field import TargetField
from stoker.datasets.fields.texts.text import TextField, asset_name, fitted_tokenizer
from stoker.datasets.fields.texts.text_lists import first_texts
from stoker.datasets.fields.texts.text_sizes import empty_note, require_whole
from stoker.datasets.records import RawColumn
from stoker.datasets.tokens.kinds import TokenizerKind, tokenizer_class
from stoker.datasets.tokens.tokenizer import END, Tokenizer
from stoker.job.dataset import Dataset, LongTexts, Tokens
from stoker.job.signature import TextOutput
from stoker.job.task import Kind

TOKENS: Tokens = "bpe"
"""What a text to write is cut into by default: nothing of it is lost."""


@dataclass(frozen=True)
class TargetTextField(TargetField):
    """A text to write as token numbers, with the token of its end.

    It begins with what a pretrained model was trained with before a text.
    """

    kind: ClassVar[Kind] = "text"

    tokens: TokenizerKind
    """What a text is cut into."""
    vocabulary: str
    """The tokenizer, as the content of its file."""
    length: int
    """Most tokens of a text that is learnt, without its end."""
    longest: int
    """Most tokens of a training text, without its end; at most `length`."""
    long: LongTexts = "cut"
    """Whether texts with more than `length` are learnt in part, or refused."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Build the vocabulary of the training rows."""
        return cls.fit_with(name, raw, [], settings)

    @classmethod
    def fit_with(cls, name: str, raw: RawColumn, sources: Sequence[str], settings: Dataset) -> Self:
        """Build one vocabulary of the training rows and of the texts that they are written from, or take a model's.

        Raises:
            JobError: the model's tokenizer cannot be used, or the vocabulary is too small.

        """
        text, texts = settings.text, first_texts(raw)
        if text.tokenizer:
            source = TextField.fit(name, raw, settings)
            field = cls(name, source.tokens, source.vocabulary, source.length, 0, text.long)
        else:
            tokens = text.tokens or TOKENS
            fitted = fitted_tokenizer([*sources, *texts], text, tokens)
            field = cls(name, tokens, fitted.asset(), text.length, 0, text.long)
        longest = max(map(len, field.tokenizer.encode(texts)), default=0) + len(field.before)
        return replace(field, longest=min(longest, field.length))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer."""
        return tokenizer_class(self.tokens).from_asset(self.vocabulary)

    @property
    def before(self) -> Sequence[int]:
        """Return the tokens that a text begins with: those that a pretrained model was trained with."""
        return self.tokenizer.around[0]

    @property
    def room(self) -> int:
        """Return the most tokens of a text that is learnt, without its beginning and its end."""
        return self.length - len(self.before)

    def encode(self, raw: RawColumn) -> Column:
        """Return the numbers of each text as a whole, which answers are compared with, and its end.

        Raises:
            JobError: the job refuses to learn a text in part.

        """
        encoded = self.tokenizer.encode(first_texts(raw))
        require_whole(self.long, self.name, raw, [*map(len, encoded)], self.room, self.tokenizer.unit)
        return Ragged.of([np.concatenate([self.before, numbers, [END]]).astype(np.int64) for numbers in encoded])

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield a note on the number of empty texts."""
        yield from empty_note(self.name, first_texts(raw), parts)

    def text(self, numbers: Sequence[int]) -> str:
        """Return the text of some tokens, until its end."""
        known = list(numbers)
        return self.tokenizer.decode(known[: known.index(END)] if END in known else known)

    @property
    def output(self) -> TextOutput:
        """Return the size of the vocabulary and the lengths."""
        return TextOutput(self.tokenizer.size, self.length + 1, self.longest + 1)

    def assets(self) -> dict[str, str]:
        """Return the vocabulary."""
        return {_asset_name(self.name): self.vocabulary}

    def to_json(self) -> dict[str, Any]:
        """Return plain values without the vocabulary."""
        sizes = {"length": self.length, "longest": self.longest}
        return {"name": self.name, "tokens": self.tokens, **sizes, "long": self.long}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], assets: Mapping[str, str]) -> Self:
        """Rebuild the field from plain values and the vocabulary."""
        vocabulary = assets[_asset_name(content["name"])]
        sizes = content["length"], content["longest"]
        return cls(content["name"], content["tokens"], vocabulary, *sizes, content.get("long", "cut"))


def _asset_name(column: str) -> str:
    """Return a file name that no column of the input has, whose names have no dots before their ends."""
    return f"target.{asset_name(column)}"
