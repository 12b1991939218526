"""Lower-case words and punctuation marks as tokens."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np

from stoker.datasets.tokens.tokenizer import END, PADDING, SPECIAL, UNKNOWN, FittedTokenizer

MIN_OCCURRENCES = 2
"""A word that occurs once in the training part does not generalise."""
UNKNOWN_WORD = "<unk>"
_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")  # texts have typographic apostrophes
_BEFORE_MARK = re.compile(r" ([.,;:!?)\]}%’”])")
_BEHIND_MARK = re.compile(r"([(\[{“]) ")


class Words(FittedTokenizer):
    """A vocabulary of words, the most frequent first."""

    unit = "words"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._numbers = {word: number for number, word in enumerate(self.words, start=SPECIAL)}

    @classmethod
    def fit(cls, texts: Sequence[str], vocabulary: int) -> Self:
        """Keep the most frequent words, without those that occur once; all of them if none repeats."""
        counted = Counter(word for text in texts for word in words_of(text))
        common = [item for item in counted.items() if item[1] >= MIN_OCCURRENCES] or list(counted.items())
        common.sort(key=lambda item: (-item[1], item[0]))
        return cls([word for word, _ in common[:vocabulary]])

    @property
    def size(self) -> int:
        """Return the number of words with the special tokens."""
        return len(self.words) + SPECIAL

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the number of each word."""
        known = self._numbers.get
        return [np.array([known(word, UNKNOWN) for word in words_of(text)], np.int64) for text in texts]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the place of each word."""
        return [_word_spans(text) for text in texts]

    def decode(self, numbers: Sequence[int]) -> str:
        """Join words with blanks, without one before a full stop and the like."""
        named = (self.words[n - SPECIAL] if n >= SPECIAL else UNKNOWN_WORD for n in numbers if n not in (PADDING, END))
        return _BEHIND_MARK.sub(r"\1", _BEFORE_MARK.sub(r"\1", " ".join(named)))

    def token_bytes(self) -> np.ndarray:
        """Count the bytes of each word and a blank."""
        known = [len(word.encode()) + 1 for word in self.words]
        return np.array([0, 1, 0, 1, *known], np.int64)

    def asset(self) -> str:
        """Return one word a line."""
        return "\n".join(self.words)

    @classmethod
    def from_asset(cls, content: str) -> Self:
        """Read one word a line."""
        return cls(content.split("\n") if content else ())


def words_of(text: str | None) -> list[str]:
    """Split a text into lower-case words and punctuation marks."""
    return _TOKEN.findall(text.lower()) if text else []


def _word_spans(text: str) -> np.ndarray:
    """Return (words, 2) where the words of `words_of` stand; a character such as İ is two in lower case."""
    places = [place for place, each in enumerate(text) for _ in each.lower()]
    found = [(places[match.start()], places[match.end() - 1] + 1) for match in _TOKEN.finditer(text.lower())]
    return np.array(found, np.int64).reshape(-1, 2)
