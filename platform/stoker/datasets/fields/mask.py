"""Masks: a class for each pixel of an image."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch

from stoker.datasets.columns import Column, Dense, Lazy
from stoker.datasets.fields.field import TargetField
from stoker.datasets.pictures.headers import Size
from stoker.datasets.pictures.images import level_counts
from stoker.datasets.pictures.masks import decode_masks, hex_of, palette_of
from stoker.datasets.records import Files, RawColumn, in_memory
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset, Mask
from stoker.job.signature import IGNORED, MaskOutput
from stoker.job.task import Kind

DECODED_AT_ONCE = 64
MAX_CLASSES = 64
"""More distinct values than this are shades, not classes."""
CLASSES = "dataset.mask.classes"
UNKNOWN = -1


@dataclass(frozen=True)
class MaskField(TargetField):
    """A mask to predict; pixels are encoded as indices into `values`, or as IGNORED."""

    kind: ClassVar[Kind] = "mask"

    values: tuple[int, ...]
    """The pixel values of the files, in order; the first is assumed to be the background. Of masks that are coded by
    colours they are places in `colours`."""
    height: int
    width: int
    names: tuple[str, ...] = ()
    """Of the classes, if the job names them."""
    colours: tuple[int, ...] = ()
    """0xRRGGBB that the pixels of the files have; empty where they have numbers."""
    palette: tuple[int, ...] = ()
    """Red, green and blue of each number, if the files have a palette."""
    ignored: int | None = None
    """The value of pixels that are neither learnt nor measured."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Find the values of the training masks (N, height, width) uint8; files are decoded in chunks.

        Raises:
            JobError: there is only one value, there are too many for classes, or others than the job names.

        """
        counts, (height, width) = _counted(raw, settings.image.size)
        colours = raw.colours if isinstance(raw, Files) else ()
        palette = palette_of(raw) if isinstance(raw, Files) and not colours else ()
        ignored = _value_of(settings.mask.ignore, colours)
        found = tuple(value for value in np.flatnonzero(counts).tolist() if value != ignored)
        values = _values(found, settings.mask, colours)
        names = tuple(settings.mask.classes or ())
        if not names and isinstance(raw, Files) and raw.classes:
            names = tuple(raw.classes[value] for value in values)
        return cls(name, values, height, width, names, colours, palette, ignored)

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
        return self._places(decode_masks(replace(files, colours=self.colours), (self.height, self.width)), files)

    def _places(self, masks: np.ndarray, raw: RawColumn) -> torch.Tensor:
        places = np.full(256, UNKNOWN, np.int16)
        places[list(self.values)] = np.arange(len(self.values))
        if self.ignored is not None:
            places[self.ignored] = IGNORED
        encoded = places[masks]
        unknown = np.flatnonzero((encoded == UNKNOWN).any(axis=(1, 2)))
        if len(unknown):
            first = int(unknown[0])
            value = int(masks[first][encoded[first] == UNKNOWN][0])
            name = raw.names()[first] if isinstance(raw, Files) else f"mask {first + 1}"
            raise _problem(self._unknown(name, value))
        return torch.from_numpy(encoded.astype(np.uint8))

    def _unknown(self, name: str, value: int) -> str:
        known = ", ".join(map(self._written, self.values))
        what = f"{name} has pixels of value {self._written(value)}"
        if self.names:
            return f"{what}, which {CLASSES} does not name (named: {known}); name it, or set dataset.mask.ignore"
        message = f"{what}, which no training mask has (known: {known})"
        return f"{message}; correct it, move it to the training part, or set dataset.mask.ignore"

    def _written(self, value: int) -> str:
        return hex_of(self.colours[value]) if self.colours else str(value)

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield the colours that were taken for classes."""
        if self.colours and not self.names:
            found = f"the masks have {len(self.values)} colours: {', '.join(self.output.classes)}"
            yield f"{found}; the first is taken for the background, and {CLASSES} names them"

    @property
    def output(self) -> MaskOutput:
        """Return the classes of pixels."""
        return MaskOutput(self.names or tuple(map(self._written, self.values)), self.height, self.width)

    def pixels(self, places: torch.Tensor) -> np.ndarray:
        """Convert (B, height, width) indices back to the files' values or colours, uint8."""
        values = np.array(self.values, np.uint8)
        if self.colours:
            packed = np.array(self.colours)[values]
            values = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
        found: np.ndarray = values[places.cpu().numpy()]
        return found

    def places(self, pixels: np.ndarray) -> np.ndarray:
        """Return the class number (height, width) of each pixel of a mask that `pixels` made."""
        if self.colours:
            red, green, blue = np.moveaxis(pixels.astype(np.int64), 2, 0)
            written, given = np.array(self.colours)[list(self.values)], red << 16 | green << 8 | blue
        else:
            written, given = np.array(self.values), pixels
        order = np.argsort(written)
        found: np.ndarray = order[np.searchsorted(written, given, sorter=order)]
        return found


def _values(found: tuple[int, ...], mask: Mask, colours: tuple[int, ...]) -> tuple[int, ...]:
    """Return the values of the classes: those that the job names, or those of the training masks.

    Raises:
        JobError: they are too few or too many, or a class that the job names is in no training mask.

    """
    if mask.classes:
        named = {name: _value_of(value, colours) for name, value in mask.classes.items()}
        for name, value in named.items():
            if value not in found:
                message = f"'{name}' ({mask.classes[name]}) is in no training mask, so that it cannot be learnt"
                cure = "correct its value, leave it out, or put a picture with it into the training part"
                raise JobError([Problem(f"{CLASSES}.{name}", f"{message}; {cure}")])
        return tuple(value for value in named.values() if value is not None)
    if len(found) < 2:
        seen = "ignored" if not found else hex_of(colours[found[0]]) if colours else found[0]
        raise _problem(f"every pixel of the training masks is {seen}: there is nothing to distinguish")
    if len(found) > MAX_CLASSES:
        raise _problem(
            f"the masks have {len(found)} different values; a mask holds one class value a pixel, at most "
            f"{MAX_CLASSES} different ones (were they saved as jpeg, or resized with smoothing?)"
        )
    return found


def _value_of(value: int | str | None, colours: tuple[int, ...]) -> int | None:
    """Return what stands for a value or a colour of the job in decoded masks."""
    return colours.index(int(value[1:], 16)) if isinstance(value, str) else value


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
