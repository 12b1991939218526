"""Mean average precision as COCO defines it, of boxes that are found against those of the data."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike

UNIT = 1000.0
"""Side of a picture in COCO's pixels: overlaps do not depend on it."""
Picture = tuple[np.ndarray, np.ndarray]
"""Boxes found (n, 6): class from 0, score, sides; and true ones (m, 5): class from 1, sides."""


class FoundBoxes:
    """The boxes of an evaluation, picture by picture."""

    def __init__(self) -> None:
        self.pictures: list[Picture] = []

    def add(self, output: Tensor, target: Tensor) -> None:
        """Take in a batch: (B, n, 6) boxes found and (B, m, 5) true ones, both padded with 0."""
        for found, true in zip(output.cpu().numpy(), target.cpu().numpy(), strict=True):
            self.pictures.append((found[found[:, 1] > 0], true[true[:, 0] > 0]))

    def state(self) -> list[Picture]:
        """Return all pictures."""
        return self.pictures

    def merge(self, state: list[Picture]) -> None:
        """Add another worker's."""
        self.pictures += state

    def in_order(self) -> list[Picture]:
        """Return the pictures in an order that does not depend on who evaluated them."""
        return sorted(self.pictures, key=lambda each: (each[1].tobytes(), each[0].tobytes()))


class AveragePrecision(Metrics):
    """Average precisions over all classes that the pictures show.

    Args:
        classes: their names.

    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._boxes = FoundBoxes()

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, n, 6) boxes found, and (B, m, 5) true ones as the target."""
        self._boxes.add(output, batch.target)

    def state(self) -> list[Picture]:
        """Return the boxes."""
        return self._boxes.state()

    def merge(self, state: list[Picture]) -> None:
        """Add another worker's boxes."""
        self._boxes.merge(state)

    def compute(self) -> dict[str, float]:
        """Return map, map50 and map75; NaN where no picture shows anything."""
        precision = precisions(self._boxes.in_order(), len(self._classes))
        means = [mean_precision(each) for each in (precision, precision[0], precision[5])]
        return dict(zip(("map", "map50", "map75"), means, strict=True))


def precisions(pictures: Sequence[Picture], classes: int) -> np.ndarray:
    """Return (10, 101, classes) the precision at overlaps of 0.5 to 0.95, at recalls of 0 to 1; -1 for no box.

    Reference: Lin et al. 2014; the detection evaluation of cocodataset.org, of all sizes and at most 100 boxes.
    """
    from faster_coco_eval import COCO, COCOeval_faster  # here, since a served model does without

    true = COCO(_truth(pictures, classes))
    found = _results(pictures)
    if not true.anns or not found:
        absent = {int(each[0]) for _, boxes in pictures for each in boxes}
        empty = [0.0 if number + 1 in absent else -1.0 for number in range(classes)]
        return np.broadcast_to(np.array(empty), (10, 101, classes))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval_faster(true, true.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    curves: np.ndarray = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    return curves


def mean_precision(precision: np.ndarray) -> float:
    """Return the mean of some of the `precisions`, without classes of which there is no box; NaN if there is none."""
    there = precision[precision > -1]
    return float(there.mean()) if there.size else float("nan")


def _truth(pictures: Sequence[Picture], classes: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = [
        {"image_id": number, "category_id": int(box[0]), "bbox": _bbox(box[1:]), "iscrowd": 0}
        for number, (_, boxes) in enumerate(pictures, 1)
        for box in boxes
    ]
    for number, each in enumerate(annotations, 1):
        width, height = each["bbox"][2:]
        each |= {"id": number, "area": width * height}
    images = [{"id": number} for number in range(1, len(pictures) + 1)]
    categories = [{"id": number, "name": str(number)} for number in range(1, classes + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _results(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    return [
        {"image_id": number, "category_id": int(box[0]) + 1, "bbox": _bbox(box[2:]), "score": float(box[1])}
        for number, (boxes, _) in enumerate(pictures, 1)
        for box in boxes
    ]


def _bbox(sides: np.ndarray) -> list[float]:
    """Return left, top, width and height."""
    left, top, right, bottom = (float(side) * UNIT for side in sides)
    return [left, top, right - left, bottom - top]
