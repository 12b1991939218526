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
