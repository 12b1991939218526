"""A convolutional autoencoder for images: what it cannot draw again is odd."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.inputs import only_one
from stoker.architectures.layers import ACTIVATIONS, Norm
from stoker.architectures.one_hot import OneHotRows, holds_rows
from stoker.architectures.pictures.cnn import GROUPS
from stoker.architectures.pictures.widths import beyond_a_pixel, doubling, sides_of_stages, stages_down_to
from stoker.architectures.row_autoencoder import RowAutoencoder
from stoker.errors import Problem
from stoker.job.architecture.autoencoder import Autoencoder as AutoencoderSettings
from stoker.job.signature import NormalityOutput, Signature
from stoker.randomness import Noise

FIRST_CHANNELS, MAX_CHANNELS = 16, 128
ROW_WIDTH = 128
"""Default width of the first layer of a row."""
MIN_MAP = 4
"""Default stages halve the image down to this size."""


class Autoencoder(nn.Module):
    """Stages that halve the image, a code, and stages that double it again."""

    threshold: Tensor

    def __init__(self, settings: AutoencoderSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.channels is not None
        self.name, shape = next(iter(signature.images.items()))
        self.noise, self.mask, self.sparse = settings.noise, settings.mask, settings.sparse
        self.judges = isinstance(signature.output, NormalityOutput)
        self.register_buffer("threshold", torch.ones(()))
        widths = [shape.channels, *settings.channels]
        self.sides = sides_of_stages(shape, len(settings.channels))
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
        """Return the images that are drawn; or, to find anomalies, how odd images are.

        That is (B, 1 + height * width) the mean squared error of the drawn image and that of each pixel, both in units
        of the threshold.
        """
        if not self.judges:
            return self.drawn(inputs)
        errors = (self.drawn(inputs).float() - inputs[self.name].float()).square().mean(dim=1).flatten(1)
        return torch.cat([errors.mean(dim=1, keepdim=True), errors], dim=1) / self.threshold

    def losses(self, inputs: Mapping[str, Tensor], classes: Tensor, noise: Noise) -> Tensor:
        """Return (B,) mean squared errors; only training spoils what the network sees."""
        image = inputs[self.name]
        return self._redrawn(self._spoilt(image, noise) if self.training else image, image)[1]

    def redraw(self, inputs: Mapping[str, Tensor], noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (B, channels, height, width) as they are given, as they are drawn again, and (B,) losses."""
        image = inputs[self.name]
        given = self._spoilt(image, noise)
        return given, *self._redrawn(given, image)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, code) codes."""
        return self.code_of(inputs[self.name])

    def code_of(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return (B, code) codes of images (B, channels, height, width), whatever their classes."""
        code: Tensor = self.to_code(self.encoder(images).flatten(1))
        return code

    def drawn(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the images (B, channels, height, width) that are drawn of their codes."""
        return self.drawn_of(self.encode(inputs))

    def _spoilt(self, image: Tensor, noise: Noise) -> Tensor:
        """Return images with noise, and with hidden pixels."""
        if self.noise:
            image = image + self.noise * noise.normal(*image.shape[1:])
        if self.mask:
            image = image * (noise.uniform(1, *image.shape[2:]) >= self.mask)
        return image

    def _redrawn(self, given: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is drawn of images, and (B,) losses."""
        code = self.encode({self.name: given})
        drawn = self.drawn_of(code).float()
        losses = (drawn - image.float()).square().flatten(1).mean(dim=1)
        return drawn, losses + self.sparse * code.float().abs().mean(dim=1) if self.sparse else losses

    def drawn_of(self, code: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return the images (B, channels, height, width) of (B, code) codes, whatever their classes."""
        maps = self.from_code(code).unflatten(1, (-1, *self.sides[-1]))
        for stage, side in zip(self.decoder, self.sides[-2::-1], strict=True):
            maps = stage(functional.interpolate(maps, size=side))
        result: Tensor = self.output(maps)
        return result


def _stage(before: int, after: int, activation: type[nn.Module], stride: int = 1) -> Sequence[nn.Module]:
    return (
        nn.Conv2d(before, after, 3, stride, 1, bias=False),
        Norm(math.gcd(GROUPS, after), after),
        activation(),
    )


def build(settings: AutoencoderSettings, signature: Signature) -> nn.Module:
    """Build the network of images, or that of rows."""
    return Autoencoder(settings, signature) if signature.images else RowAutoencoder(settings, signature)


def with_default_sizes(settings: AutoencoderSettings, signature: Signature, samples: int) -> AutoencoderSettings:
    """Choose stages that halve the image to about 4 pixels and double the channels, unless the job sets them."""
    if holds_rows(signature) and settings.hidden is None:
        return settings.model_copy(update={"hidden": (ROW_WIDTH, ROW_WIDTH // 2)})
    if settings.channels is not None or len(signature.images) != 1:
        return settings
    stages = stages_down_to(MIN_MAP, signature.image)
    return settings.model_copy(update={"channels": doubling(stages, FIRST_CHANNELS, MAX_CHANNELS)})


def misfits(settings: AutoencoderSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit the number and size of the images."""
    rows = holds_rows(signature)
    if problems := [] if rows else only_one("image", settings.family, signature):
        return problems
    what, unused = ("a row", "channels") if rows else ("an image", "hidden")
    if getattr(settings, unused) is not None:
        other = "images" if rows else "rows of a table"
        return [Problem(f"architecture.{unused}", f"does nothing for this data, it is for {other}; leave it out")]
    shape = next(iter(signature.images.values()), None)
    numbers = shape.channels * shape.height * shape.width if shape else OneHotRows(signature).width
    if settings.code >= numbers and not (settings.noise or settings.mask or settings.sparse):
        message = f"a code of {settings.code} numbers holds all of {what} of {numbers}, which is then only copied"
        return [Problem("architecture.code", f"{message}; shorten it, or set noise, mask or sparse")]
    if rows:
        return []
    image = signature.image
    return beyond_a_pixel(settings.channels, image)
