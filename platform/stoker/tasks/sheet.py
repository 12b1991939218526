"""Sheets of pictures and pages of texts: what a network makes of some samples, as people see it."""

from dataclasses import dataclass

import numpy as np

IMAGES_A_ROW = 8


@dataclass(frozen=True)
class Picture:
    """One sample."""

    images: tuple[np.ndarray, ...]
    """(height, width, channels) uint8 of one size, drawn side by side."""
    caption: str = ""
    """One or more lines below them."""
    wrong: bool = False
    """Whether the caption is highlighted."""


@dataclass(frozen=True)
class Sheet:
    """Pictures in rows from left to right; a row is full with IMAGES_A_ROW images, or as many pictures as have them."""

    name: str
    """What they show, in a word: part of the file's name."""
    pictures: tuple[Picture, ...]
    rows: tuple[str, ...] = ()
    """Name of each row; empty where rows mean nothing."""
    images: tuple[str, ...] = ()
    """Name of each image of a picture; empty where they need none."""

    @property
    def columns(self) -> int:
        """Pictures of a row."""
        return max(1, IMAGES_A_ROW // len(self.pictures[0].images))


@dataclass(frozen=True)
class Alignment:
    """How much each token of one text comes of each token of another."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    weights: np.ndarray
    """(rows, columns) from 0 to 1."""


@dataclass(frozen=True)
class Page:
    """Some texts, one below the other."""

    name: str
    """What they are, in a word: part of the file's name."""
    texts: tuple[str, ...]
    alignment: Alignment | None = None
    """Of one of them, drawn below; None where there is none."""
