"""Stems: the first layers of a network, which turn each kind of field into features."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from stoker.architectures.layers import word_embedding
from stoker.errors import Problem
from stoker.job.signature import (
    WRITTEN,
    CategoriesInput,
    ImageInput,
    Input,
    NormalityOutput,
    NumbersInput,
    PairInput,
    PiecesInput,
    Signature,
    TextInput,
    TextOutput,
    WordsInput,
)

TEXT_WIDTH = 64
"""Features of a text among other inputs."""
NO_PLACES = "no family with flat inputs fits a task that says something of each token"


class Flat(nn.Module):
    """Any sample as one vector (B, width): the concatenated features of all its inputs.

    Numbers pass unchanged, each category has an embedding, images are flattened, and a text is the mean of its words'
    embeddings.
    """

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        sizes = [(values, embedding_width(values)) for values in signature.categories]
        self.embeddings = nn.ModuleList(nn.Embedding(values, width) for values, width in sizes)
        self.texts = nn.ModuleList(MeanOfWords(shape.vocabulary) for shape in signature.texts.values())
        self._text_of = {name: place for place, name in enumerate(signature.texts)}  # a column may have any name
        self._inputs = dict(signature.inputs)
        self.width = sum(self._width(shape) for shape in self._inputs.values())

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, width)."""
        rows: list[Tensor] = []
        for name, shape in self._inputs.items():
            rows += self._rows(name, shape, inputs[name])
        return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)

    def _rows(self, name: str, shape: Input, given: Tensor) -> list[Tensor]:
        match shape:
            case NumbersInput():
                return [given]
            case CategoriesInput():
                return [embed(code) for embed, code in zip(self.embeddings, given.unbind(1), strict=True)]
            case ImageInput():
                return [given.flatten(1)]
            case WordsInput() | PairInput() | PiecesInput():
                raise AssertionError(NO_PLACES)
            case TextInput():
                return [self.texts[self._text_of[name]](given)]

    def _width(self, shape: Input) -> int:
        match shape:
            case NumbersInput(width):
                return width
            case CategoriesInput(sizes):
                return sum(embedding_width(values) for values in sizes)
            case ImageInput(channels, height, width):
                return channels * height * width
            case TextInput():
                return TEXT_WIDTH
            case WordsInput() | PairInput() | PiecesInput():
                raise AssertionError(NO_PLACES)


class MeanOfWords(nn.Module):
    """A text as the mean of its words' embeddings, without padding."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = word_embedding(vocabulary, TEXT_WIDTH)

    def forward(self, words: Tensor) -> Tensor:
        """Return (B, TEXT_WIDTH) from (B, length) numbers."""
        count = (words != 0).sum(dim=1, keepdim=True).clamp(min=1)
        mean: Tensor = self.embedding(words).sum(dim=1) / count
        return mean


def only_one(kind: Literal["text", "image"], family: str, signature: Signature) -> list[Problem]:
    """Return a problem unless a sample is exactly one text or sentence, or one image."""
    texts = signature.texts or signature.sentences or signature.pieces or signature.pairs
    found = texts if kind == "text" else signature.images
    if len(found) == len(signature.inputs) == 1:
        return []
    other = "autoencoder" if isinstance(signature.output, NormalityOutput) else "mlp"
    return [Problem("architecture.family", f"{family} takes one {kind} per sample and nothing else; use {other}")]


def embedding_width(values: int) -> int:
    """Return the size of a category's embedding: the rule of thumb of fastai's tabular learner, 1.6 n^0.56."""
    return min(64, max(1, round(1.6 * math.pow(values, 0.56))))


def example_inputs(signature: Signature, samples: int, device: str) -> dict[str, Tensor]:
    """Return a batch of zeros with the shapes of the inputs; a text, a sentence or a pair consists of ones."""
    made: dict[str, Tensor] = {}
    for name, shape in signature.inputs.items():
        match shape:
            case NumbersInput(width):
                made[name] = torch.zeros(samples, width, device=device)
            case CategoriesInput(sizes):
                made[name] = torch.zeros(samples, len(sizes), dtype=torch.int64, device=device)
            case ImageInput(channels, height, width):
                made[name] = torch.zeros(samples, channels, height, width, device=device)
            case TextInput(_, length):
                made[name] = torch.ones(samples, length, dtype=torch.int64, device=device)
            case WordsInput():
                numbers = 1 + shape.characters
                made[name] = torch.ones(samples, shape.length, numbers, dtype=torch.int64, device=device)
            case PiecesInput(_, length):
                numbers_of_words = torch.arange(1, length + 1, device=device)
                made[name] = torch.stack([torch.ones_like(numbers_of_words), numbers_of_words], dim=1).repeat(
                    samples, 1, 1
                )
            case PairInput(_, length):
                made[name] = torch.ones(samples, length, 4, dtype=torch.int64, device=device)
    if isinstance(signature.output, TextOutput):
        made[WRITTEN] = torch.ones(samples, signature.output.longest, dtype=torch.int64, device=device)
    return made
