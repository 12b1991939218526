"""Single characters, or single bytes, as tokens: nothing of a text is lost."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np

from stoker.datasets.tokens.tokenizer import SPECIAL, UNKNOWN, FittedTokenizer, without_blanks

REPLACEMENT = "\ufffd"
BYTES = 256


class Characters(FittedTokenizer):
    """A vocabulary of the characters that occur, in the order of Unicode."""

    unit = "characters"

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self._points = np.array([ord(each) for each in characters], np.int64)

    @classmethod
    def fit(cls, texts: Sequence[str], vocabulary: int) -> Self:
        """Keep all characters, or the most frequent ones of more than a vocabulary holds."""
        counted: Counter[str] = Counter()
        for text in texts:
            counted.update(text)
        common = sorted(counted, key=lambda each: (-counted[each], each))[:vocabulary]
        return cls("".join(sorted(common)))

    @property
    def size(self) -> int:
        """Return the number of characters with the special tokens."""
        return len(self.characters) + SPECIAL

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the number of each character."""
        return [self._numbers(text) for text in texts]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the place of each character."""
        return [without_blanks(text, [(place, place + 1) for place in range(len(text))]) for text in texts]

    def _numbers(self, text: str) -> np.ndarray:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
        if not len(self._points):
            return np.full(len(points), UNKNOWN, np.int64)
        places = np.searchsorted(self._points, points).clip(max=len(self._points) - 1)
        return np.where(self._points[places] == points, places + SPECIAL, UNKNOWN)

    def decode(self, numbers: Sequence[int]) -> str:
        """Join the characters; an unknown one is U+FFFD."""
        return "".join(
            self.characters[number - SPECIAL] if number >= SPECIAL else REPLACEMENT
            for number in numbers
            if number >= SPECIAL or number == UNKNOWN
        )

    def token_bytes(self) -> np.ndarray:
        """Count the bytes of each character."""
        return np.array([0, 1, 0, 0, *(len(each.encode()) for each in self.characters)], np.int64)

    def asset(self) -> str:
        """Return the characters as a JSON text."""
        return json.dumps(self.characters)

    @classmethod
    def from_asset(cls, content: str) -> Self:
        """Read the characters."""
        return cls(json.loads(content))


class Bytes(FittedTokenizer):
    """The 256 bytes of UTF-8: no vocabulary, and nothing is unknown."""

    unit = "bytes"

    @classmethod
    def fit(cls, texts: Sequence[str], vocabulary: int) -> Self:
        """Return the tokenizer: there is nothing to fit."""
        return cls()

    @property
    def size(self) -> int:
        """Return 256 with the special tokens."""
        return BYTES + SPECIAL

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the number of each byte."""
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int64) + SPECIAL for text in texts]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the place of the character that each byte belongs to."""
        places = ([place for place, each in enumerate(text) for _ in each.encode()] for text in texts)
        return [
            without_blanks(text, [(place, place + 1) for place in found])
            for text, found in zip(texts, places, strict=True)
        ]

    def decode(self, numbers: Sequence[int]) -> str:
        """Decode the bytes; those that are no UTF-8 are U+FFFD."""
        return bytes(number - SPECIAL for number in numbers if number >= SPECIAL).decode(errors="replace")

    def token_bytes(self) -> np.ndarray:
        """Return 1 for each byte."""
        return np.array([0] * SPECIAL + [1] * BYTES, np.int64)

    def asset(self) -> str:
        """Return an empty file."""
        return ""

    @classmethod
    def from_asset(cls, content: str) -> Self:
        """Return the tokenizer."""
        return cls()
