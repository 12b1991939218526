"""Sentences as lists of words, each with its number in a vocabulary and those of its characters."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from stoker.datasets.columns import Column, Ragged
from stoker.datasets.fields.field import InputField
from stoker.datasets.fields.lists import read_lists
from stoker.datasets.fields.texts.text import WORDS, asset_name
from stoker.datasets.fields.texts.text_sizes import require_whole
from stoker.datasets.records import RawColumn
from stoker.datasets.tokens.characters import Characters
from stoker.datasets.tokens.tokenizer import PADDING, SPECIAL, UNKNOWN
from stoker.datasets.tokens.words import MIN_OCCURRENCES
from stoker.job.dataset import Dataset, LongTexts
from stoker.job.signature import WordsInput
from stoker.job.task import Kind

CHARACTERS = 16
"""Characters of a word that a network sees; of longer ones, the first and the last half of them."""
_WORD = re.compile(r"https?://\S+|[@#]\w+|\w+(?:[-'’.]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class WordsField(InputField):
    """A column of sentences, whose words keep their case as characters."""

    kind: ClassVar[Kind] = "words"

    vocabulary: str
    """Lower-case words, the most frequent first, and the characters of words, as JSON."""
    length: int
    """Most words of a sentence; longer ones are truncated."""
    long: LongTexts = "cut"
    """Whether they are refused instead."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Build the vocabularies of the training rows; a word or character that occurs once is unknown in them."""
        words: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        for sentence in sentences(raw):
            words.update(each.lower() for each in sentence)
            for word in sentence:
                characters.update(word)
        common = sorted(_repeated(words).items(), key=lambda item: (-item[1], item[0]))
        kept = [word for word, _ in common[: settings.text.vocabulary or WORDS]]
        content = {"words": kept, "characters": "".join(sorted(_repeated(characters)))}
        return cls(name, json.dumps(content, ensure_ascii=False), settings.text.length, settings.text.long)

    @cached_property
    def characters(self) -> Characters:
        """Return the numbers of the characters."""
        return Characters(json.loads(self.vocabulary)["characters"])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(json.loads(self.vocabulary)["words"], start=SPECIAL)}

    def read(self, raw: RawColumn) -> list[list[str]]:
        """Return the words of each row, truncated."""
        return [sentence[: self.length] for sentence in sentences(raw)]

    def encode(self, raw: RawColumn) -> Column:
        """Return for each word of a sentence its number and those of its characters, (words, 1 + CHARACTERS) int32.

        Raises:
            JobError: the job refuses to truncate a sentence.

        """
        found = sentences(raw)
        require_whole(self.long, self.name, raw, [*map(len, found)], self.length, "words")
        cut = [sentence[: self.length] for sentence in found]
        offsets = torch.zeros(len(cut) + 1, dtype=torch.int64)
        offsets[1:] = torch.tensor([len(each) for each in cut], dtype=torch.int64).cumsum(0)
        words = [word for sentence in cut for word in sentence]
        places = {word: place for place, word in enumerate(dict.fromkeys(words))}  # each different word once
        rows = np.full((len(places), 1 + CHARACTERS), PADDING, np.int32)
        for row, word, numbers in zip(rows, places, self.characters.encode([*map(_visible, places)]), strict=True):
            row[0] = self._numbers.get(word.lower(), UNKNOWN)
            row[1 : 1 + len(numbers)] = numbers
        chosen = rows[np.array([places[word] for word in words], np.int64)]
        whole = torch.tensor([len(sentence) for sentence in found], dtype=torch.int32)
        return Ragged(torch.from_numpy(chosen), offsets, whole if (whole > self.length).any() else None)

    def prepare(self, taken: Tensor) -> Tensor:
        """Return a batch of numbers as int64."""
        return taken.long()

    def cut_notes(self, raw: RawColumn) -> Iterator[str]:
        """Yield a note on the number of sentences that are longer than `length`."""
        found = sentences(raw)
        if cut := sum(len(sentence) > self.length for sentence in found):
            longer = f"{cut:,} of {len(found):,} sentences have more than {self.length} words"
            yield f"column '{self.name}': {longer} and are cut off there (dataset.text.length)"

    def decode(self, numbers: Tensor) -> list[str]:
        """Return the words of a sentence (length, 1 + CHARACTERS) without padding, as far as their characters go."""
        words = numbers[numbers[:, 0] != PADDING]
        return [self.characters.decode(each) for each in words[:, 1:].tolist()]

    @classmethod
    def shape(cls, fields: Sequence[Self]) -> WordsInput:
        """Return the sizes of both vocabularies and the maximum lengths."""
        (field,) = fields
        return WordsInput(len(field._numbers) + SPECIAL, field.characters.size, field.length, CHARACTERS)

    def assets(self) -> dict[str, str]:
        """Return the vocabularies."""
        return {asset_name(self.name): self.vocabulary}

    def to_json(self) -> dict[str, Any]:
        """Return plain values without the vocabularies."""
        return {"name": self.name, "length": self.length, "long": self.long}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], assets: Mapping[str, str]) -> Self:
        """Rebuild the field from plain values and the vocabularies."""
        vocabulary = assets[asset_name(content["name"])]
        return cls(content["name"], vocabulary, content["length"], content.get("long", "cut"))


def sentences(raw: RawColumn) -> list[list[str]]:
    """Return the words of each row; a plain sentence is split into words and punctuation marks."""
    return read_lists(raw, _WORD.findall)


def _repeated(counted: Counter[str]) -> dict[str, int]:
    """Leave out what occurs once, so that a network meets the unknown; keep all if nothing repeats."""
    repeated = {each: count for each, count in counted.items() if count >= MIN_OCCURRENCES}
    return repeated or dict(counted)


def _visible(word: str) -> str:
    half = CHARACTERS // 2
    return word if len(word) <= CHARACTERS else word[:half] + word[-half:]
