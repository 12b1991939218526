"""Fitted preprocessing: learnt on the training part alone, saved with the model as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import as_numbers, as_text
from stoker.errors import JobError, Problem
from stoker.job.signature import ClassOutput, ImageInput, Input, Output, Signature, TableInput, ValueOutput

FARTHEST = 8.0
"""Scaled numbers are cut off this many standard deviations from the mean: one wild value must not rule a prediction."""
SKEWED = 2.0
"""Skewness beyond which a column of positive numbers is scaled by its logarithm."""


@dataclass(frozen=True)
class NumberEncoder:
    """One number column: missing values become the median, then zero mean and unit variance."""

    name: str
    median: float
    mean: float
    scale: float
    logarithm: bool
    """Scaled as log(1 + value): for positive numbers with a long tail, such as incomes and counts."""
    flag: bool
    """A second column says which values were missing."""

    @staticmethod
    def fit(name: str, column: pd.Series) -> "NumberEncoder":
        """Learn from the training rows."""
        values = as_numbers(column)
        known = values[~np.isnan(values)]
        if len(known) == 0:
            return NumberEncoder(name, 0.0, 0.0, 1.0, False, True)
        logarithm = bool(known.min() >= 0 and _skewness(known) > SKEWED)
        scaled = np.log1p(known) if logarithm else known
        mean, scale = mean_and_scale(scaled)
        return NumberEncoder(
            name,
            float(np.median(known)),
            mean,
            scale,
            logarithm,
            len(known) < len(values),
        )

    def encode(self, column: pd.Series) -> list[np.ndarray]:
        """Return one float column, or two with the flag."""
        values = as_numbers(column)
        missing = np.isnan(values)
        filled = np.where(missing, self.median, values)
        if self.logarithm:
            filled = np.log1p(np.clip(filled, 0, None))
        scaled = np.clip((filled - self.mean) / self.scale, -FARTHEST, FARTHEST)
        return [scaled, missing.astype(np.float64)] if self.flag else [scaled]


@dataclass(frozen=True)
class CategoryEncoder:
    """One category column: a number for each value of the training rows, 0 for missing and unknown ones."""

    name: str
    values: tuple[str, ...]

    @staticmethod
    def fit(name: str, column: pd.Series) -> "CategoryEncoder":
        """Learn from the training rows."""
        return CategoryEncoder(name, tuple(sorted({value for value in as_text(column) if value is not None})))

    def encode(self, column: pd.Series) -> np.ndarray:
        """Return the int64 numbers."""
        numbers = {value: number for number, value in enumerate(self.values, start=1)}
        return np.array([numbers.get(value, 0) for value in as_text(column)], np.int64)


@dataclass(frozen=True)
class TableEncoder:
    """All feature columns of a table."""

    numbers: tuple[NumberEncoder, ...]
    categories: tuple[CategoryEncoder, ...]

    @staticmethod
    def fit(frame: pd.DataFrame, numbers: tuple[str, ...], categories: tuple[str, ...]) -> "TableEncoder":
        """Learn from the training rows."""
        return TableEncoder(
            tuple(NumberEncoder.fit(name, frame[name]) for name in numbers),
            tuple(CategoryEncoder.fit(name, frame[name]) for name in categories),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The feature columns, in the order they are encoded."""
        return (*(number.name for number in self.numbers), *(category.name for category in self.categories))

    @property
    def input(self) -> TableInput:
        """What a sample looks like."""
        return TableInput(
            sum(1 + encoder.flag for encoder in self.numbers),
            tuple(len(encoder.values) + 1 for encoder in self.categories),
        )

    def check(self, frame: pd.DataFrame, *others: str) -> None:
        """Check that a table has all of `columns`, and others.

        Raises:
            JobError: it lacks some.

        """
        if missing := [name for name in (*others, *self.columns) if name not in frame.columns]:
            there = ", ".join(map(str, frame.columns))
            raise JobError([Problem("", f"the input lacks the columns {', '.join(missing)} (it has: {there})")])

    def encode(self, frame: pd.DataFrame) -> dict[str, torch.Tensor]:
        """Encode rows; the frame must have all of `columns`."""
        floats = [column for encoder in self.numbers for column in encoder.encode(frame[encoder.name])]
        codes = [encoder.encode(frame[encoder.name]) for encoder in self.categories]
        empty = np.zeros((len(frame), 0))
        return {
            "numbers": torch.from_numpy(np.stack(floats, 1) if floats else empty).float(),
            "categories": torch.from_numpy(np.stack(codes, 1) if codes else empty.astype(np.int64)),
        }


