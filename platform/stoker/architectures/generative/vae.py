"""A convolutional variational autoencoder, conditional on the class where the data has classes."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.generative.likelihoods import LIKELIHOODS
from stoker.architectures.layers import ACTIVATIONS, Norm
from stoker.architectures.pictures.widths import beyond_a_pixel, doubling, sides_of_stages, stages_down_to
from stoker.errors import Problem
from stoker.job.architecture.vae import Vae as VaeSettings
from stoker.job.dataset import Normalization
from stoker.job.signature import Signature
from stoker.randomness import Noise

GROUPS = 8
FIRST_CHANNELS, MAX_CHANNELS = 32, 256
CLASS_WIDTH = 32
PIXELS = Normalization(mean=(0.5,), std=(0.5,))
"""From -1 to 1."""
MIN_MAP = 4
"""Default stages halve the image down to this size."""


class Vae(nn.Module):
    """Stages that halve the image, a normal distribution over its latent numbers, and stages that double it again."""

    def __init__(self, settings: VaeSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.channels is not None
        self.name, shape = next(iter(signature.images.items()))
        self.latent, self.beta, self.free_bits = settings.latent, settings.beta, settings.free_bits
        self.classes = len(signature.classes)
        self.embedding = nn.Embedding(self.classes, CLASS_WIDTH) if self.classes else None
        known = CLASS_WIDTH if self.classes else 0
        self.likelihood = LIKELIHOODS[settings.likelihood](shape.channels)
        made = ACTIVATIONS[settings.activation]
        widths = settings.channels
        self.sides = sides_of_stages(shape, len(widths))
        down, right = self.sides[-1]
        self.first = nn.Conv2d(shape.channels, widths[0], 3, padding=1)
        self.encoder = nn.Sequential(
            *(_Stage(before, after, made, stride=2) for before, after in pairwise((widths[0], *widths)))
        )
        self.to_latent = nn.Linear(widths[-1] * down * right + known, 2 * settings.latent)
        self.from_latent = nn.Linear(settings.latent + known, widths[-1] * down * right)
        backwards = widths[::-1]
        self.decoder = nn.ModuleList(
            _Stage(before, after, made, dropout=settings.dropout) for before, after in pairwise((*backwards, widths[0]))
        )
        self.by_class = nn.ModuleList(
            nn.Linear(CLASS_WIDTH, 2 * width) for width in (*backwards[1:], widths[0]) if self.classes
        )
        """What a class changes of the maps of each stage of the decoder: their scale and their level."""
        self.output = nn.Conv2d(widths[0], self.likelihood.outputs, 3, padding=1)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the drawn images (B, channels, height, width) of the means of images, of the first class."""
        return self.likelihood.drawn(self._draw(self.encode(inputs), self._first_class(inputs[self.name])))

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, latent) means of the latent numbers; where there are classes, of the first one."""
        return self.means(inputs, self._first_class(inputs[self.name]))

    def means(self, inputs: Mapping[str, Tensor], classes: Tensor | None) -> Tensor:
        """Return (B, latent) means of the latent numbers of images of some classes."""
        return self.code_of(inputs[self.name], classes)

    def bounds(self, inputs: Mapping[str, Tensor], classes: Tensor | None, noise: Noise) -> tuple[Tensor, Tensor]:
        """Return (B,) nats that the images take given their latent numbers, and (B, latent) nats that these take."""
        images = inputs[self.name]
        mean, log_variance = self._posterior(self.likelihood.seen(images), classes)
        latent = mean + (log_variance / 2).exp() * noise.normal(self.latent)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
        drawn = self._draw(latent, classes).float()
        return self.likelihood.nats(drawn, images.float()).flatten(1).sum(dim=1), divergence

    def sample(self, classes: Tensor | None, noise: Noise) -> Tensor:
        """Return one standardised image for each row of the noise."""
        return self.drawn_of(noise.normal(self.latent), classes)

    def code_of(self, images: Tensor, classes: Tensor | None) -> Tensor:
        """Return (B, latent) means of the latent numbers of images (B, channels, height, width)."""
        return self._posterior(self.likelihood.seen(images), classes)[0]

    def drawn_of(self, codes: Tensor, classes: Tensor | None) -> Tensor:
        """Return the mean images (B, channels, height, width) of latent numbers (B, latent)."""
        return self.likelihood.drawn(self._draw(codes, classes).float())

    def _first_class(self, images: Tensor) -> Tensor | None:
        return torch.zeros(len(images), dtype=torch.int64, device=images.device) if self.classes else None

    def _posterior(self, images: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor]:
        features = self.encoder(self.first(images)).flatten(1)
        mean, log_variance = self.to_latent(self._with_class(features, classes)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-15, 15)

    def _draw(self, latent: Tensor, classes: Tensor | None) -> Tensor:
        maps = self.from_latent(self._with_class(latent, classes)).unflatten(1, (-1, *self.sides[-1]))
        for number, (stage, side) in enumerate(zip(self.decoder, self.sides[-2::-1], strict=True)):
            maps = stage(functional.interpolate(maps, size=side))
            if self.embedding is not None and classes is not None:
                changes = self.by_class[number](self.embedding(classes).to(maps.dtype))
                scale, level = changes[..., None, None].chunk(2, dim=1)
                maps = maps * (1 + scale) + level
        result: Tensor = self.output(maps)
        return result

    def _with_class(self, features: Tensor, classes: Tensor | None) -> Tensor:
        if self.embedding is None or classes is None:
            return features
        return torch.cat([features, self.embedding(classes).to(features.dtype)], dim=1)


class _Stage(nn.Module):
    """A convolution, and a second one with a shortcut around it."""

    def __init__(
        self, before: int, after: int, activation: type[nn.Module], stride: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        groups = math.gcd(GROUPS, after)
        self.first = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), Norm(groups, after), activation())
        parts: Sequence[nn.Module] = [nn.Conv2d(after, after, 3, padding=1), Norm(groups, after), activation()]
        self.second = nn.Sequential(*parts, *([nn.Dropout2d(dropout)] if dropout else []))

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.first(maps)
        result: Tensor = maps + self.second(maps)
        return result


def build(settings: VaeSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Vae(settings, signature)


def with_default_sizes(settings: VaeSettings, signature: Signature, samples: int) -> VaeSettings:
    """Choose stages that halve the image to about 4 pixels and double the channels, unless the job sets them."""
    if settings.channels is not None or len(signature.images) != 1:
        return settings
    stages = stages_down_to(MIN_MAP, signature.image)
    return settings.model_copy(update={"channels": doubling(stages, FIRST_CHANNELS, MAX_CHANNELS)})


def normalization(settings: VaeSettings) -> Normalization:
    """Return pixels from -1 to 1, of which the likelihoods know black and white."""
    return PIXELS


def misfits(settings: VaeSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the size of the images."""
    return beyond_a_pixel(settings.channels, signature.image)
