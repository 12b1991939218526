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
"""Deviation of initial word embeddings: with torch's default, 1, those of rare words stay close to random."""


class Norm(nn.GroupNorm):
    """Group normalisation (Wu and He 2018) in float32: in bfloat16 its CPU kernel takes longer than the convolutions.

    It normalises groups of channels, not the batch, so that a sample's output depends on that sample alone.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        if maps.dtype == torch.float32:
            return super().forward(maps)
        with torch.autocast(maps.device.type, enabled=False):
            return super().forward(maps.float())


class StochasticDepth(nn.Module):
    """Leaves out what a part of a network adds, for a share of the samples while training (Huang et al. 2016)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, added: Tensor) -> Tensor:
        """Return (B, ...) with zeros for some samples, and the others larger by as much."""
        if not self.training or not self.share:
            return added
        kept = torch.rand(len(added), *(1 for _ in added.shape[1:]), device=added.device) >= self.share
        return added * (kept / (1 - self.share)).to(added.dtype)


def word_embedding(vocabulary: int, width: int) -> nn.Embedding:
    """Build an embedding of word numbers; number 0 is padding and its vector stays zero."""
    embedding = nn.Embedding(vocabulary, width, padding_idx=0)
    with torch.no_grad():
        embedding.weight.normal_(std=WORD_DEVIATION)
        embedding.weight[0].zero_()
    return embedding
