"""The boxes of a picture as one value of a column: JSON, in pixels of the picture as it is upright."""

import json
import math
from dataclasses import asdict, dataclass

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
