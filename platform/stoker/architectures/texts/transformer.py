"""Transformers for texts: an encoder that reads a text at once, a decoder that continues it, or both."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stoker.architectures.attention import Block, looked_at, rotary_turns, start_small
from stoker.architectures.heads import outputs
from stoker.architectures.inputs import only_one
from stoker.architectures.search_settings import search_misfits, with_search
from stoker.architectures.texts.decoder import INNER, Decoder
from stoker.architectures.texts.encoder_decoder import EncoderDecoder
from stoker.architectures.texts.words import (
    default_word_dropout,
    says_of_each,
    token_vectors,
    with_unknown,
    word_numbers,
)
from stoker.errors import Problem
from stoker.job.architecture.transformer import Transformer as TransformerSettings
from stoker.job.signature import CHOSEN, ContinuationOutput, Signature, TextOutput


class Encoder(nn.Module):
    """Word embeddings, blocks of attention, the mean over the text unless each word is tagged, and a linear layer.

    Padding is not attended to and not averaged, so that a sample's output depends on that sample alone.
    """

    def __init__(self, settings: TransformerSettings, signature: Signature) -> None:
        super().__init__()
        self.name, self.embedding, shape = token_vectors(signature, settings.width)
        self.each_word = says_of_each(signature)
        learned = settings.positions == "learned"
        self.places = nn.Parameter(torch.zeros(shape.length, settings.width)) if learned else None
        self.size_of_head = settings.width // settings.heads
        self.word_dropout = settings.word_dropout or 0.0
        self.dropout = nn.Dropout(settings.dropout)
        inner = settings.feedforward or INNER * settings.width
        self.blocks = nn.ModuleList(
            Block(
                settings.width,
                settings.heads,
                settings.key_heads or settings.heads,
                inner,
                settings.dropout,
            )
            for _ in range(settings.layers)
        )
        start_small(self.blocks)
        self.norm = nn.LayerNorm(settings.width)
        self.output = nn.Linear(settings.width, outputs(signature))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs), or (B, length, outputs) for each word, from word numbers padded with 0.

        A text is (B, length), a sentence (B, length, 1 + characters), a question with its text (B, length, 4).
        """
        tokens = inputs[self.name]
        words = word_numbers(tokens)
        there = words != 0
        if self.training and self.word_dropout and self.each_word:
            tokens = with_unknown(tokens, self.word_dropout)
        elif self.training and self.word_dropout:
            there = there & (torch.rand(words.shape, device=words.device) >= self.word_dropout)
        states = self.embedding(tokens)
        places = torch.arange(words.shape[1], device=words.device)
        if self.places is not None:
            states, turns = states + self.places[: words.shape[1]], None
        else:
            turns = rotary_turns(places, self.size_of_head)
        states = self.dropout(states)
        there = there | ((places == 0) & ~there.any(dim=1, keepdim=True))  # attention to nothing is not a number
        seen = there[:, None, None, :]
        for block in self.blocks:
            states = block(states, seen, turns)
        if self.each_word:
            states = states[inputs[CHOSEN]] if CHOSEN in inputs else states
            tagged: Tensor = self.output(self.dropout(self.norm(states)))
            return tagged
        weights = there.unsqueeze(2).to(states.dtype)
        features = (self.norm(states) * weights).sum(dim=1) / weights.sum(dim=1)
        result: Tensor = self.output(self.dropout(features))
        return result

    def attend(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, heads, length, length) how much the last block takes of each token for each token."""
        return looked_at(self, inputs, self.blocks[-1].attention)


def build(settings: TransformerSettings, signature: Signature) -> nn.Module:
    """Build an encoder and decoder to write a text from another, a decoder to continue texts, an encoder otherwise."""
    if isinstance(signature.output, TextOutput):
        return EncoderDecoder(settings, signature)
    kind = Decoder if isinstance(signature.output, ContinuationOutput) else Encoder
    return kind(settings, signature)


def with_default_sizes(settings: TransformerSettings, signature: Signature, samples: int) -> TransformerSettings:
    """Leave out words where each is tagged, and fill in how texts are searched for."""
    word_dropout = default_word_dropout(settings.word_dropout, signature)
    return with_search(settings, signature).model_copy(update={"word_dropout": word_dropout})


def misfits(settings: TransformerSettings, signature: Signature) -> list[Problem]:
    """Return a problem for other samples than texts, and for heads that do not divide the width."""
    problems = [*only_one("text", settings.family, signature), *search_misfits(settings, signature)]
    if settings.width % settings.heads:
        nearest = settings.width - settings.width % settings.heads or settings.heads
        message = f"{settings.width} cannot be divided by {settings.heads} heads; use {nearest}"
        problems.append(Problem("architecture.width", message))
    key_heads = settings.key_heads or settings.heads
    if settings.heads % key_heads:
        message = f"{key_heads} does not divide {settings.heads} heads; use 1 or {settings.heads}"
        problems.append(Problem("architecture.key_heads", message))
    return problems
