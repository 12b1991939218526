"""A network that finds objects: each cell of its maps proposes a box."""

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.heads import outputs
from stoker.architectures.inputs import only_one
from stoker.architectures.layers import ACTIVATIONS, Norm
from stoker.architectures.pictures.backbones import hosts
from stoker.architectures.pictures.backbones.backbone import Backbone, OnBackbone, rebuilt
from stoker.architectures.pictures.feature_maps import FeatureMaps
from stoker.architectures.pictures.residual_maps import GROUPS, ResidualMaps
from stoker.errors import Problem
from stoker.job.architecture.detector import Detector as DetectorSettings
from stoker.job.signature import Signature

LEVELS = 3
"""Maps of the pyramid."""
PRIOR = 0.01
"""Score of every class at first: most cells see none (Lin et al. 2017, focal loss)."""
FIRST_SIDE = 4.0
"""Side of a proposed box at first, in cells."""
MOST_CELLS = 6.0
"""Logarithm of the largest distance of a side from its cell, in cells."""


class Detector(OnBackbone):
    """A body that makes maps, a feature pyramid, and a head that all its levels share."""

    threshold: Tensor
    """Logit from where on a box is believed: chosen after training, by the validation part."""

    def __init__(self, settings: DetectorSettings, signature: Signature, weighted: bool = True) -> None:
        super().__init__()
        self.name, shape = next(iter(signature.images.items()))
        self.score, self.overlap, self.most = settings.score, settings.overlap, settings.most
        if settings.backbone:
            self.backbone: Backbone | None = Backbone(settings.backbone, shape, maps=True, weighted=weighted)
        else:
            self.backbone = None
            self.stages = ResidualMaps(shape.channels, settings.channels, settings.activation)
        self.strides = self._body.strides[-LEVELS:]
        self.pyramid = Pyramid(self._body.channels[-LEVELS:], settings.width)
        self.head = Head(settings, len(self.strides), outputs(signature))
        self.register_buffer("threshold", torch.zeros(()))

    @property
    def _body(self) -> FeatureMaps:
        """Return what makes maps of an image."""
        body: FeatureMaps = self.stages if self.backbone is None else self.backbone
        return body

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return proposals (B, cells, 6 + classes) for an image, as job.signature says of boxes."""
        image = inputs[self.name]
        height, width = image.shape[2:]
        proposals = []
        pyramid = self.pyramid(self._body(hosts.padded(image, self.strides[-1]))[-LEVELS:])
        for level, (maps, stride) in enumerate(zip(pyramid, self.strides, strict=True)):
            logits, distances = self.head(maps, level)
            proposals.append(_proposals(logits, distances, stride, height, width))
        return torch.cat(proposals, dim=1)


class Pyramid(nn.Module):
    """Adds coarse maps, enlarged, to finer ones (Lin et al. 2017, feature pyramids)."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.narrow = nn.ModuleList(nn.Conv2d(each, width, 1) for each in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return maps of the same sizes, all of one width."""
        narrow = [layer(each) for layer, each in zip(self.narrow, maps, strict=True)]
        for fine, coarse in reversed(list(pairwise(range(len(narrow))))):
            narrow[fine] = narrow[fine] + functional.interpolate(narrow[coarse], size=narrow[fine].shape[2:])
        return [layer(each) for layer, each in zip(self.smooth, narrow, strict=True)]


class Head(nn.Module):
    """A tower for the classes and one for the boxes, the same on all levels."""

    def __init__(self, settings: DetectorSettings, levels: int, classes: int) -> None:
        super().__init__()
        self.of_classes, self.of_boxes = (_tower(settings) for _ in range(2))
        self.logits = nn.Conv2d(settings.width, classes, 3, padding=1)
        self.distances = nn.Conv2d(settings.width, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(levels))
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.constant_(self.logits.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]  # it has a bias
        nn.init.normal_(self.distances.weight, std=0.01)
        nn.init.constant_(self.distances.bias, math.log(FIRST_SIDE / 2))  # type: ignore[arg-type]  # it has a bias

    def forward(self, maps: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Return (B, classes, height, width) logits, and (B, 4, height, width) distances of the sides, in cells."""
        logits = self.logits(self.of_classes(maps)).float()
        raw = self.distances(self.of_boxes(maps)).float() * self.scales[level]
        return logits, raw.clamp(max=MOST_CELLS).exp()


def _tower(settings: DetectorSettings) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(settings.depth):
        layers.append(nn.Conv2d(settings.width, settings.width, 3, padding=1, bias=False))
        layers.append(Norm(math.gcd(GROUPS, settings.width), settings.width))
        layers.append(ACTIVATIONS[settings.activation]())
    return nn.Sequential(*layers)


def _proposals(logits: Tensor, distances: Tensor, stride: int, height: int, width: int) -> Tensor:
    """Return (B, cells, 6 + classes) of one level.

    Args:
        logits: (B, classes, rows, columns).
        distances: (B, 4, rows, columns) of the left, upper, right and lower side of a box from its cell, in cells.
        stride: pixels to a cell.
        height: of the image without padding, in pixels.
        width: likewise.

    """
    rows, columns = logits.shape[2:]
    x = (torch.arange(columns, device=logits.device) + 0.5) * (stride / width)
    y = (torch.arange(rows, device=logits.device) + 0.5) * (stride / height)
    places = torch.stack([x.expand(rows, columns), y.unsqueeze(1).expand(rows, columns)])
    cell = distances.new_tensor([stride / width, stride / height]).view(2, 1, 1)
    begin, end = places - distances[:, :2] * cell, places + distances[:, 2:] * cell
    joined = torch.cat([places.expand(logits.shape[0], -1, -1, -1), begin, end, logits], dim=1)
    return joined.flatten(2).transpose(1, 2)


def build(settings: DetectorSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Detector(settings, signature)


def rebuild(settings: DetectorSettings, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model."""
    return rebuilt(lambda weighted: Detector(settings, signature, weighted), settings.backbone, saved)


def with_default_sizes(settings: DetectorSettings, signature: Signature, samples: int) -> DetectorSettings:
    """Pin the library and the weights of a backbone."""
    pinned: DetectorSettings = hosts.pinned(settings)
    return pinned


def misfits(settings: DetectorSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the size of the images."""
    if problems := only_one("image", settings.family, signature):
        return problems
    if settings.backbone:
        return hosts.unused(settings, "channels") or hosts.map_misfits(settings.backbone, signature.image)
    side = min(signature.image.height, signature.image.width)
    if 2 ** (len(settings.channels) + 1) > 2 * side:
        most = int(math.log2(side))
        cure = f"use at most {most}, or set dataset.image.size"
        message = f"{len(settings.channels)} stages halve images of {side} pixels to nothing; {cure}"
        return [Problem("architecture.channels", message)]
    return []
