"""Images: stored as bytes, standardised when a batch is made."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Column, Dense, Lazy
from stoker.datasets.fields.field import InputField
from stoker.datasets.pictures.headers import image_sizes
from stoker.datasets.pictures.images import decode_images, level_counts
from stoker.datasets.records import DEEP_BITS, Files, RawColumn, in_memory
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset, Normalization
from stoker.job.saved_model import FIELDS
from stoker.job.signature import ImageInput
from stoker.job.task import Kind

LEVELS = 255
"""Of a channel, beside 0."""


@dataclass(frozen=True)
class ImageField(InputField):
    """An image column: size, channels, and the mean and deviation of each channel over the training set."""

    kind: ClassVar[Kind] = "image"

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    bits: int = DEEP_BITS
    """Bits that the values of deep grey images use."""
    tile: tuple[int, int] | None = None
    """Height and width of the part that a step of training sees; None where it sees whole images."""
    scaled: bool = False
    """Whether the files of the training part are of another size."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Fit to (N, height, width, channels) uint8 training images, unless the job sets mean and deviation."""
        pixels = in_memory(raw)
        assert pixels is not None
        _, height, width, channels = pixels.shape
        bits = raw.bits if isinstance(raw, Files) else DEEP_BITS
        tile = _within(settings.image.tile, (height, width))
        scaled = isinstance(raw, Files) and image_sizes(raw.rows(np.arange(min(1, len(raw))))) != [(height, width)]
        if given := settings.image.normalization:
            channels = max(channels, len(given.mean))
            repeated = channels // len(given.mean)
            mean, scale = (tuple(LEVELS * each for each in values) * repeated for values in (given.mean, given.std))
            return cls(name, height, width, channels, mean, scale, bits, tile, scaled)
        counts = level_counts(pixels)
        levels = np.arange(256)
        means = [float((count * levels).sum() / count.sum()) for count in counts]
        variances = [
            float((count * (levels - mean) ** 2).sum() / count.sum()) for count, mean in zip(counts, means, strict=True)
        ]
        scales = tuple(max(variance**0.5, 1.0) for variance in variances)
        return cls(name, height, width, channels, tuple(means), scales, bits, tile, scaled)

    def encode(self, raw: RawColumn) -> Column:
        """Return (N, height, width, channels) uint8; files not read yet are decoded on access.

        Raises:
            JobError: the images have another shape.

        """
        if isinstance(raw, pd.Series):
            raw = _of_cells(raw, self.name)
        pixels = in_memory(raw)
        if pixels is None:
            assert isinstance(raw, Files)
            return Lazy(raw, self.decode)
        return Dense(torch.from_numpy(self.fitting(pixels)))

    def decode(self, files: Files) -> torch.Tensor:
        """Read files as (N, height, width, channels) uint8.

        Raises:
            JobError: a file cannot be decoded; the message names it.

        """
        return torch.from_numpy(decode_images(replace(files, bits=self.bits), (self.height, self.width), self.channels))

    def fitting(self, pixels: np.ndarray) -> np.ndarray:
        """Convert (N, height, width[, channels]) images to the model's channels; grey may become colour.

        Raises:
            JobError: the images have another shape.

        """
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        shape = (self.height, self.width, self.channels)
        if pixels.shape[1:] not in (shape, (*shape[:2], 1)):
            given = " x ".join(map(str, pixels.shape[1:]))
            wanted = " x ".join(map(str, shape))
            message = f"the model takes images of {wanted} (height, width, channels), not {given}"
            raise JobError([Problem("", message)])
        if pixels.dtype != np.uint8:
            pixels = pixels.clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels.repeat(self.channels // pixels.shape[3], axis=3))

    @classmethod
    def shape(cls, fields: Sequence[Self]) -> ImageInput:
        """Return channels, height and width."""
        (field,) = fields
        return ImageInput(field.channels, field.height, field.width, field.tile)

    def prepare(self, taken: torch.Tensor) -> torch.Tensor:
        """Standardise (B, height, width, channels) uint8 to (B, channels, height, width) float32, channels last."""
        if self.channels == 1:
            mean, scale = _on_device(self.mean, taken.device), _on_device(self.scale, taken.device)
            return taken.float().sub_(mean).div_(scale).permute(0, 3, 1, 2)
        width = taken.shape[2]  # arithmetic on whole rows of pixels is much faster than on three values at a time
        mean, scale = _on_device(self.mean * width, taken.device), _on_device(self.scale * width, taken.device)
        return taken.float().flatten(2).sub_(mean).div_(scale).view(taken.shape).permute(0, 3, 1, 2)

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Convert standardised (B, channels, height, width) back to (B, height, width, channels) uint8."""
        mean, scale = _on_device(self.mean, images.device), _on_device(self.scale, images.device)
        return images.permute(0, 2, 3, 1).mul(scale).add(mean).round().clamp(0, 255).to(torch.uint8)


def saved_normalization(model: Path) -> Normalization | None:
    """Return the statistics of the only image field of a saved model; None if it is none of ours, or sees no image."""
    file = model / FIELDS
    if not file.is_file():
        return None
    images = [each for each in json.loads(file.read_text(encoding="utf-8"))["inputs"] if each["kind"] == "image"]
    if len(images) != 1:
        return None
    mean, std = (tuple(value / LEVELS for value in images[0][key]) for key in ("mean", "scale"))
    return Normalization(mean=mean, std=std)


def _within(tile: tuple[int, int] | None, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return a tile that is no larger than the images; None if it would be all of them."""
    if tile is None or (tile[0] >= size[0] and tile[1] >= size[1]):
        return None
    return min(tile[0], size[0]), min(tile[1], size[1])


def _of_cells(cells: pd.Series, name: str) -> Files | np.ndarray:
    """Read the cells of a table: paths, or images as nested lists."""
    if all(isinstance(cell, str | Path) for cell in cells):
        return Files(tuple(map(Path, cells)))
    try:
        return np.array(cells.tolist(), np.float64)
    except (TypeError, ValueError) as error:
        message = f"column '{name}' holds neither paths of images nor images of one size"
        raise JobError([Problem("", message)]) from error


@lru_cache(maxsize=64)
def _on_device(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Return constants on a device, copied once instead of for each batch."""
    with torch.inference_mode(mode=False):  # training cannot use inference tensors
        return torch.tensor(values, device=device)
