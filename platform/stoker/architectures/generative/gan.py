"""A deep convolutional GAN, conditional on the class where the data has classes."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.generative import residual
from stoker.architectures.generative.spectral import SpectralNorm
from stoker.architectures.layers import Norm
from stoker.architectures.pictures.widths import doubling, stages_down_to
from stoker.errors import Problem
from stoker.job.architecture.gan import Gan as GanSettings
from stoker.job.signature import Signature
from stoker.job.training import Adam, Optimizer

GROUPS = 8
FIRST_CHANNELS = 32
MAX_CHANNELS = 256
MIN_MAP = 4
SLOPE = 0.2
"""Slope of the leaky ReLU below 0 (Radford et al. 2016)."""
CLASS_WIDTH = 32
CRITIC_STEPS = 5
"""Turns of a critic with gradient penalty before one of the generator (Gulrajani et al. 2017)."""
GENERATOR_RATE, PENALISED_RATE = 2e-4, 1e-4
"""Learning rates."""
PIXEL_RANGE = 3.0
"""Generated standardised pixels lie within plus and minus this value."""


class Gan(nn.Module):
    """Generator and discriminator, with the settings of their training."""

    def __init__(self, settings: GanSettings, signature: Signature) -> None:
        super().__init__()
        self.generator = Generator(settings, signature)
        self.discriminator = Discriminator(settings, signature)
        self.latent, self.loss, self.ema = settings.latent, settings.loss, settings.ema
        self.penalty = settings.gradient_penalty if settings.loss == "wgan-gp" else settings.r1
        self.penalty_every = settings.r1_every if settings.loss != "wgan-gp" else 1
        self.critic_steps = settings.critic_steps or 1
        self.augment = settings.augment == "differentiable"
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
        activated = settings.blocks == "residual"
        up = residual.Up if activated else _up
        self.first = nn.Identity() if activated else _normed(widths[0])
        self.stages = nn.ModuleList(up(before, after) for before, after in pairwise((*widths, widths[-1])))
        self.last = _normed(widths[-1]) if activated else nn.Identity()
        self.output = nn.Conv2d(widths[-1], image.channels, 3, padding=1)

    def forward(self, noise: Tensor, classes: Tensor | None) -> Tensor:
        """Return (B, channels, height, width) from noise (B, latent) and class numbers (B,)."""
        if self.embedding is not None:
            noise = torch.cat([noise, self.embedding(classes)], dim=1)
        maps = self.first(self.spread(noise).view(len(noise), -1, *self.start))
        for stage in self.stages:
            maps = stage(functional.interpolate(maps, scale_factor=2.0, mode="nearest"))
        images: Tensor = PIXEL_RANGE * torch.tanh(self.output(self.last(maps))[..., : self.size[0], : self.size[1]])
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
        self.activated = settings.blocks == "residual"
        """Whether stages begin with their activation, in place of one behind each."""
        if self.activated:
            stages = [residual.Down(before, after, normed) for before, after in pairwise(widths)]
            self.stages = nn.ModuleList(stages)
            self.last: nn.Module = residual.Down(widths[-1], widths[-1], normed, halves=False)
        else:
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
            maps = stage(maps) if self.activated else functional.leaky_relu(stage(maps), SLOPE)
        features = (functional.relu(maps) if self.activated else maps).sum(dim=(2, 3))
        scores: Tensor = self.output(features).squeeze(1)
        if self.embedding is not None:
            scores = scores + (self.embedding(classes) * features).sum(dim=1)
        return scores


def _plain(layer: nn.Module) -> nn.Module:
    return layer


def _normed(width: int) -> nn.Sequential:
    return nn.Sequential(Norm(math.gcd(GROUPS, width), width), nn.ReLU())


def _up(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), *_normed(after))


def build(settings: GanSettings, signature: Signature) -> nn.Module:
    """Build both networks."""
    return Gan(settings, signature)


def with_default_sizes(settings: GanSettings, signature: Signature, samples: int) -> GanSettings:
    """Choose what the job leaves open.

    Stages halve the image to about 4 pixels and double the channels; a gradient penalty replaces the spectral norm, and
    with it the critic is trained more often than the generator.
    """
    penalised = settings.loss == "wgan-gp"
    update: dict[str, object] = {}
    if settings.channels is None:
        stages = stages_down_to(MIN_MAP, signature.image)
        update["channels"] = doubling(stages, 2 * FIRST_CHANNELS, MAX_CHANNELS)
    if settings.spectral_norm is None:
        update["spectral_norm"] = not penalised
    if settings.critic_steps is None:
        update["critic_steps"] = CRITIC_STEPS if penalised else 1
    return settings.model_copy(update=update)


def optimizers(settings: GanSettings) -> dict[str, Optimizer]:
    """Return the optimizers of both groups where a job sets none: without momentum, which follows the other's past.

    Those of `wgan-gp` are its authors' (Gulrajani et al. 2017); else the discriminator learns faster than the generator
    (Heusel et al. 2017).
    """
    if settings.loss == "wgan-gp":
        both = Adam(type="adam", lr=PENALISED_RATE, betas=(0.0, 0.9))
        return {"generator": both, "discriminator": both}
    return {
        "generator": Adam(type="adam", lr=GENERATOR_RATE, betas=(0.0, 0.99)),
        "discriminator": Adam(type="adam", lr=2 * GENERATOR_RATE, betas=(0.0, 0.99)),
    }


def misfits(settings: GanSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the loss or the size of the images."""
    problems = []
    if settings.loss == "wgan-gp" and settings.r1:
        message = "does nothing for wgan-gp, which has gradient_penalty; leave it out"
        problems.append(Problem("architecture.r1", message))
    side = min(signature.image.height, signature.image.width)
    if settings.channels and 2 ** len(settings.channels) > side:
        most = int(math.log2(side))
        message = f"{len(settings.channels)} stages halve images of {side} pixels to nothing; use at most {most}"
        problems.append(Problem("architecture.channels", message))
    return problems
