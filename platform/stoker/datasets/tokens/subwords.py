"""Frequent parts of words as tokens, by the library `tokenizers`: BPE and WordPiece.

Its Unigram is left out: it finds other scores each time it is fitted to the same texts, and no run could be repeated.
"""

import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from stoker.datasets.tokens.tokenizer import END, MASK, PADDING, SPECIAL, UNKNOWN, FittedTokenizer, without_blanks

NAMES = ("<pad>", "<unk>", "<end>", "<mask>")
"""Names of the special tokens, by their numbers."""
BYTES = 256
BLANK = "\u0120"
"""How BPE over bytes writes a blank."""
INSIDE = "##"
"""Before a part inside of a word, in WordPiece."""


class Subwords(FittedTokenizer):
    """A vocabulary of parts of words that a library has fitted."""

    unit = "tokens"

    def __init__(self, library: Library) -> None:
        self._library = library

    @classmethod
    def fit(cls, texts: Sequence[str], vocabulary: int) -> Self:
        """Fit the vocabulary; equal texts always give the same one."""
        library, trainer = cls.empty(texts, vocabulary + SPECIAL)
        library.train_from_iterator((text for text in texts if text), trainer)
        content = json.loads(library.to_str())
        content["added_tokens"] = []  # a text may contain the name of a special token
        return cls.from_asset(json.dumps(content, ensure_ascii=False))

    @staticmethod
    @abstractmethod
    def empty(texts: Sequence[str], size: int) -> tuple[Library, Any]:
        """Return a tokenizer before training on some texts, and what trains it."""

    @property
    def size(self) -> int:
        """Return the size of the vocabulary."""
        size: int = self._library.get_vocab_size()
        return size

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the number of each token."""
        encoded = self._library.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(each.ids, np.int64) for each in encoded]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the place of each token, of all characters of which it has bytes."""
        encoded = self._library.encode_batch(list(texts), add_special_tokens=False)
        return [without_blanks(text, each.offsets) for text, each in zip(texts, encoded, strict=True)]

    def decode(self, numbers: Sequence[int]) -> str:
        """Join the tokens."""
        text: str = self._library.decode([n for n in numbers if n not in (PADDING, END, MASK)], False)
        return text

    def token_bytes(self) -> np.ndarray:
        """Count the bytes of each token as it is written in the vocabulary."""
        written = [self._library.id_to_token(number) or "" for number in range(SPECIAL, self.size)]
        return np.array([0, 1, 0, 0, *(self.bytes_of(token) for token in written)], np.int64)

    @staticmethod
    @abstractmethod
    def bytes_of(token: str) -> int:
        """Return how many bytes of a text a token of the vocabulary stands for."""

    def begins_words(self) -> np.ndarray:
        """Return whether each token is written as the beginning of a word; a special token is one of its own."""
        written = [self._library.id_to_token(number) or "" for number in range(SPECIAL, self.size)]
        return np.array([True] * SPECIAL + [self.begins_word(token) for token in written], bool)

    @staticmethod
    @abstractmethod
    def begins_word(token: str) -> bool:
        """Return whether a token of the vocabulary begins a word."""

    def asset(self) -> str:
        """Return the file tokenizer.json of the library."""
        content: str = self._library.to_str()
        return content

    @classmethod
    def from_asset(cls, content: str) -> Self:
        """Read tokenizer.json."""
        return cls(Library.from_str(content))


class Bpe(Subwords):
    """Byte-pair encoding (Sennrich et al. 2016) over bytes, as GPT-2: nothing is unknown, and nothing is lost."""

    @staticmethod
    def empty(texts: Sequence[str], size: int) -> tuple[Library, Any]:
        """Merge the most frequent pairs within words."""
        library = Library(models.BPE())
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=max(size, SPECIAL + BYTES),
            special_tokens=list(NAMES),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        return library, trainer

    @staticmethod
    def bytes_of(token: str) -> int:
        """Count the characters: each stands for a byte."""
        return len(token)

    @staticmethod
    def begins_word(token: str) -> bool:
        """Return whether a token does more than go on with letters or digits; BPE writes a blank as a letter, too."""
        return not token[0].isalnum() or token[0] == BLANK


class WordPiece(Subwords):
    """WordPiece (Schuster and Nakajima 2012) of lower-case words, as BERT: parts inside a word begin with ##."""

    @staticmethod
    def empty(texts: Sequence[str], size: int) -> tuple[Library, Any]:
        """Merge pairs within lower-case words.

        All letters are numbered in advance: the library numbers those inside of words in the order of a hash table, by
        which it decides between equally frequent pairs.
        """
        library = Library(models.WordPiece(unk_token=NAMES[UNKNOWN]))
        library.normalizer = normalizers.BertNormalizer(lowercase=True)
        library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        library.decoder = decoders.WordPiece()
        letters = sorted({letter for text in texts for letter in library.normalizer.normalize_str(text)} - {" "})
        known = [*NAMES, *letters, *(f"{INSIDE}{letter}" for letter in letters)]
        trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=known, show_progress=False)
        return library, trainer

    @staticmethod
    def bytes_of(token: str) -> int:
        """Count the bytes, and a blank before a word."""
        return len(token.removeprefix(INSIDE).encode()) + (not token.startswith(INSIDE))

    @staticmethod
    def begins_word(token: str) -> bool:
        """Return whether a token is no part inside of a word."""
        return not token.startswith(INSIDE)
