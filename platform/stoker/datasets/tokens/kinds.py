"""Tokenizers by the name in the job, and those of pretrained models."""

from typing import Literal

from stoker.datasets.tokens.characters import Bytes, Characters
from stoker.datasets.tokens.pretrained import PretrainedTokenizer
from stoker.datasets.tokens.subwords import Bpe, WordPiece
from stoker.datasets.tokens.tokenizer import FittedTokenizer, Tokenizer
from stoker.datasets.tokens.words import Words
from stoker.job.dataset import Tokens

TokenizerKind = Tokens | Literal["pretrained"]
FITTED: dict[Tokens, type[FittedTokenizer]] = {
    "words": Words,
    "characters": Characters,
    "bytes": Bytes,
    "bpe": Bpe,
    "wordpiece": WordPiece,
}


def tokenizer_class(kind: TokenizerKind) -> type[Tokenizer]:
    """Return the tokenizer that reads the files of a kind."""
    return PretrainedTokenizer if kind == "pretrained" else FITTED[kind]