@dataclass(frozen=True)
class ImageEncoder:
    """Pictures: size, channels, and the mean and deviation of each channel over the training set."""

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @staticmethod
    def fit(pixels: np.ndarray) -> "ImageEncoder":
        """Learn from (N, height, width, channels) uint8 training pictures."""
        _, height, width, channels = pixels.shape
        counts = [np.bincount(pixels[..., c].reshape(-1), minlength=256) for c in range(channels)]
        levels = np.arange(256)
        means = [float((count * levels).sum() / count.sum()) for count in counts]
        variances = [
            float((count * (levels - mean) ** 2).sum() / count.sum()) for count, mean in zip(counts, means, strict=True)
        ]
        scales = tuple(max(variance**0.5, 1.0) for variance in variances)
        return ImageEncoder(height, width, channels, tuple(means), scales)

    @property
    def input(self) -> ImageInput:
        """What a sample looks like."""
        return ImageInput(self.channels, self.height, self.width)

    def fitting(self, pixels: np.ndarray) -> np.ndarray:
        """Bring (N, height, width[, channels]) pictures to the model's channels; grey ones may stand for colour.

        Raises:
            JobError: the pictures have another shape.

        """
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        shape = (self.height, self.width, self.channels)
        if pixels.shape[1:] not in (shape, (*shape[:2], 1)):
            given = " x ".join(map(str, pixels.shape[1:]))
            wanted = " x ".join(map(str, shape))
            message = f"the model takes pictures of {wanted} (height, width, channels), not {given}"
            raise JobError([Problem("", message)])
        if pixels.dtype != np.uint8:
            pixels = pixels.clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels.repeat(self.channels // pixels.shape[3], axis=3))

    def scaled(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, height, width, channels) uint8 into (B, channels, height, width) float32, channels last."""
        mean, scale = _on_device(self.mean, pixels.device), _on_device(self.scale, pixels.device)
        return pixels.float().sub_(mean).div_(scale).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Encoders:
    """What turns raw samples into tensors, and back into words: everything a model needs beside its weights."""

    input: TableEncoder | ImageEncoder
    output: Output

    @property
    def signature(self) -> Signature:
        """What one sample and one output look like."""
        shape: Input = self.input.input
        return Signature(shape, self.output)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes to tell apart; None where a number is predicted."""
        return self.output.classes if isinstance(self.output, ClassOutput) else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "input": {"kind": "table" if isinstance(self.input, TableEncoder) else "image", **asdict(self.input)},
            "output": {"kind": "class" if isinstance(self.output, ClassOutput) else "value", **asdict(self.output)},
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Encoders":
        """Rebuild from `to_json`."""
        given, wanted = dict(content["input"]), dict(content["output"])
        encoder: TableEncoder | ImageEncoder
        if given.pop("kind") == "table":
            encoder = TableEncoder(
                tuple(NumberEncoder(**number) for number in given["numbers"]),
                tuple(CategoryEncoder(category["name"], tuple(category["values"])) for category in given["categories"]),
            )
        else:
            encoder = ImageEncoder(**{**given, "mean": tuple(given["mean"]), "scale": tuple(given["scale"])})
        if wanted.pop("kind") == "class":
            return Encoders(encoder, ClassOutput(tuple(wanted["classes"])))
        return Encoders(encoder, ValueOutput(**wanted))


@lru_cache(maxsize=64)
def _on_device(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Copy constants to a device once, not for each batch."""
    with torch.inference_mode(mode=False):  # whoever asks first, training must be able to use them
        return torch.tensor(values, device=device)


def mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation; the latter is 1 where all values are equal but for rounding."""
    mean, deviation = float(values.mean()), float(values.std())
    return mean, deviation if deviation > 1e-12 * abs(mean) else 1.0


def _skewness(values: np.ndarray) -> float:
    mean, scale = mean_and_scale(values)
    return float((((values - mean) / scale) ** 3).mean())  # scaled before the cube, which tiny numbers do not survive
