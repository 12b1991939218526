"""Masks: a class for each pixel of an image."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch

from stoker.datasets.columns import Column, Dense, Lazy
from stoker.datasets.fields.field import TargetField
from stoker.datasets.pictures.headers import Size
from stoker.datasets.pictures.images import decode_masks, level_counts
from stoker.datasets.records import Files, RawColumn, in_memory
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.signature import MaskOutput
from stoker.job.task import Kind

DECODED_AT_ONCE = 64
MAX_CLASSES = 64
"""More distinct values than this are shades, not classes."""


@dataclass(frozen=True)
class MaskField(TargetField):
    """A mask to predict; pixels are encoded as indices into `values`."""

    kind: ClassVar[Kind] = "mask"

    values: tuple[int, ...]
    """The pixel values of the files, in order; the first is assumed to be the background."""
    height: int
    width: int

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Find the values of the training masks (N, height, width) uint8; files are decoded in chunks.

        Raises:
            JobError: there is only one value, or there are too many for classes.

        """
        counts, (height, width) = _counted(raw, settings.image.size)
        values = tuple(np.flatnonzero(counts).tolist())
        if len(values) < 2:
            raise _problem(f"every pixel of the training masks is {values[0]}: there is nothing to distinguish")
        if len(values) > MAX_CLASSES:
            raise _problem(
                f"the masks have {len(values)} different values; a mask holds one class value a pixel, at most "
                f"{MAX_CLASSES} different ones (were they saved as jpeg, or resized with smoothing?)"
            )
        return cls(name, values, height, width)

    def encode(self, raw: RawColumn) -> Column:
        """Return (N, height, width) uint8 indices into `values`.

        Raises:
            JobError: a pixel has a value that no training mask has.

        """
        masks = in_memory(raw)
        if masks is None:
            assert isinstance(raw, Files)
            return Lazy(raw, self.decode)
        return Dense(self._places(masks, raw))

    def decode(self, files: Files) -> torch.Tensor:
        """Read files as (N, height, width) uint8 indices into `values`.

        Raises:
            JobError: a file cannot be decoded, or a pixel has a value that no training mask has.

        """
        return self._places(decode_masks(files, (self.height, self.width)), files)

    def _places(self, masks: np.ndarray, raw: RawColumn) -> torch.Tensor:
        places = np.full(256, 255, np.uint8)
        places[list(self.values)] = np.arange(len(self.values))
        encoded = places[masks]
        unknown = np.flatnonzero((encoded == 255).any(axis=(1, 2)))
        if len(unknown):
            first = int(unknown[0])
            value = int(masks[first][encoded[first] == 255][0])
            name = raw.names()[first] if isinstance(raw, Files) else f"mask {first + 1}"
            known = ", ".join(map(str, self.values))
            raise _problem(f"{name} has pixels of value {value}, which no training mask has (known: {known})")
        return torch.from_numpy(encoded)

    @property
    def output(self) -> MaskOutput:
        """Return the classes of pixels."""
        return MaskOutput(tuple(map(str, self.values)), self.height, self.width)

    def pixels(self, places: torch.Tensor) -> np.ndarray:
        """Convert (B, height, width) indices back to the files' values, uint8."""
        values: np.ndarray = np.array(self.values, np.uint8)[places.cpu().numpy()]
        return values


def _counted(raw: RawColumn, size: Size | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Count the pixels of each value (256,); also return height and width."""
    masks = in_memory(raw)
    if masks is not None:
        return level_counts(masks[..., None])[0], (masks.shape[1], masks.shape[2])
    assert isinstance(raw, Files)
    counts, shapes = np.zeros(256, np.int64), set()
    for begin in range(0, len(raw), DECODED_AT_ONCE):
        masks = decode_masks(raw.rows(np.arange(begin, min(begin + DECODED_AT_ONCE, len(raw)))), size)
        counts += level_counts(masks[..., None])[0]
        shapes.add(masks.shape[1:])
    if len(shapes) > 1:
        (height, width), *_, (other, wide) = sorted(shapes)
        message = f"the masks differ in size, from {height}x{width} to {other}x{wide}; set dataset.image.size"
        raise JobError([Problem("dataset.image.size", message)])
    return counts, shapes.pop()


def _problem(message: str) -> JobError:
    return JobError([Problem("dataset.source", message)])
