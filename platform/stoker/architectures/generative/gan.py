"""A deep convolutional GAN, conditional on the class where the data has classes."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.generative.spectral import SpectralNorm
from stoker.architectures.layers import Norm
from stoker.architectures.pictures.widths import doubling, stages_down_to
from stoker.errors import Problem
from stoker.job.architecture.gan import Gan as GanSettings
from stoker.job.signature import Signature

GROUPS = 8
FIRST_CHANNELS = 32
MAX_CHANNELS = 256
MIN_MAP = 4
SLOPE = 0.2
"""Slope of the leaky ReLU below 0 (Radford et al. 2016)."""
CLASS_WIDTH = 32
PIXEL_RANGE = 3.0
"""Generated standardised pixels lie within plus and minus this value."""


class Gan(nn.Module):
    """Generator and discriminator, with the settings of their training."""

    def __init__(self, settings: GanSettings, signature: Signature) -> None:
        super().__init__()
        self.generator = Generator(settings, signature)
        self.discriminator = Discriminator(settings, signature)
        self.latent, self.loss, self.ema = settings.latent, settings.loss, settings.ema
        self.classes = len(signature.classes)

    def advance(self) -> None:
        """Update the discriminator's spectral norms to its weights."""
        for module in self.discriminator.modules():
            if isinstance(module, SpectralNorm):
                module.advance()

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the scores (B,) of images generated from zeros: one pass through both networks."""
        (image,) = inputs.values()
        latent = image.new_zeros(len(image), self.latent)
        classes = torch.zeros(len(image), dtype=torch.int64, device=image.device) if self.classes else None
        scores: Tensor = self.discriminator(self.generator(latent, classes), classes)
        return scores


class Generator(nn.Module):
    """Projects noise and class to a small map, and upsamples it stage by stage."""

    def __init__(self, settings: GanSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.channels is not None
        image = signature.image
        widths = settings.channels[::-1]
        self.size = (image.height, image.width)
        self.start = tuple(-(-side // 2 ** len(widths)) for side in self.size)
        classes = len(signature.classes)
        self.embedding = nn.Embedding(classes, CLASS_WIDTH) if classes else None
        self.spread = nn.Linear(settings.latent + (CLASS_WIDTH if classes else 0), widths[0] * math.prod(self.start))
        self.first = nn.Sequential(Norm(math.gcd(GROUPS, widths[0]), widths[0]), nn.ReLU())
        self.stages = nn.ModuleList(_up(before, after) for before, after in pairwise((*widths, widths[-1])))
        self.output = nn.Conv2d(widths[-1], image.channels, 3, padding=1)

    def forward(self, noise: Tensor, classes: Tensor | None) -> Tensor:
        """Return (B, channels, height, width) from noise (B, latent) and class numbers (B,)."""
        if self.embedding is not None:
            noise = torch.cat([noise, self.embedding(classes)], dim=1)
        maps = self.first(self.spread(noise).view(len(noise), -1, *self.start))
        for stage in self.stages:
            maps = stage(functional.interpolate(maps, scale_factor=2.0, mode="nearest"))
        images: Tensor = PIXEL_RANGE * torch.tanh(self.output(maps)[..., : self.size[0], : self.size[1]])
        return images


class Discriminator(nn.Module):
    """Strided convolutions, then a score of the summed features and of their match with the class.

    The class enters by projection (Miyato and Koyama 2018).
    """

    def __init__(self, settings: GanSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.channels is not None
        normed: Callable[[Any], nn.Module] = SpectralNorm if settings.spectral_norm else _plain
        widths = [signature.image.channels, *settings.channels]
        self.stages = nn.ModuleList(
            normed(nn.Conv2d(before, after, 4, stride=2, padding=1)) for before, after in pairwise(widths)
        )
        self.last = normed(nn.Conv2d(widths[-1], widths[-1], 3, padding=1))
        classes = len(signature.classes)
        self.embedding = normed(nn.Embedding(classes, widths[-1])) if classes else None
        self.output = normed(nn.Linear(widths[-1], 1))

    def forward(self, images: Tensor, classes: Tensor | None) -> Tensor:
        """Return (B,) scores."""
        maps = images
        for stage in (*self.stages, self.last):
            maps = functional.leaky_relu(stage(maps), SLOPE)
        features = maps.sum(dim=(2, 3))
        scores: Tensor = self.output(features).squeeze(1)
        if self.embedding is not None:
            scores = scores + (self.embedding(classes) * features).sum(dim=1)
        return scores


def _plain(layer: nn.Module) -> nn.Module:
    return layer


def _up(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        Norm(math.gcd(GROUPS, after), after),
        nn.ReLU(),
    )


def build(settings: GanSettings, signature: Signature) -> nn.Module:
    """Build both networks."""
    return Gan(settings, signature)


def with_default_sizes(settings: GanSettings, signature: Signature, samples: int) -> GanSettings:
    """Choose stages that halve the image to about 4 pixels and double the channels, unless the job sets them."""
    if settings.channels is not None:
        return settings
    stages = stages_down_to(MIN_MAP, signature.image)
    channels = doubling(stages, 2 * FIRST_CHANNELS, MAX_CHANNELS)
    return settings.model_copy(update={"channels": channels})


def misfits(settings: GanSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the size of the images."""
    side = min(signature.image.height, signature.image.width)
    if settings.channels and 2 ** len(settings.channels) > side:
        most = int(math.log2(side))
        message = f"{len(settings.channels)} stages halve images of {side} pixels to nothing; use at most {most}"
        return [Problem("architecture.channels", message)]
    return []
