"""A diffusion of rows of numbers and categories, conditional on the class where the data has classes."""

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from stoker.architectures.layers import ACTIVATIONS
from stoker.architectures.one_hot import OneHotRows
from stoker.job.architecture.tabular_diffusion import TabularDiffusion as TabularDiffusionSettings
from stoker.job.signature import Signature
from stoker.randomness import Noise

LEVEL_MEAN, LEVEL_DEVIATION = -0.6, 1.6
"""Of the logarithms of the levels of noise while training, for values of deviation 1."""
SMALLEST, LARGEST, CURVE = 0.002, 80.0, 7.0
"""Levels of noise while sampling, and how fast they fall (Karras et al. 2022, equation 5)."""
FREQUENCIES = 32
MANY_SAMPLES = 5_000
EVALUATED = 8
"""Levels of noise at which a row is evaluated: the loss of one of them says little."""


class TabularDiffusion(nn.Module):
    """Residual layers that remove noise from a row, given how much of it there is."""

    def __init__(self, settings: TabularDiffusionSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.width is not None
        self.one_hot, self.steps, width = OneHotRows(signature), settings.steps, settings.width
        self.classes = len(signature.classes)
        self.first = nn.Linear(self.one_hot.width, width)
        made = ACTIVATIONS[settings.activation]
        self.of_level = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), made(), nn.Linear(width, width))
        self.of_class = nn.Embedding(self.classes, width) if self.classes else None
        self.layers = nn.ModuleList(_Layer(width, made, settings.dropout) for _ in range(settings.layers))
        self.output = nn.Sequential(nn.LayerNorm(width), made(), nn.Linear(width, self.one_hot.width))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, numbers + categories) rows without a little noise that they are taken to have."""
        vectors = self.one_hot.vectors(inputs)
        classes = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device) if self.classes else None
        return self.one_hot.rows(self._cleaned(vectors, vectors.new_full((len(vectors), 1), SMALLEST), classes))

    def errors(self, inputs: Mapping[str, Tensor], classes: Tensor | None, noise: Noise) -> tuple[Tensor, Tensor]:
        """Return (B,) mean squared errors of rows whose noise is removed, and (B,) weights while training: all 1.

        The errors are in units of what is to be expected.
        """
        vectors = self.one_hot.vectors(inputs)
        levels = range(1 if self.training else EVALUATED)
        errors = torch.stack([self._losses(vectors, classes, noise) for _ in levels]).mean(dim=0).float()
        return errors, torch.ones_like(errors)

    def sample(self, classes: Tensor | None, noise: Noise) -> Tensor:
        """Return (B, numbers + categories) new rows, one for each row of the noise, by Heun's method."""
        vectors = LARGEST * noise.normal(self.one_hot.width)
        levels = [*self._levels(), 0.0]
        for level, following in pairwise(levels):
            slope = self._slope(vectors, level, classes)
            moved = vectors + (following - level) * slope
            if following:
                slope = (slope + self._slope(moved, following, classes)) / 2
                moved = vectors + (following - level) * slope
            vectors = moved
        return self.one_hot.rows(vectors)

    def _losses(self, vectors: Tensor, classes: Tensor | None, noise: Noise) -> Tensor:
        level = (LEVEL_MEAN + LEVEL_DEVIATION * noise.normal(1)).exp()
        cleaned = self._cleaned(vectors + level * noise.normal(self.one_hot.width), level, classes)
        weight = (level.square() + 1) / level.square()
        return (weight * (cleaned - vectors).square()).mean(dim=1)

    def _levels(self) -> list[float]:
        begin, end = LARGEST ** (1 / CURVE), SMALLEST ** (1 / CURVE)
        return [(begin + number / (self.steps - 1) * (end - begin)) ** CURVE for number in range(self.steps)]

    def _slope(self, vectors: Tensor, level: float, classes: Tensor | None) -> Tensor:
        cleaned = self._cleaned(vectors, vectors.new_full((len(vectors), 1), level), classes)
        return (vectors - cleaned) / level

    def _cleaned(self, noisy: Tensor, level: Tensor, classes: Tensor | None) -> Tensor:
        """Return rows (B, width) without noise of the levels (B, 1)."""
        scale = (level.square() + 1).sqrt()
        told = self.of_level(_waves(level.log() / 4))
        if self.of_class is not None and classes is not None:
            told = told + self.of_class(classes).to(told.dtype)
        hidden = self.first(noisy / scale)
        for layer in self.layers:
            hidden = layer(hidden, told)
        cleaned: Tensor = noisy / scale.square() + level / scale * self.output(hidden).float()
        return cleaned


class _Layer(nn.Module):
    """A residual layer."""

    def __init__(self, width: int, activation: type[nn.Module], dropout: float) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.LayerNorm(width), activation(), nn.Linear(width, width))
        self.after = nn.Sequential(activation(), nn.Dropout(dropout), nn.Linear(width, width))

    def forward(self, hidden: Tensor, told: Tensor) -> Tensor:
        result: Tensor = hidden + self.after(self.before(hidden) + told)
        return result


def _waves(values: Tensor) -> Tensor:
    """Return (B, 2 * FREQUENCIES) sines and cosines of (B, 1) values."""
    speeds = torch.logspace(-2, 2, FREQUENCIES, base=2.0, device=values.device) * math.pi
    angles = values * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def build(settings: TabularDiffusionSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return TabularDiffusion(settings, signature)


def with_default_sizes(
    settings: TabularDiffusionSettings, signature: Signature, samples: int
) -> TabularDiffusionSettings:
    """Choose the width by the number of samples, unless the job sets it."""
    if settings.width is not None:
        return settings
    return settings.model_copy(update={"width": 256 if samples >= MANY_SAMPLES else 128})
