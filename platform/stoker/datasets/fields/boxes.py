"""Boxes: the objects of a picture, each with a class."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch

from stoker.datasets.columns import Column, Ragged
from stoker.datasets.fields.category import sorted_classes
from stoker.datasets.fields.field import TargetField
from stoker.datasets.records import RawColumn
from stoker.datasets.values.boxes import Boxed, holds_boxes
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.signature import BoxesOutput
from stoker.job.task import Kind

SHOWN = 5
TINY = 2.0
"""Pixels of the shorter side of boxes that are hardly seen."""


@dataclass(frozen=True)
class BoxesField(TargetField):
    """Boxes to find; their places are encoded as shares of the picture, so that its size does not matter."""

    kind: ClassVar[Kind] = "boxes"

    classes: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Find the classes of the training boxes, unless the job names them.

        Raises:
            JobError: no training picture has a box.

        """
        names = {box.name for boxed in read_boxes(raw) for box in boxed.boxes}
        if not names:
            message = (
                "no picture of the training part has a box: there is nothing to learn; draw some, or set dataset.split"
            )
            raise JobError([Problem("dataset.source", message)])
        return cls(name, settings.columns.classes or sorted_classes(np.array(list(names), object)))

    def encode(self, raw: RawColumn) -> Column:
        """Return for each picture (boxes, 5) float32: the class, counted from 1, and its sides as shares.

        Boxes of unknown classes are left out.
        """
        places = {name: number for number, name in enumerate(self.classes, 1)}
        rows: list[tuple[float, ...]] = []
        offsets = torch.zeros(len(raw) + 1, dtype=torch.int64)
        for number, boxed in enumerate(read_boxes(raw)):
            height, width = boxed.height, boxed.width
            rows += [
                (places[box.name], box.left / width, box.top / height, box.right / width, box.bottom / height)
                for box in boxed.boxes
                if box.name in places
            ]
            offsets[number + 1] = len(rows)
        return Ragged(torch.tensor(rows, dtype=torch.float32).view(-1, 5), offsets)

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield notes on pictures without boxes, tiny boxes, and classes that only held-out parts have."""
        everything = [boxed for boxed, part in zip(read_boxes(raw), parts, strict=True) if part]
        if empty := sum(not boxed.boxes for boxed in everything):
            yield f"{empty:,} of {len(everything):,} pictures show no object"
        sides = [min(b.right - b.left, b.bottom - b.top) for boxed in everything for b in boxed.boxes]
        if tiny := sum(side < TINY for side in sides):
            yield f"{tiny:,} of {len(sides):,} boxes are less than {TINY:g} pixels wide or high"
        if unknown := sorted({box.name for boxed in everything for box in boxed.boxes} - set(self.classes)):
            names = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
            yield f"no training picture shows {names}; boxes of these classes are left out"

    @property
    def output(self) -> BoxesOutput:
        """Return the classes."""
        return BoxesOutput(self.classes)


def read_boxes(raw: RawColumn) -> list[Boxed]:
    """Read the values of a column.

    Raises:
        JobError: they are no boxes.

    """
    assert isinstance(raw, pd.Series)
    if len(raw) and not holds_boxes(raw):
        message = f"'{str(raw.iloc[0])[:40]}' is no box: they are read from the formats voc, coco and yolo"
        raise JobError([Problem("dataset.format", message)])
    return [Boxed.read(text) for text in raw]


def class_counts(boxes: Sequence[Boxed]) -> Counter[str]:
    """Count the boxes of each class."""
    return Counter(box.name for boxed in boxes for box in boxed.boxes)
