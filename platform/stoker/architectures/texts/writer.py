"""The half of a network that writes a text: blocks of attention to what is written, and to what was read."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.attention import Cache, looked_at, rotary_turns
from stoker.architectures.texts.cross_attention import CrossBlock, CrossCache
from stoker.architectures.texts.decoder import INNER
from stoker.job.architecture.transformer import Transformer as TransformerSettings
from stoker.job.signature import WRITTEN, TextOutput


@dataclass
class Memory:
    """What a network has read and written."""

    source: Tensor
    """(B, source length, width) states of what is read."""
    there: Tensor
    """(B, 1, 1, source length) whether a place holds something."""
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


class Writer(nn.Module, ABC):
    """Writes a text token by token; what it reads first is a matter of its subclasses.

    Args:
        settings: of the blocks, and of the search for texts.
        output: of the texts.

    """

    def __init__(self, settings: TransformerSettings, output: TextOutput) -> None:
        super().__init__()
        self.longest = output.longest
        self.beam, self.length_penalty, self.no_repeat = settings.beam, settings.length_penalty, settings.no_repeat
        self.key_heads = settings.key_heads or settings.heads
        self.size_of_head = settings.width // settings.heads
        self.embedding = nn.Embedding(output.vocabulary, settings.width)
        nn.init.normal_(self.embedding.weight, std=settings.width**-0.5)
        learned = settings.positions == "learned"
        self.written_places = nn.Parameter(torch.zeros(output.length, settings.width)) if learned else None
        self.dropout = nn.Dropout(settings.dropout)
        self.word_dropout = settings.word_dropout
        inner = settings.feedforward or INNER * settings.width
        sizes = (settings.width, settings.heads, self.key_heads, inner, settings.dropout)
        self.decoder = nn.ModuleList(CrossBlock(*sizes) for _ in range(settings.layers))
        start_blocks(self.decoder)
        self.norm = nn.LayerNorm(settings.width)

    @abstractmethod
    def _read(self, inputs: Mapping[str, Tensor]) -> Memory:
        """Read inputs; nothing is written yet. Not `begin`: divided weights are put away behind a method."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, n, vocabulary) logits of what follows each of the (B, n) tokens that are written."""
        return self._logits(inputs[WRITTEN], self._read(inputs), None)

    def begin(self, inputs: Mapping[str, Tensor]) -> Memory:
        """Read inputs; nothing is written yet."""
        return self._read(inputs)

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
        """Return (B, n, source length) how much the last block takes of each place, as a mean over its heads."""
        return looked_at(self, inputs, self.decoder[-1].source).mean(dim=1)

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


def start_blocks(blocks: nn.ModuleList) -> None:
    """Initialise the weights of blocks (Glorot and Bengio 2010): with smaller ones the source is found out late."""
    for name, parameter in blocks.named_parameters():
        if parameter.ndim == 2:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
