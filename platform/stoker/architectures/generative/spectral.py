"""Spectral normalisation, updated once per step: the same for any number of workers and micro-batches."""

import torch
from torch import Tensor, nn
from torch.nn import functional

WARM_UP = 10
"""Power iterations on the initial weights."""


class SpectralNorm(nn.Module):
    """A layer whose weight is divided by an estimate of its largest singular value (Miyato et al. 2018).

    torch's own updates the estimate at every forward pass, whose number depends on the micro-batches.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear | nn.Embedding) -> None:
        super().__init__()
        self.layer = layer
        rows = layer.weight.shape[0]
        columns = layer.weight[0].numel()
        self.u: Tensor
        self.v: Tensor
        self.register_buffer("u", functional.normalize(torch.randn(rows), dim=0))
        self.register_buffer("v", functional.normalize(torch.randn(columns), dim=0))
        for _ in range(WARM_UP):
            self.advance()

    @torch.no_grad()
    def advance(self) -> None:
        """Run one power iteration."""
        matrix = self.layer.weight.flatten(1)
        functional.normalize(matrix.T @ self.u, dim=0, out=self.v)
        functional.normalize(matrix @ self.v, dim=0, out=self.u)

    def forward(self, given: Tensor) -> Tensor:
        """Return the layer's output with the normalised weight."""
        weight = self.layer.weight
        with torch.autocast(weight.device.type, enabled=False):  # else the product is in bfloat16, and u is not
            scaled = weight / torch.dot(self.u, weight.flatten(1) @ self.v)
        match self.layer:
            case nn.Conv2d() as layer:
                return functional.conv2d(given, scaled, layer.bias, layer.stride, layer.padding)
            case nn.Linear() as layer:
                return functional.linear(given, scaled, layer.bias)
            case _:
                return functional.embedding(given, scaled)
