"""A transformer with encoder and decoder (Vaswani et al. 2017): it reads a text and writes another one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.attention import Block, Cache, looked_at, rotary_turns
from stoker.architectures.texts.cross_attention import CrossBlock, CrossCache, first_place
from stoker.architectures.texts.decoder import INNER
from stoker.job.architecture.transformer import Transformer as TransformerSettings
from stoker.job.signature import WRITTEN, Signature, TextOutput


@dataclass
class Memory:
    """What an encoder-decoder has read and written."""

    source: Tensor
    """(B, source length, width) states of the encoder."""
    there: Tensor
    """(B, 1, 1, source length) whether a place holds a token."""
    number: Tensor
    """(B,) the number of each row's source."""
    caches: list[CrossCache]
    length: int = 0
    """Tokens written."""

    def choose(self, rows: Tensor) -> None:
        """Replace row i by row `rows[i]`."""
        number = self.number.index_select(0, rows)
        same_sources = torch.equal(number, self.number)
        for cache in self.caches:
            cache.choose(rows, same_sources)
        if not same_sources:
            self.source, self.there = self.source.index_select(0, rows), self.there.index_select(0, rows)
        self.number = number


class EncoderDecoder(nn.Module):
    """Blocks of attention to all of a text, blocks of attention to what is written and to that text.

    Source, written tokens and output layer share one embedding. Padding is not attended to, so that a sample's output
    depends on that sample alone.
    """

    def __init__(self, settings: TransformerSettings, signature: Signature) -> None:
        super().__init__()
        self.name, shape = next(iter(signature.texts.items()))
        assert isinstance(signature.output, TextOutput)
        self.longest = signature.output.longest
        self.beam, self.length_penalty, self.no_repeat = settings.beam, settings.length_penalty, settings.no_repeat
        width, self.key_heads = settings.width, settings.key_heads or settings.heads
        self.size_of_head = width // settings.heads
        self.embedding = nn.Embedding(shape.vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        learned = settings.positions == "learned"
        self.source_places = nn.Parameter(torch.zeros(shape.length, width)) if learned else None
        self.written_places = nn.Parameter(torch.zeros(signature.output.length, width)) if learned else None
        self.dropout = nn.Dropout(settings.dropout)
        self.word_dropout = settings.word_dropout
        sizes = (width, settings.heads, self.key_heads, settings.feedforward or INNER * width, settings.dropout)
        self.encoder = nn.ModuleList(Block(*sizes) for _ in range(settings.layers))
        self.decoder = nn.ModuleList(CrossBlock(*sizes) for _ in range(settings.layers))
        _start(self.encoder)
        _start(self.decoder)
        self.norm_source = nn.LayerNorm(width)
        self.norm = nn.LayerNorm(width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, n, vocabulary) logits of what follows each of the (B, n) tokens that are written."""
        return self._logits(inputs[WRITTEN], self._read(inputs[self.name]), None)

    def begin(self, inputs: Mapping[str, Tensor]) -> Memory:
        """Read (B, source length) tokens; nothing is written yet."""
        return self._read(inputs[self.name])

    def write(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Write (B,) tokens; return (B, vocabulary) logits of what follows them, and the memory behind them."""
        if not memory.caches:
            like = memory.source
            made = (Cache(len(tokens), self.key_heads, self.longest, self.size_of_head, like) for _ in self.decoder)
            memory.caches = [CrossCache(cache) for cache in made]
        logits = self._logits(tokens.unsqueeze(1), memory, memory.caches)
        memory.length += 1
        return logits.squeeze(1), memory

    def align(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, n, source length) how much the last block takes of each source token, as a mean over its heads."""
        return looked_at(self, inputs, self.decoder[-1].source).mean(dim=1)

    def _read(self, tokens: Tensor) -> Memory:  # not `begin`: weights that are divided are put away behind a method
        there = first_place(tokens != 0)[:, None, None, :]
        states, turns = self._embedded(tokens, 0, self.source_places)
        for block in self.encoder:
            states = block(states, there, turns)
        number = torch.arange(len(tokens), device=tokens.device)
        return Memory(self.norm_source(states), there, number, [])

    def _logits(self, tokens: Tensor, memory: Memory, caches: list[CrossCache] | None) -> Tensor:
        states, turns = self._embedded(tokens, memory.length, self.written_places)
        for number, block in enumerate(self.decoder):
            states = block(states, memory.source, memory.there, turns, caches[number] if caches else None)
        return functional.linear(self.norm(states), self.embedding.weight)

    def _embedded(
        self, tokens: Tensor, begin: int, places: nn.Parameter | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Return the states of tokens from a place on, and what their queries and keys are turned by."""
        width = self.embedding.embedding_dim
        states, end = self.embedding(tokens) * width**0.5, begin + tokens.shape[1]
        if self.training and self.word_dropout:
            kept = torch.rand(tokens.shape, device=tokens.device) >= self.word_dropout
            states = states * kept.unsqueeze(2)
        if places is not None:
            return self.dropout(states + places[begin:end]), None
        return self.dropout(states), rotary_turns(torch.arange(begin, end, device=tokens.device), self.size_of_head)


def _start(blocks: nn.ModuleList) -> None:
    """Initialise the weights of blocks (Glorot and Bengio 2010): with smaller ones the source is found out late."""
    for name, parameter in blocks.named_parameters():
        if parameter.ndim == 2:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
