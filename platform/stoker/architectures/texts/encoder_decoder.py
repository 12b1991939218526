"""A transformer with encoder and decoder (Vaswani et al. 2017): it reads a text and writes another one."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stoker.architectures.attention import Block
from stoker.architectures.texts.cross_attention import first_place
from stoker.architectures.texts.decoder import INNER
from stoker.architectures.texts.writer import Memory, Writer, start_blocks
from stoker.job.architecture.transformer import Transformer as TransformerSettings
from stoker.job.signature import Signature, TextOutput


class EncoderDecoder(Writer):
    """Blocks of attention to all of a text, and what writes another one.

    Source, written tokens and output layer share one embedding. Padding is not attended to, so that a sample's output
    depends on that sample alone.
    """

    def __init__(self, settings: TransformerSettings, signature: Signature) -> None:
        assert isinstance(signature.output, TextOutput)
        super().__init__(settings, signature.output)
        self.name, shape = next(iter(signature.texts.items()))
        learned = settings.positions == "learned"
        self.source_places = nn.Parameter(torch.zeros(shape.length, settings.width)) if learned else None
        inner = settings.feedforward or INNER * settings.width
        sizes = (settings.width, settings.heads, self.key_heads, inner, settings.dropout)
        self.encoder = nn.ModuleList(Block(*sizes) for _ in range(settings.layers))
        start_blocks(self.encoder)
        self.norm_source = nn.LayerNorm(settings.width)

    def _read(self, inputs: Mapping[str, Tensor]) -> Memory:
        tokens = inputs[self.name]
        there = first_place(tokens != 0)[:, None, None, :]
        states, turns = self._embedded(tokens, 0, self.source_places)
        for block in self.encoder:
            states = block(states, there, turns)
        number = torch.arange(len(tokens), device=tokens.device)
        return Memory(self.norm_source(states), there, number, [])
