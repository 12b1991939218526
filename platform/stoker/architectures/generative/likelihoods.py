"""How the pixels of an image, from -1 to 1, vary around what is drawn of it."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 255
"""Steps from black to white."""


class Likelihood(nn.Module, ABC):
    """The distribution of each pixel, given what a network draws.

    Args:
        channels: of the images.

    """

    per_channel: ClassVar[int] = 1
    """Numbers that a network draws for a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.outputs = self.per_channel * channels
        """Channels that the network draws."""

    def seen(self, images: Tensor) -> Tensor:
        """Return what the encoder sees of images: by default all."""
        return images

    @abstractmethod
    def nats(self, drawn: Tensor, images: Tensor) -> Tensor:
        """Return the negative log-likelihoods (B, channels, height, width) of images, given (B, outputs, ...)."""

    @abstractmethod
    def drawn(self, drawn: Tensor) -> Tensor:
        """Return the mean images."""


class Bernoulli(Likelihood):
    """Pixels are black or white: those above half of the brightness are white."""

    def seen(self, images: Tensor) -> Tensor:
        """Return -1 for black and 1 for white."""
        return (images > 0).to(images.dtype) * 2 - 1

    def nats(self, drawn: Tensor, images: Tensor) -> Tensor:
        """Return the cross-entropies."""
        white = (images > 0).to(drawn.dtype)
        return functional.binary_cross_entropy_with_logits(drawn, white, reduction="none")

    def drawn(self, drawn: Tensor) -> Tensor:
        """Return how likely each pixel is white, as its brightness."""
        return drawn.sigmoid() * 2 - 1


class Gaussian(Likelihood):
    """Pixels vary evenly, each channel by a deviation of its own, which is learnt."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.log_deviation = nn.Parameter(torch.full((channels, 1, 1), math.log(0.2)))

    def nats(self, drawn: Tensor, images: Tensor) -> Tensor:
        """Return the negative logarithms of the density, in units of half of the range from black to white."""
        deviation = self.log_deviation.clamp(min=math.log(1 / LEVELS))  # finer than a level would be made up
        error = (images - drawn) / deviation.exp()
        return error.square() / 2 + deviation + math.log(2 * math.pi) / 2

    def drawn(self, drawn: Tensor) -> Tensor:
        """Return what is drawn, within black and white."""
        return drawn.clamp(-1, 1)


class DiscretisedLogistic(Likelihood):
    """Pixels have one of 256 levels, by a logistic distribution of which mean and scale are drawn."""

    per_channel = 2

    def nats(self, drawn: Tensor, images: Tensor) -> Tensor:
        """Return the negative logarithms of the probability of the level."""
        mean, log_scale = drawn.chunk(2, dim=1)
        narrow = (-log_scale.clamp(min=-7)).exp()
        centred = images - mean
        above, below = narrow * (centred + 1 / LEVELS), narrow * (centred - 1 / LEVELS)
        inside = (above.sigmoid() - below.sigmoid()).clamp(min=1e-12).log()
        darkest, brightest = functional.logsigmoid(above), functional.logsigmoid(-below)
        return -torch.where(images < -1 + 1 / LEVELS, darkest, torch.where(images > 1 - 1 / LEVELS, brightest, inside))

    def drawn(self, drawn: Tensor) -> Tensor:
        """Return the means."""
        return drawn.chunk(2, dim=1)[0].clamp(-1, 1)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "discretised-logistic": DiscretisedLogistic,
}
