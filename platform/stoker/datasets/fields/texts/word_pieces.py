"""Sentences as lists of words, each cut into the tokens of a pretrained model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from stoker.datasets.columns import Ragged
from stoker.datasets.fields.field import InputField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.text_sizes import require_whole
from stoker.datasets.fields.texts.words import sentences
from stoker.datasets.records import RawColumn
from stoker.datasets.tokens.tokenizer import UNKNOWN
from stoker.job.dataset import Dataset
from stoker.job.signature import PiecesInput
from stoker.job.task import Kind


@dataclass(frozen=True)
class WordPiecesField(InputField):
    """A column of sentences, whose words are cut as in a text where blanks stand between them."""

    kind: ClassVar[Kind] = "word-pieces"

    text: TextField
    """Tokenizer and length of that text."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Take the tokenizer of a pretrained model.

        Raises:
            JobError: a sentence has no room for a word.

        """
        return cls(name, TextField.fit(name, raw, settings))

    def encode(self, raw: RawColumn) -> Ragged:
        """Return for each token of a sentence its number and that of its word, (tokens, 2) int32 as of a PiecesInput.

        Tokens without a place in the model are left out, and so is a word whose first token is; a word without tokens
        is an unknown one.

        Raises:
            JobError: the job refuses to truncate a sentence.

        """
        cut = [pieces for _, pieces in self._cut(raw)]
        require_whole(self.text.long, self.name, raw, [*map(len, cut)], self.text.room, self.text.tokenizer.unit)
        before, behind = (np.array([[number, 0] for number in each]).reshape(-1, 2) for each in self.around)
        whole = [np.concatenate([before, pieces[: self.text.room], behind]) for pieces in cut]
        offsets = torch.zeros(len(whole) + 1, dtype=torch.int64)
        offsets[1:] = torch.tensor([len(each) for each in whole], dtype=torch.int64).cumsum(0)
        together = np.concatenate([np.zeros((0, 2), np.int32), *whole]).astype(np.int32)
        lengths = torch.tensor([len(pieces) for pieces in cut], dtype=torch.int32)
        return Ragged(torch.from_numpy(together), offsets, lengths if (lengths > self.text.room).any() else None)

    @property
    def around(self) -> tuple[Sequence[int], Sequence[int]]:
        """Return the tokens before and behind a sentence."""
        return self.text.tokenizer.around

    def _cut(self, raw: RawColumn) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield the words of each row, and (tokens, 2) numbers of its tokens and their words, counted from 1."""
        found, tokenizer = sentences(raw), self.text.tokenizer
        texts = [" ".join(words) for words in found]
        for words, numbers, spans in zip(found, tokenizer.encode(texts), tokenizer.spans(texts), strict=True):
            ends = np.cumsum([len(word) + 1 for word in words])  # with the blank behind each
            of_word = np.searchsorted(ends, spans[:, 0], side="right")
            without = np.setdiff1d(np.arange(len(words)), of_word)
            numbers = np.concatenate([numbers, np.full(len(without), UNKNOWN)])
            of_word = np.concatenate([of_word, without])
            yield words, np.stack([numbers, of_word + 1], axis=1)[of_word.argsort(kind="stable")]

    def beside(self, tags: Ragged, encoded: Ragged) -> Ragged:
        """Return the tags of those words of encoded sentences that have a token, then 0 for the rest of its tokens."""
        rows = torch.arange(len(encoded)).repeat_interleave(encoded.lengths())
        words = torch.zeros(len(encoded), dtype=torch.int64)
        words = words.scatter_reduce(0, rows, encoded.values[:, 1].long(), "amax")
        lengths = tags.lengths()
        places = torch.arange(len(tags.values)) - tags.offsets[:-1].repeat_interleave(lengths)
        read = places < words.repeat_interleave(lengths)
        values = tags.values.new_zeros(len(encoded.values))
        values[(encoded.offsets[:-1].repeat_interleave(lengths) + places)[read]] = tags.values[read]
        return Ragged(values, encoded.offsets)

    def read(self, raw: RawColumn) -> list[list[str]]:
        """Return the words of each row that have a token."""
        return [words[: max(pieces[: self.text.room, 1], default=0)] for words, pieces in self._cut(raw)]

    def prepare(self, taken: Tensor) -> Tensor:
        """Return a batch of numbers as int64."""
        return taken.long()

    def cut_notes(self, raw: RawColumn) -> Iterator[str]:
        """Yield a note on the number of sentences with more tokens than the model reads of them."""
        lengths = [len(pieces) for _, pieces in self._cut(raw)]
        if cut := sum(length > self.text.room for length in lengths):
            longer = f"{cut:,} of {len(lengths):,} sentences have more than {self.text.room} {self.text.tokenizer.unit}"
            limit = "dataset.text.length, at most what the model reads"
            yield f"column '{self.name}': {longer} and are cut off there ({limit})"

    def decode(self, numbers: Tensor) -> list[str]:
        """Return the words of a sentence (length, 2), as far as their tokens go."""
        found: dict[int, list[int]] = {}
        for number, word in numbers.tolist():
            if word:
                found.setdefault(word, []).append(number)
        return [self.text.tokenizer.decode(each).strip() for each in found.values()]

    @classmethod
    def shape(cls, fields: Sequence[Self]) -> PiecesInput:
        """Return the size of the vocabulary and the maximum length."""
        (field,) = fields
        return PiecesInput(field.text.tokenizer.size, field.text.length)

    def assets(self) -> dict[str, str]:
        """Return the vocabulary."""
        return self.text.assets()

    def to_json(self) -> dict[str, Any]:
        """Return plain values without the vocabulary."""
        return self.text.to_json()

    @classmethod
    def from_json(cls, content: Mapping[str, Any], assets: Mapping[str, str]) -> Self:
        """Rebuild the field from plain values and the vocabulary."""
        return cls(content["name"], TextField.from_json(content, assets))
