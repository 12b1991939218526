"""Layers that several families share."""

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

WORD_DEVIATION = 0.1
"""Of new word embeddings: with torch's own, 1, a rare word never leaves the place that chance gave it."""


class Norm(nn.GroupNorm):
    """Group normalisation (Wu and He 2018) in float32: in bfloat16 its CPU kernel takes longer than the convolutions.

    It goes over groups of channels rather than over the batch, so that a sample's output depends on that sample alone.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        if maps.dtype == torch.float32:
            return super().forward(maps)
        with torch.autocast(maps.device.type, enabled=False):
            return super().forward(maps.float())


def word_embedding(vocabulary: int, width: int) -> nn.Embedding:
    """Make an embedding of word numbers; number 0 is padding and stays 0."""
    embedding = nn.Embedding(vocabulary, width, padding_idx=0)
    with torch.no_grad():
        embedding.weight.normal_(std=WORD_DEVIATION)
        embedding.weight[0].zero_()
    return embedding
