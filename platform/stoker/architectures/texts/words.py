"""The first layer of a network for texts or sentences: a vector for each token or word."""

import torch
from torch import Tensor, nn

from stoker.architectures.layers import word_embedding
from stoker.datasets.tokens.tokenizer import PADDING, UNKNOWN
from stoker.job.signature import (
    REPEATED,
    BlanksOutput,
    PairInput,
    Signature,
    SpanOutput,
    TextInput,
    WordsInput,
    WordTagsOutput,
)

WORD_DROPOUT = 0.5
"""Default share of unknown words where each word is tagged: characters must do without the word."""
CHARACTER_WIDTH = 32
"""Numbers that stand for a character."""
KERNEL = 3
"""Characters that a feature sees at a time."""


class Words(nn.Module):
    """Embeddings of words in one half of the width, features of their characters in the other.

    The strongest answers of a convolution over the characters of a word recognise names that training has not seen, by
    capitals, digits and endings (Ma and Hovy 2016).
    """

    def __init__(self, shape: WordsInput, width: int) -> None:
        super().__init__()
        self.words = word_embedding(shape.vocabulary, width - width // 2)
        self.characters = nn.Embedding(shape.alphabet, CHARACTER_WIDTH, padding_idx=PADDING)  # none of them is rare
        self.convolution = nn.Conv1d(CHARACTER_WIDTH, width // 2, KERNEL, padding=KERNEL // 2)

    def forward(self, words: Tensor) -> Tensor:
        """Return (..., width) from (..., 1 + characters) numbers of words and their characters."""
        characters = words[..., 1:].flatten(0, -2)
        features = self.convolution(self.characters(characters).transpose(1, 2)).relu()
        strongest = (features * (characters != PADDING).unsqueeze(1)).amax(dim=2)
        return torch.cat(
            [self.words(words[..., 0]), strongest.view(*words.shape[:-1], self.convolution.out_channels)], dim=-1
        )


class Pair(nn.Module):
    """Embeddings of the tokens of a question and its text, and of what they are part of.

    A token of the text that the question has, too, is a part of its own: a network without pretraining finds the place
    of an answer by such words (Chen et al. 2017).
    """

    def __init__(self, shape: PairInput, width: int) -> None:
        super().__init__()
        self.words = word_embedding(shape.vocabulary, width)
        self.segments = word_embedding(REPEATED + 1, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (..., width) from (..., 4) numbers of tokens, of segments, and places in the text."""
        vectors: Tensor = self.words(tokens[..., 0]) + self.segments(tokens[..., 1])
        return vectors


def says_of_each(signature: Signature) -> bool:
    """Return whether the output has something for each token or word."""
    return isinstance(signature.output, (WordTagsOutput, SpanOutput, BlanksOutput))


def token_vectors(signature: Signature, width: int) -> tuple[str, nn.Module, TextInput | WordsInput | PairInput]:
    """Return the name of the only text, sentence or pair, a layer that makes vectors of its tokens, and its shape."""
    for name, pair in signature.pairs.items():
        return name, Pair(pair, width), pair
    for name, text in signature.texts.items():
        return name, word_embedding(text.vocabulary, width), text
    name, sentence = next(iter(signature.sentences.items()))
    return name, Words(sentence, width), sentence


def word_numbers(tokens: Tensor) -> Tensor:
    """Return (B, length) numbers of tokens or words, without what a sentence or a pair has behind each."""
    return tokens if tokens.ndim == 2 else tokens[..., 0]


def default_word_dropout(share: float | None, signature: Signature) -> float:
    """Return the share of words to leave out; for None the default, which is none but to tag words."""
    tagging = WORD_DROPOUT if isinstance(signature.output, WordTagsOutput) else 0.0
    return tagging if share is None else share


def with_unknown(tokens: Tensor, share: float) -> Tensor:
    """Replace a share of the words by the unknown one, at random; what is behind them stays."""
    words = word_numbers(tokens)
    chosen = (torch.rand(words.shape, device=words.device) < share) & (words != PADDING)
    replaced = words.masked_fill(chosen, UNKNOWN)
    return replaced if tokens.ndim == 2 else torch.cat([replaced.unsqueeze(2), tokens[..., 1:]], dim=2)
