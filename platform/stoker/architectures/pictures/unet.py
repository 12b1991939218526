"""A U-Net, which classifies each pixel."""

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.heads import outputs
from stoker.architectures.layers import ACTIVATIONS, Norm
from stoker.architectures.pictures.backbones import backbone, hosts
from stoker.architectures.pictures.backbones.backbone import Backbone, OnBackbone, rebuilt
from stoker.architectures.pictures.tiles import in_tiles
from stoker.architectures.pictures.widths import doubling
from stoker.errors import Problem
from stoker.job.architecture.backbone import Backbone as BackboneSettings
from stoker.job.architecture.unet import Unet as UnetSettings
from stoker.job.signature import ImageInput, Signature

GROUPS = 8
FIRST_CHANNELS = 16
MAX_CHANNELS = 256
MAX_STAGES = 5
MIN_MAP = 8
"""Default stages halve the image down to about this size."""


class Unet(OnBackbone):
    """Stages that halve the image, and as many that double it, with skip connections between maps of equal size.

    Images whose sides the stages cannot halve evenly are padded with their border; the output is cropped again.
    """

    def __init__(self, settings: UnetSettings, signature: Signature, weighted: bool = True) -> None:
        super().__init__()
        assert settings.channels is not None
        self.name, shape = next(iter(signature.images.items()))
        self.tile, self.coordinates = shape.tile, settings.coordinates
        widths, skips = settings.channels, [*settings.channels]
        stage = Residual if settings.blocks == "residual" else plain
        if settings.backbone:
            self.backbone: Backbone | None = Backbone(settings.backbone, shape, maps=True, weighted=weighted)
            self.multiple = self.backbone.strides[-1]
            skips = [widths[0], *self.backbone.channels]
        else:
            self.backbone = None
            self.multiple = 2 ** (len(widths) - 1)
            self.down = nn.ModuleList(stage(before, after, settings.activation) for before, after in pairwise(widths))
        self.first = stage(shape.channels + 2 * self.coordinates, widths[0], settings.activation)
        self.dropout = nn.Dropout2d(settings.dropout) if settings.dropout else nn.Identity()
        deep = [*widths[1 : len(skips) - 1], skips[-1]]
        """Channels of the maps below each stage on the way up."""
        upwards = list(zip(skips[:-1], deep, widths, strict=False))[::-1]
        self.narrow = nn.ModuleList(nn.Conv2d(below, width, 1) for _, below, width in upwards)
        self.up = nn.ModuleList(stage(skip + width, width, settings.activation) for skip, _, width in upwards)
        self.output = nn.Conv2d(widths[0], outputs(signature), 1)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, classes, height, width) from an image (B, channels, height, width)."""
        image = inputs[self.name]
        height, width = image.shape[2:]
        pad = (-width % self.multiple, -height % self.multiple)
        skips = self._halved(functional.pad(image, (0, pad[0], 0, pad[1]), mode="replicate") if any(pad) else image)
        maps = self.dropout(skips.pop())
        for narrow, stage in zip(self.narrow, self.up, strict=True):
            skip = skips.pop()
            upsampled = functional.interpolate(narrow(maps), size=skip.shape[2:], mode="nearest")
            maps = stage(torch.cat([skip, upsampled], dim=1))
        result: Tensor = self.output(maps)
        return result[..., :height, :width]

    def decode(self, inputs: Mapping[str, Tensor], noise: object) -> Tensor:
        """Return (B, classes, height, width) from an image, in overlapping tiles where it learnt from tiles."""
        image = inputs[self.name]
        if self.tile is None:
            return self(inputs)  # type: ignore[no-any-return] # torch's own call
        return in_tiles(lambda tiles: self({self.name: tiles}), image, self.tile)

    def _halved(self, image: Tensor) -> list[Tensor]:
        """Return the maps of all sizes, that of the image first."""
        maps = [self.first(torch.cat([image, places(image)], dim=1) if self.coordinates else image)]
        if self.backbone is not None:
            return maps + list(self.backbone(image))
        for stage in self.down:
            maps.append(stage(functional.max_pool2d(maps[-1], 2)))
        return maps


def places(images: Tensor) -> Tensor:
    """Return (B, 2, height, width) from -1 to 1: how far right, and how far down each pixel lies."""
    count, _, height, width = images.shape
    right, down = (torch.linspace(-1, 1, side, dtype=images.dtype, device=images.device) for side in (width, height))
    return torch.stack([right.expand(height, width), down[:, None].expand(height, width)]).expand(count, -1, -1, -1)


def plain(before: int, after: int, activation: str) -> nn.Sequential:
    """Build two convolutions, each with group normalisation and activation."""
    return nn.Sequential(*_convolved(before, after), ACTIVATIONS[activation](), *_convolved(after, after)).append(
        ACTIVATIONS[activation]()
    )


class Residual(nn.Module):
    """Two convolutions with a shortcut around them."""

    def __init__(self, before: int, after: int, activation: str) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolved(before, after), ACTIVATIONS[activation](), *_convolved(after, after))
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, after, height, width)."""
        result: Tensor = self.activation(self.body(maps) + self.shortcut(maps))
        return result


def _convolved(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), Norm(math.gcd(GROUPS, after), after)]


def build(settings: UnetSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Unet(settings, signature)


def rebuild(settings: UnetSettings, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model."""
    return rebuilt(lambda weighted: Unet(settings, signature, weighted), settings.backbone, saved)


def with_default_sizes(settings: UnetSettings, signature: Signature, samples: int) -> UnetSettings:
    """Choose stages that halve the image to about 8 pixels, at most four times, unless the job sets them."""
    settings = hosts.pinned(settings)
    if settings.channels is not None:
        return settings
    height, width = seen(signature.image)
    stages = 1 + max(1, min(MAX_STAGES - 1, int(math.log2(max(min(height, width) / MIN_MAP, 1)))))
    if settings.backbone:
        stages = len(backbone.stages(settings.backbone, signature.image))
    return settings.model_copy(update={"channels": doubling(stages, FIRST_CHANNELS, MAX_CHANNELS)})


def seen(image: ImageInput) -> tuple[int, int]:
    """Return height and width of what a step sees of an image: a tile, or all of it."""
    return image.tile or (image.height, image.width)


def misfits(settings: UnetSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the images."""
    if settings.coordinates and signature.image.tile:
        message = "a tile does not say where it lies in its image; leave out dataset.image.tile, or this"
        return [Problem("architecture.coordinates", message)]
    if settings.backbone:
        return _backbone_misfits(settings, settings.backbone, signature.image)
    side = min(seen(signature.image))
    if settings.channels and 2 ** (len(settings.channels) - 1) > side:
        most = int(math.log2(side)) + 1
        message = f"{len(settings.channels)} stages halve images of {side} pixels to nothing; use at most {most}"
        return [Problem("architecture.channels", message)]
    return []


def _backbone_misfits(settings: UnetSettings, chosen: BackboneSettings, image: ImageInput) -> list[Problem]:
    if problems := hosts.map_misfits(chosen, image):
        return problems
    count = len(backbone.stages(chosen, image))
    if settings.channels and len(settings.channels) != count:
        message = f"{len(settings.channels)} numbers for {count} sizes of maps on the way up; give {count}"
        return [Problem("architecture.channels", message)]
    return []
