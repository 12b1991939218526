"""Blocks with a shortcut, of a generator that doubles maps and of a discriminator that halves them."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.layers import Norm

GROUPS = 8


class Up(nn.Module):
    """Two normalised convolutions behind their activations, with a shortcut (Miyato et al. 2018)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Norm(math.gcd(GROUPS, before), before),
            nn.ReLU(),
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            Norm(math.gcd(GROUPS, after), after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, after, height, width) of maps that are doubled already."""
        result: Tensor = self.body(maps) + self.shortcut(maps)
        return result


class Down(nn.Module):
    """Two convolutions behind their activations, with a shortcut, and the means of 2 x 2 pixels.

    Args:
        before: channels that it is given.
        after: channels that it returns.
        normed: wraps each convolution.
        halves: whether it returns the means.

    """

    def __init__(self, before: int, after: int, normed: Callable[[Any], nn.Module], halves: bool = True) -> None:
        super().__init__()
        self.first = normed(nn.Conv2d(before, after, 3, padding=1))
        self.second = normed(nn.Conv2d(after, after, 3, padding=1))
        self.shortcut = nn.Identity() if before == after else normed(nn.Conv2d(before, after, 1))
        self.halves = halves

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, after, height, width), or half of both, rounded up."""
        body = self.second(functional.relu(self.first(functional.relu(maps))))
        result: Tensor = body + self.shortcut(maps)
        return functional.avg_pool2d(result, 2, ceil_mode=True) if self.halves else result
