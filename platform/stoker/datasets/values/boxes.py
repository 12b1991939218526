"""The boxes of a picture as one value of a column: JSON, in pixels of the picture as it is upright."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

import pandas as pd

BEGINNING = '{"height":'
"""Of the JSON."""
SHOWN = 8
MARGIN = 1.0
"""Pixels that a box may reach beyond its picture: programs count pixels from 0 or from 1."""


@dataclass(frozen=True)
class Box:
    """An object of a picture."""

    name: str
    """Of its class."""
    left: float
    top: float
    right: float
    bottom: float
    """In pixels; right and bottom are the first ones outside."""

    @property
    def sides(self) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom."""
        return self.left, self.top, self.right, self.bottom

    def mistake(self, height: int, width: int) -> str:
        """Return what is wrong with it in a picture of this size, with the cure; empty if nothing is."""
        sides = ", ".join(f"{side:g}" for side in self.sides)
        if not all(map(math.isfinite, self.sides)):
            return f"has sides that are no numbers ({sides}); write four numbers"
        if self.right <= self.left or self.bottom <= self.top:
            what = "inverted" if self.right < self.left or self.bottom < self.top else "empty"
            return f"is {what} (left, top, right, bottom: {sides}); correct or remove it"
        if min(self.left, self.top) < -MARGIN or self.right > width + MARGIN or self.bottom > height + MARGIN:
            return (
                f"reaches out of its picture of {width}x{height} pixels (left, top, right, bottom: {sides}); cut it off"
            )
        return ""

    def within(self, height: int, width: int) -> "Box":
        """Return the box without what reaches beyond the picture."""
        right, bottom = min(self.right, float(width)), min(self.bottom, float(height))
        return Box(self.name, max(self.left, 0.0), max(self.top, 0.0), right, bottom)


@dataclass(frozen=True)
class Boxed:
    """What a picture shows."""

    height: int
    width: int
    boxes: tuple[Box, ...]

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def read(text: str) -> "Boxed":
        """Read what `text` returned."""
        content = json.loads(text)
        boxes = tuple(Box(**each) for each in content["boxes"])
        return Boxed(content["height"], content["width"], boxes)


def holds_boxes(column: pd.Series) -> bool:
    """Return whether a column holds what `Boxed.text` returns."""
    first = next(iter(column), None)
    return isinstance(first, str) and first.startswith(BEGINNING)


def boxes_summary(pictures: Sequence[Boxed]) -> str:
    """Describe the boxes of some pictures: how many of each class, how many a picture, and their sizes."""
    boxes = [box for each in pictures for box in each.boxes]
    if not boxes:
        return "no boxes"
    counted = Counter(box.name for box in boxes).most_common()
    more = f" and {len(counted) - SHOWN} more classes" if len(counted) > SHOWN else ""
    classes = ", ".join(f"{name} ({count:,})" for name, count in counted[:SHOWN]) + more
    each = [len(picture.boxes) for picture in pictures]
    widths, heights = [box.right - box.left for box in boxes], [box.bottom - box.top for box in boxes]
    sizes = ", ".join(
        f"{min(sides):g} to {max(sides):g} {name} (median {median(sides):g})"
        for name, sides in (("wide", widths), ("high", heights))
    )
    return f"{classes}; {min(each)} to {max(each)} a picture (median {median(each):g}); {sizes} pixels"
