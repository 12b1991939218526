"""Tokenizers by the name in the job."""

from stoker.datasets.tokens.characters import Bytes, Characters
from stoker.datasets.tokens.subwords import Bpe, WordPiece
from stoker.datasets.tokens.tokenizer import Tokenizer
from stoker.datasets.tokens.words import Words
from stoker.job.dataset import Tokens

TOKENIZERS: dict[Tokens, type[Tokenizer]] = {
    "words": Words,
    "characters": Characters,
    "bytes": Bytes,
    "bpe": Bpe,
    "wordpiece": WordPiece,
}
