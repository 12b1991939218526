"""Residual stages that make maps of an image, each of half the size of the one before."""

import math
from itertools import pairwise

from torch import Tensor, nn

from stoker.architectures.layers import ACTIVATIONS, Norm

GROUPS = 8
FIRST_STRIDE = 2
"""Of the convolution before the first stage; a stage halves its maps again."""


class ResidualMaps(nn.Module):
    """A convolution and residual stages, which keep the contract of feature_maps.

    A stage halves the maps before its convolutions, unlike one of `cnn`, which would take four times as long: images to
    find objects in are large.

    Args:
        image_channels: of the image.
        channels: of the stages, at least two.
        activation: between the layers.

    """

    def __init__(self, image_channels: int, channels: tuple[int, ...], activation: str) -> None:
        super().__init__()
        first = max(channels[0] // 2, 8)
        self.first = nn.Sequential(
            nn.Conv2d(image_channels, first, 3, stride=FIRST_STRIDE, padding=1, bias=False),
            Norm(math.gcd(GROUPS, first), first),
            ACTIVATIONS[activation](),
        )
        self.stages = nn.ModuleList(Stage(before, after, activation) for before, after in pairwise((first, *channels)))
        self.channels = channels
        self.strides = tuple(FIRST_STRIDE * 2**number for number in range(1, len(channels) + 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of all stages, largest first."""
        maps, found = self.first(images), []
        for stage in self.stages:
            maps = stage(maps)
            found.append(maps)
        return found


class Stage(nn.Module):
    """Two convolutions, of which the first one halves the maps, with a shortcut around them (He et al. 2016)."""

    def __init__(self, before: int, after: int, activation: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
            Norm(math.gcd(GROUPS, after), after),
            ACTIVATIONS[activation](),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            Norm(math.gcd(GROUPS, after), after),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), nn.Conv2d(before, after, 1, bias=False)
        )
        self.activation = ACTIVATIONS[activation]()

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, after, ceil(height / 2), ceil(width / 2))."""
        result: Tensor = self.activation(self.body(maps) + self.shortcut(maps))
        return result
