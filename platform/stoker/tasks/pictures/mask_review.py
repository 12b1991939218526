"""Metrics and figures of masks, from how many pixels of each class were taken for each class."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stoker.datasets.fields.mask import MaskField
from stoker.job.signature import IGNORED
from stoker.tasks.classification.classification import confusion_figure
from stoker.tasks.metrics import Metrics, Shown, Worst
from stoker.tasks.objective import BatchLike
from stoker.tasks.pictures.pixel_losses import pixel_losses
from stoker.tasks.task import Review

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY = 128
"""Of pixels without a class in a drawn mask."""


class PixelCounts(Metrics):
    """How many pixels of each class (row) were taken for each class (column): all that these metrics need."""

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, classes, dtype=torch.int64)

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, classes, height, width) logits, and (B, height, width) class numbers as the target."""
        self.add(output.argmax(dim=1), batch.target)

    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Count pairs of class numbers, both (B, height, width), where the true one is known."""
        classes = len(self.counts)
        known = true != IGNORED
        pairs = true[known].long() * classes + predicted[known].long()
        self.counts += torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()

    def state(self) -> Tensor:
        """Return the counts."""
        return self.counts

    def merge(self, state: Tensor) -> None:
        """Add another worker's counts."""
        self.counts += state

    def compute(self) -> dict[str, float]:
        """Return dice, iou and accuracy; a class that is nowhere counts for none of them."""
        dice, iou = self.by_class()
        return {
            "dice": float(dice[1:].nanmean()),
            "iou": float(iou.nanmean()),
            "accuracy": float(self.counts.diagonal().sum() / self.counts.sum().double()),
        }

    def by_class(self) -> tuple[Tensor, Tensor]:
        """Return (classes,) Dice and IoU, not a number for a class that is nowhere."""
        counts = self.counts.double()
        right, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        return 2 * right / (true + predicted), right / (true + predicted - right)


def class_figure(pixels: PixelCounts, names: Sequence[str]) -> "Figure":
    """Draw a table of each class: its share of the pixels, Dice and IoU."""
    from matplotlib.figure import Figure

    dice, iou = pixels.by_class()
    shares = pixels.counts.sum(dim=1).double() / pixels.counts.sum()
    figure = Figure(figsize=(6, 1 + 0.3 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    rows = [[f"{float(value):.3f}" for value in each] for each in zip(shares, dice, iou, strict=True)]
    axes.table(rows, rowLabels=list(names), colLabels=["share of pixels", "Dice", "IoU"], loc="center")
    axes.set_title(f"Classes, mean IoU {float(iou.nanmean()):.3f}")
    return figure


class MaskReview(Review):
    """Pixels by class, and the images with the largest loss."""

    def __init__(self, mask: MaskField) -> None:
        self._mask = mask
        self._pixels = PixelCounts(len(mask.values))
        self._worst = Worst()
        super().__init__(self._pixels, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch; of an image only the predicted classes are kept, not their logits."""
        self._pixels.update(output, batch)
        entropy, dice = pixel_losses(output, batch.target, ignores=True)
        losses = entropy / batch.target[0:1].numel() + dice
        self._worst.update(losses, output.argmax(dim=1).to(torch.uint8), batch.target, ids)

    def figures(self) -> dict[str, Any]:
        """Draw the confusion matrix of the pixels, and how well each class is found."""
        names = self._mask.output.classes
        return {
            "confusion-matrix": confusion_figure(self._pixels.counts, names),
            "iou-by-class": class_figure(self._pixels, names),
        }

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Describe the images by the Dice of their mask."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            counts = PixelCounts(len(self._mask.values))
            counts.add(shown.output, shown.target)
            dice = counts.compute()["dice"]
            rows.append(
                {"id": shown.id, "target": "mask", "prediction": f"dice {dice:.3f}", "loss": round(shown.loss, 4)}
            )
        return rows

    def shown(self) -> Sequence[Shown]:
        """Return the images behind the rows."""
        return self._worst.samples

    def drawn(self, shown: Shown) -> Sequence[np.ndarray]:
        """Return the true and the predicted mask, in even steps from black to white; what is ignored is grey."""
        step = 255 // max(len(self._mask.values) - 1, 1)
        masks = [mask.numpy() for mask in (shown.target, shown.output) if mask is not None]
        drawn = [np.where(mask == IGNORED, GREY, mask.astype(np.uint8) * step) for mask in masks]
        return [mask.astype(np.uint8)[..., None] for mask in drawn]
