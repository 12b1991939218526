"""What is shown of the boxes that a network finds: curves, a table of the classes, mix-ups, and the worst pictures."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stoker.datasets.fields.image import ImageField
from stoker.tasks.classification.classification import confusion_figure
from stoker.tasks.metrics import Shown, Worst
from stoker.tasks.objective import BatchLike
from stoker.tasks.pictures.annotation import boxed
from stoker.tasks.pictures.average_precision import FoundBoxes, Picture, mean_precision, precisions
from stoker.tasks.pictures.box_matches import SCORE, confusion, described, error
from stoker.tasks.task import Review

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NONE = "(none)"
RECALLS = np.linspace(0, 1, 101)
MOST_CURVES = 20


class DetectionReview(Review):
    """The boxes of all pictures, and the pictures with the lowest F1.

    Args:
        image: the field of the pictures.
        classes: their names.

    """

    def __init__(self, image: ImageField, classes: tuple[str, ...]) -> None:
        self._image, self._classes = image, classes
        self._boxes, self._worst, self._pixels = FoundBoxes(), Worst(), Pixels()
        self._precisions: tuple[int, np.ndarray] | None = None
        super().__init__(self._boxes, self._worst, self._pixels)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch: (B, n, 6) boxes found, and (B, m, 5) true ones as the target."""
        fresh = FoundBoxes()
        fresh.add(output, batch.target)
        self._boxes.merge(fresh.state())
        errors = torch.tensor([error(each) for each in fresh.pictures], dtype=torch.float64)
        self._worst.update(errors, output, batch.target, ids)
        kept = {shown.id for shown in self._worst.samples}
        places = [place for place, number in enumerate(ids.tolist()) if number in kept]
        if places:
            images = next(iter(batch.inputs.values()))[places]
            pixels = self._image.pixels(images).cpu().numpy()
            self._pixels.by_id |= dict(zip((int(ids[place]) for place in places), pixels, strict=True))
        self._pixels.keep(kept)

    def figures(self) -> dict[str, "Figure"]:
        """Draw precision against recall, and which classes are taken for which."""
        return {
            "precision-recall": self._curves(self._measured()),
            "confusion-matrix": self._mixed_up(self._boxes.in_order()),
        }

    def _measured(self) -> np.ndarray:
        """Return the precisions of all boxes, which take long: figures and tables share them."""
        count = len(self._boxes.pictures)
        if self._precisions is None or self._precisions[0] != count:
            self._precisions = count, precisions(self._boxes.in_order(), len(self._classes))
        return self._precisions[1]

    def _mixed_up(self, pictures: Sequence[Picture]) -> "Figure":
        figure = confusion_figure(confusion(pictures, len(self._classes)), (*self._classes, NONE))
        figure.axes[0].set_title(f"Boxes with a score of {SCORE:g} or more, {self._worst.seen} samples")
        return figure

    def _curves(self, curves: np.ndarray) -> "Figure":
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 5), layout="constrained")
        axes = figure.add_subplot()
        for number, name in list(enumerate(self._classes))[:MOST_CURVES]:
            precision = mean_precision(curves[0, :, number])
            axes.plot(RECALLS, curves[0, :, number].clip(min=0), label=f"{name} ({precision:.3f})")
        axes.set(
            xlabel="recall",
            ylabel="precision",
            xlim=(0, 1),
            ylim=(0, 1.02),
            title=f"Overlaps of 0.5 or more, {self._worst.seen} samples",
        )
        axes.legend(loc="lower left", fontsize=8)
        return figure

    def tables(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """Return the precisions of each class, and its precision and recall where boxes of a low score do not count."""
        curves, counts = self._measured(), confusion(self._boxes.in_order(), len(self._classes))
        rows = []
        for number, name in enumerate(self._classes):
            right, true, found = int(counts[number, number]), int(counts[number].sum()), int(counts[:, number].sum())
            shares = {"precision": right / found if found else math.nan, "recall": right / true if true else math.nan}
            of_class = {"map": curves[:, :, number], "map50": curves[0, :, number], "map75": curves[5, :, number]}
            means = {name: mean_precision(each) for name, each in of_class.items()}
            values = {name: round(value, 4) for name, value in {**means, **shares}.items()}
            rows.append({"class": name, "boxes": true, **values})
        return {"classes": rows}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Describe the pictures by what was found; their loss is one minus the F1 of their boxes."""
        return [
            {
                "id": shown.id,
                "target": f"{len(picture[1])} boxes",
                "prediction": described(picture),
                "loss": round(shown.loss, 4),
            }
            for shown in self._worst.samples
            for picture in [_picture(shown)]
        ]

    def shown(self) -> Sequence[Shown]:
        """Return the pictures behind the rows."""
        return self._worst.samples

    def drawn(self, shown: Shown) -> Sequence[np.ndarray]:
        """Return the picture with its true boxes, and with those that were found."""
        found, true = _picture(shown)
        found = found[found[:, 1] >= SCORE]
        pixels = self._pixels.by_id[shown.id]
        return [
            boxed(pixels, [("", int(box[0]) - 1, *box[1:].tolist()) for box in true]),
            boxed(pixels, [("", int(box[0]), *box[2:].tolist()) for box in found]),
        ]


class Pixels:
    """The pictures that may be shown, as the network sees them."""

    def __init__(self) -> None:
        self.by_id: dict[int, np.ndarray] = {}

    def keep(self, ids: set[int]) -> None:
        """Forget all others."""
        self.by_id = {number: pixels for number, pixels in self.by_id.items() if number in ids}

    def state(self) -> dict[int, np.ndarray]:
        """Return them by id."""
        return self.by_id

    def merge(self, state: dict[int, np.ndarray]) -> None:
        """Add another worker's."""
        self.by_id |= state


def _picture(shown: Shown) -> Picture:
    """Return the boxes of a picture that is shown, without padding."""
    assert shown.target is not None
    boxes = FoundBoxes()
    boxes.add(shown.output.unsqueeze(0), shown.target.unsqueeze(0))
    return boxes.pictures[0]
