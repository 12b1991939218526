"""The tokenizer of a pretrained model: its file tokenizer.json, read by the library `tokenizers`."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer as Library

from stoker.datasets.tokens.tokenizer import END, MASK, SPECIAL, Tokenizer, without_blanks

PROBE = "a"
"""A text, to see what stands around it."""
MASKS = ("[MASK]", "<mask>")
"""Names of the token of a hidden word, of BERT and RoBERTa and of the models that follow them."""
BEFORE_WORDS = ("\u0120", "\u2581")
"""How a blank before a word is written: over bytes as GPT-2, and as SentencePiece."""


class PretrainedTokenizer(Tokenizer):
    """A vocabulary that comes with a model; its numbers are moved behind the special ones of all tokenizers."""

    unit = "tokens"

    def __init__(self, library: Library) -> None:
        library.no_truncation()  # a file may have kept the lengths of another use
        library.no_padding()
        self._library = library

    @property
    def size(self) -> int:
        """Return the size of the vocabulary with the special tokens of all kinds."""
        largest = max(self._library.get_vocab().values(), default=-1)  # numbers may have gaps
        return int(largest) + 1 + SPECIAL

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the number of each token."""
        encoded = self._library.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(each.ids, np.int64) + SPECIAL for each in encoded]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the place of each token, of all characters of which it has bytes."""
        encoded = self._library.encode_batch(list(texts), add_special_tokens=False)
        return [without_blanks(text, each.offsets) for text, each in zip(texts, encoded, strict=True)]

    @cached_property
    def around(self) -> tuple[Sequence[int], Sequence[int]]:
        """Return the tokens that the model was trained with before and behind a text, such as [CLS] and [SEP]."""
        encoded = self._library.encode(PROBE, add_special_tokens=True)
        own = [place for place, added in enumerate(encoded.special_tokens_mask) if not added]
        first, last = (own[0], own[-1]) if own else (len(encoded.ids), len(encoded.ids))
        numbers = [number + SPECIAL for number in encoded.ids]
        return numbers[:first], numbers[last + 1 :]

    @cached_property
    def around_pair(self) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """Return what the model was trained with around two texts, such as [CLS], [SEP] and [SEP].

        A file without a rule for pairs has the tokens of a single text around the first one, and their end again.
        """
        encoded = self._library.encode(PROBE, PROBE, add_special_tokens=True)
        texts = encoded.sequence_ids  # None for a token that is in neither
        numbers = [number + SPECIAL for number in encoded.ids]
        own = [place for place, text in enumerate(texts) if text is not None]
        if len(own) < len(texts) and 0 in texts and 1 in texts:
            end_of_first, second = len(texts) - texts[::-1].index(0), texts.index(1)
            if second > end_of_first:
                return numbers[: own[0]] or [END], numbers[end_of_first:second], numbers[own[-1] + 1 :]
        before, behind = self.around
        return before or [END], behind or [END], behind

    @cached_property
    def mask(self) -> int:
        """Return the number of the model's own token of a hidden word; MASK if it has none."""
        numbers = (self._library.token_to_id(name) for name in MASKS)
        return next((number + SPECIAL for number in numbers if number is not None), MASK)

    def begins_words(self) -> np.ndarray:
        """Return whether each token is written as the beginning of a word, which no letter joins to the one before."""
        inside = json.loads(self._library.to_str())["model"].get("continuing_subword_prefix")
        begins = np.ones(self.size, bool)
        for token, number in self._library.get_vocab().items():
            if inside:
                begins[SPECIAL + number] = not token.startswith(inside)
            else:
                begins[SPECIAL + number] = token.startswith(BEFORE_WORDS) or not token[:1].isalnum()
        return begins

    def decode(self, numbers: Sequence[int]) -> str:
        """Join the tokens, without the model's special ones."""
        text: str = self._library.decode([n - SPECIAL for n in numbers if n >= SPECIAL])
        return text

    def token_bytes(self) -> np.ndarray:
        """Count the bytes that each token stands for, by the way in which the file joins tokens."""
        content = json.loads(self._library.to_str())
        special = {each["id"] for each in content["added_tokens"] if each["special"]}
        by_bytes, by_hashes = (name in _names(content["decoder"]) for name in ("ByteLevel", "WordPiece"))
        counts = np.zeros(self.size, np.int64)
        for token, number in self._library.get_vocab().items():
            if number in special:
                continue
            if by_bytes:
                counts[SPECIAL + number] = len(token)  # each character stands for a byte
            elif by_hashes:
                counts[SPECIAL + number] = len(token.removeprefix("##").encode()) + (not token.startswith("##"))
            else:
                counts[SPECIAL + number] = 1 if _is_byte(token) else len(token.replace("▁", " ").encode())
        return counts

    def asset(self) -> str:
        """Return the file tokenizer.json."""
        content: str = self._library.to_str()
        return content

    @classmethod
    def from_asset(cls, content: str) -> Self:
        """Read tokenizer.json.

        Raises:
            ValueError: it is broken, or not of this library.

        """
        try:
            return cls(Library.from_str(content))
        except Exception as error:  # the library raises no other class
            cure = "write it again by AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)"
            raise ValueError(f"the model's tokenizer.json cannot be read: {error}; {cure}") from error


def _names(decoder: dict[str, Any] | None) -> set[str]:
    """Return the types of a decoder and of those that it consists of."""
    if not decoder:
        return set()
    return {decoder["type"]}.union(*(_names(each) for each in decoder.get("decoders", ())))


def _is_byte(token: str) -> bool:
    """Return whether a token is a byte that no other token covers, such as <0x0A>."""
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")
