"""A transformer decoder: it learns what follows each token of a text, and writes texts token by token."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.attention import DEVIATION, Block, Cache, looked_at, rotary_turns, start_small
from stoker.architectures.texts.memory import next_tokens
from stoker.datasets.tokens.tokenizer import END
from stoker.job.architecture.transformer import Transformer as TransformerSettings
from stoker.job.signature import ContinuationOutput, Signature

INNER = 4
"""Width inside the feed-forward layers, as a multiple of the width."""


@dataclass
class Memory:
    """What a decoder has read."""

    caches: list[Cache]
    tokens: Tensor
    """(B, length) since the caches are empty."""

    def choose(self, rows: Tensor) -> None:
        """Replace row i by row `rows[i]`."""
        self.tokens = self.tokens.index_select(0, rows)
        for cache in self.caches:
            cache.choose(rows)


class Decoder(nn.Module):
    """Token embeddings, blocks of causal attention, and the embeddings again as the output layer (GPT-2).

    A token sees itself and those before it in its own text: what follows from a text does not depend on others in the
    same sample.
    """

    def __init__(self, settings: TransformerSettings, signature: Signature) -> None:
        super().__init__()
        self.name, shape = next(iter(signature.texts.items()))
        assert isinstance(signature.output, ContinuationOutput)
        self.borders, self.length = signature.output.borders, shape.length
        self.embedding = nn.Embedding(shape.vocabulary, settings.width)
        nn.init.normal_(self.embedding.weight, std=DEVIATION)
        learned = settings.positions == "learned"
        self.places = nn.Parameter(torch.empty(shape.length, settings.width)) if learned else None
        if self.places is not None:
            nn.init.normal_(self.places, std=DEVIATION)
        self.size_of_head = settings.width // settings.heads
        self.key_heads = settings.key_heads or settings.heads
        self.dropout = nn.Dropout(settings.dropout)
        self.word_dropout = settings.word_dropout or 0.0
        inner = settings.feedforward or INNER * settings.width
        self.blocks = nn.ModuleList(
            Block(settings.width, settings.heads, self.key_heads, inner, settings.dropout)
            for _ in range(settings.layers)
        )
        start_small(self.blocks)
        self.norm = nn.LayerNorm(settings.width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, length, vocabulary) logits of what follows each token, from (B, length) token numbers."""
        tokens = inputs[self.name]
        seen = _own_text(tokens) if self.borders else None
        return self._logits(tokens, 0, seen, causal=seen is None)

    def attend(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, heads, length, length) how much the last block takes of each token before, for each token."""
        return looked_at(self, inputs, self.blocks[-1].attention)

    def begin(self, rows: int) -> Memory:
        """Return the memory of so many rows that have read nothing."""
        weight = self.embedding.weight
        caches = [Cache(rows, self.key_heads, self.length, self.size_of_head, weight) for _ in self.blocks]
        return Memory(caches, torch.zeros(rows, 0, dtype=torch.int64, device=weight.device))

    def read(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read further tokens of one text, (B, n).

        Where the memory is full, a new one begins, as for `next_tokens`.

        Returns:
            (B, n or fewer, vocabulary) logits of what follows each token, the last one always; and the memory.

        """
        tokens, again = next_tokens(memory.tokens, tokens, self.length)
        memory = self.begin(len(tokens)) if again else memory
        together = torch.cat([memory.tokens, tokens], dim=1)
        begin, count = memory.tokens.shape[1], tokens.shape[1]
        seen = None
        if begin and count > 1:
            places = torch.arange(begin + count, device=tokens.device)
            seen = places <= places[begin:].unsqueeze(1)
        logits = self._logits(tokens, begin, seen, causal=not begin and count > 1, caches=memory.caches)
        return logits, Memory(memory.caches, together)

    def _logits(
        self, tokens: Tensor, begin: int, seen: Tensor | None, causal: bool, caches: list[Cache] | None = None
    ) -> Tensor:
        states = self.embedding(tokens)
        places = torch.arange(begin, begin + tokens.shape[1], device=tokens.device)
        turns = None
        if self.training and self.word_dropout:
            kept = torch.rand(tokens.shape, device=tokens.device) >= self.word_dropout
            states = states * kept.unsqueeze(2)
        if self.places is not None:
            states = states + self.places[begin : begin + tokens.shape[1]]
        else:
            turns = rotary_turns(places, self.size_of_head)
        states = self.dropout(states)
        for number, block in enumerate(self.blocks):
            states = block(states, seen, turns, causal, caches[number] if caches else None)
        return functional.linear(self.norm(states), self.embedding.weight)


def _own_text(tokens: Tensor) -> Tensor:
    """Return (B, 1, length, length) whether a token sees another: one before it, and of the same text.

    The end of a text is at the same time the beginning of the next one.
    """
    text = (tokens == END).cumsum(dim=1)
    same = text.unsqueeze(2) == text.unsqueeze(1)
    return same.tril().unsqueeze(1)
