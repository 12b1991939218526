"""A U-Net, which classifies each pixel."""

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.heads import outputs
from stoker.architectures.layers import ACTIVATIONS, Norm
from stoker.errors import Problem
from stoker.job.architecture.unet import Unet as UnetSettings
from stoker.job.signature import Signature

GROUPS = 8
FIRST_CHANNELS = 16
MAX_CHANNELS = 256
MAX_STAGES = 5
MIN_MAP = 8
"""Default stages halve the image down to about this size."""


class Unet(nn.Module):
    """Stages that halve the image, and as many that double it, with skip connections between maps of equal size.

    Images whose sides the stages cannot halve evenly are padded with their border; the output is cropped again.
    """

    def __init__(self, settings: UnetSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.channels is not None
        self.name, shape = next(iter(signature.images.items()))
        widths = settings.channels
        self.multiple = 2 ** (len(widths) - 1)
        self.first = block(shape.channels, widths[0], settings.activation)
        self.down = nn.ModuleList(block(before, after, settings.activation) for before, after in pairwise(widths))
        self.dropout = nn.Dropout2d(settings.dropout) if settings.dropout else nn.Identity()
        self.narrow = nn.ModuleList(nn.Conv2d(after, before, 1) for before, after in reversed(list(pairwise(widths))))
        self.up = nn.ModuleList(
            block(2 * before, before, settings.activation) for before, _ in reversed(list(pairwise(widths)))
        )
        self.output = nn.Conv2d(widths[0], outputs(signature), 1)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, classes, height, width) from an image (B, channels, height, width)."""
        image = inputs[self.name]
        height, width = image.shape[2:]
        pad = (-width % self.multiple, -height % self.multiple)
        maps = self.first(functional.pad(image, (0, pad[0], 0, pad[1]), mode="replicate") if any(pad) else image)
        skips = [maps]
        for stage in self.down:
            maps = stage(functional.max_pool2d(maps, 2))
            skips.append(maps)
        maps = self.dropout(skips.pop())
        for narrow, stage in zip(self.narrow, self.up, strict=True):
            upsampled = functional.interpolate(narrow(maps), scale_factor=2.0, mode="nearest")
            maps = stage(torch.cat([skips.pop(), upsampled], dim=1))
        result: Tensor = self.output(maps)
        return result[..., :height, :width]


def block(before: int, after: int, activation: str) -> nn.Sequential:
    """Build two convolutions, each with group normalisation and activation."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        Norm(math.gcd(GROUPS, after), after),
        ACTIVATIONS[activation](),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        Norm(math.gcd(GROUPS, after), after),
        ACTIVATIONS[activation](),
    )


def build(settings: UnetSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Unet(settings, signature)


def with_default_sizes(settings: UnetSettings, signature: Signature, samples: int) -> UnetSettings:
    """Choose stages that halve the image to about 8 pixels, at most four times, unless the job sets them."""
    if settings.channels is not None:
        return settings
    side = min(signature.image.height, signature.image.width)
    stages = 1 + max(1, min(MAX_STAGES - 1, int(math.log2(max(side / MIN_MAP, 1)))))
    channels = tuple(min(FIRST_CHANNELS * 2**stage, MAX_CHANNELS) for stage in range(stages))
    return settings.model_copy(update={"channels": channels})


def misfits(settings: UnetSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the size of the images."""
    side = min(signature.image.height, signature.image.width)
    if settings.channels and 2 ** (len(settings.channels) - 1) > side:
        most = int(math.log2(side)) + 1
        message = f"{len(settings.channels)} stages halve images of {side} pixels to nothing; use at most {most}"
        return [Problem("architecture.channels", message)]
    return []
