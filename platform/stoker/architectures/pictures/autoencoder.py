"""A convolutional autoencoder for images: what it cannot draw again is odd."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.inputs import only_one
from stoker.architectures.layers import ACTIVATIONS, Norm
from stoker.architectures.pictures.cnn import GROUPS
from stoker.architectures.pictures.widths import doubling
from stoker.errors import Problem
from stoker.job.architecture.autoencoder import Autoencoder as AutoencoderSettings
from stoker.job.signature import ImageInput, Signature
from stoker.randomness import Noise

FIRST_CHANNELS, MAX_CHANNELS = 16, 128
MIN_MAP = 4
"""Default stages halve the image down to this size."""


class Autoencoder(nn.Module):
    """Stages that halve the image, a code, and stages that double it again."""

    threshold: Tensor

    def __init__(self, settings: AutoencoderSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.channels is not None
        self.name, shape = next(iter(signature.images.items()))
        self.noise = settings.noise
        self.register_buffer("threshold", torch.ones(()))
        widths = [shape.channels, *settings.channels]
        self.sides = sides_of_stages((shape.height, shape.width), len(settings.channels))
        down, right = self.sides[-1]
        made = ACTIVATIONS[settings.activation]
        self.encoder = nn.Sequential(
            *(layer for before, after in pairwise(widths) for layer in _stage(before, after, made, stride=2))
        )
        self.to_code = nn.Linear(widths[-1] * down * right, settings.code)
        self.from_code = nn.Linear(settings.code, widths[-1] * down * right)
        backwards = widths[:0:-1]
        self.decoder = nn.ModuleList(
            nn.Sequential(*_stage(before, after, made)) for before, after in pairwise([*backwards, backwards[-1]])
        )
        self.output = nn.Conv2d(backwards[-1], shape.channels, 3, padding=1)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, 1 + height * width) the mean squared error of the drawn image and that of each pixel.

        Both are in units of the threshold.
        """
        errors = self._errors(inputs[self.name], inputs[self.name]).mean(dim=1).flatten(1)
        return torch.cat([errors.mean(dim=1, keepdim=True), errors], dim=1) / self.threshold

    def losses(self, inputs: Mapping[str, Tensor], classes: Tensor, noise: Noise) -> Tensor:
        """Return (B,) mean squared errors."""
        image = inputs[self.name]
        given = image + self.noise * noise.normal(*image.shape[1:]) if self.noise and self.training else image
        return self._errors(given, image).flatten(1).mean(dim=1)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, code) codes."""
        code: Tensor = self.to_code(self.encoder(inputs[self.name]).flatten(1))
        return code

    def drawn(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the images (B, channels, height, width) that are drawn of their codes."""
        maps = self.from_code(self.encode(inputs)).unflatten(1, (-1, *self.sides[-1]))
        for stage, side in zip(self.decoder, self.sides[-2::-1], strict=True):
            maps = stage(functional.interpolate(maps, size=side))
        result: Tensor = self.output(maps)
        return result

    def _errors(self, given: Tensor, image: Tensor) -> Tensor:
        return (self.drawn({self.name: given}).float() - image.float()).square()


def _stage(before: int, after: int, activation: type[nn.Module], stride: int = 1) -> Sequence[nn.Module]:
    return (
        nn.Conv2d(before, after, 3, stride, 1, bias=False),
        Norm(math.gcd(GROUPS, after), after),
        activation(),
    )


def stages_down_to(image: ImageInput, side: int = MIN_MAP) -> int:
    """Return how many stages halve an image to about so many pixels, at least one."""
    return max(1, int(math.log2(max(min(image.height, image.width) / side, 1))))


def sides_of_stages(side: tuple[int, int], stages: int) -> list[tuple[int, int]]:
    """Return height and width of the image and of the map behind each stage."""
    sides = [side]
    for _ in range(stages):
        height, width = sides[-1]
        sides.append((-(-height // 2), -(-width // 2)))
    return sides


def build(settings: AutoencoderSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Autoencoder(settings, signature)


def with_default_sizes(settings: AutoencoderSettings, signature: Signature, samples: int) -> AutoencoderSettings:
    """Choose stages that halve the image to about 4 pixels and double the channels, unless the job sets them."""
    if settings.channels is not None or len(signature.images) != 1:
        return settings
    stages = stages_down_to(signature.image)
    return settings.model_copy(update={"channels": doubling(stages, FIRST_CHANNELS, MAX_CHANNELS)})


def misfits(settings: AutoencoderSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the number and size of the images."""
    if problems := only_one("image", settings.family, signature):
        return problems
    image = signature.image
    most = max(1, math.ceil(math.log2(min(image.height, image.width))))
    if settings.channels and len(settings.channels) > most:
        message = f"{len(settings.channels)} stages halve {image.height}x{image.width} images to less than a pixel"
        return [Problem("architecture.channels", f"{message}; use at most {most}")]
    return []
