"""The contract of a tokenizer: it turns a text into numbers, and numbers into a text; most are fitted to texts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np

PADDING, UNKNOWN, END, MASK = range(4)
"""Numbers that no text contains: behind a text, in place of an unknown token, the end of a text, a token to guess."""
SPECIAL = 4
"""Numbers before the first token of a vocabulary."""


class Tokenizer(ABC):
    """Cuts texts into tokens, which are numbered."""

    unit: str
    """What a token is, in the plural."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Return the number of tokens, the special ones included."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the numbers of the tokens of each text, (tokens,) int64."""

    @abstractmethod
    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return where each token of `encode` stands in its text: (tokens, 2) int64 begin and end without blanks."""

    @property
    def around(self) -> tuple[Sequence[int], Sequence[int]]:
        """Return the tokens that a network expects before and behind a whole text."""
        return (), ()

    @property
    def around_pair(self) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """Return the tokens that a network expects before, between and behind two texts; at least one before them."""
        before, behind = self.around
        return before or [END], behind or [END], behind

    @abstractmethod
    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of some tokens; the special ones are left out, but for unknown tokens."""

    @abstractmethod
    def token_bytes(self) -> np.ndarray:
        """Return (size,) how many bytes of UTF-8 each token stands for; 0 for padding and the end."""

    @property
    def mask(self) -> int:
        """Return the number of the token that stands for a hidden word; MASK but for a model with its own."""
        return MASK

    def begins_words(self) -> np.ndarray:
        """Return (size,) whether each token begins a word; by default all do."""
        return np.ones(self.size, bool)

    @abstractmethod
    def asset(self) -> str:
        """Return the vocabulary as the content of a file."""

    @classmethod
    @abstractmethod
    def from_asset(cls, content: str) -> Self:
        """Rebuild the tokenizer from `asset`."""


class FittedTokenizer(Tokenizer):
    """A tokenizer whose vocabulary is that of the training part."""

    @classmethod
    @abstractmethod
    def fit(cls, texts: Sequence[str], vocabulary: int) -> Self:
        """Build the vocabulary of some texts, of at most so many tokens beside the special ones."""


def without_blanks(text: str, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return (tokens, 2) spans of a text without the blanks at their ends; one of blanks alone has no length."""
    trimmed = []
    for begin, end in spans:
        while begin < end and text[begin].isspace():
            begin += 1
        while begin < end and text[end - 1].isspace():
            end -= 1
        trimmed.append((begin, end))
    return np.array(trimmed, np.int64).reshape(-1, 2)
