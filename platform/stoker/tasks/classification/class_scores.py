"""Precision and recall of each class, at its threshold and over all thresholds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stoker.tasks.metrics import Sums

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = 200
"""Probabilities are counted in so many steps: curves of any number of samples have one size."""
DRAWN_CLASSES = 10


class ClassRanks(Sums):
    """How often each class has each probability: where it is the true one, and where it is not."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__(len(classes), 2, LEVELS, dtype=torch.int64)
        self._classes = classes

    def update(self, probabilities: Tensor, target: Tensor) -> None:
        """Take in (B, classes) probabilities, and (B,) true classes."""
        levels = (probabilities.cpu() * LEVELS).long().clamp(max=LEVELS - 1)
        true = torch.nn.functional.one_hot(target.cpu().long(), len(self._classes))
        numbers = torch.arange(len(self._classes)).expand_as(levels)
        places = (numbers.flatten(), true.flatten(), levels.flatten())
        self.values.index_put_(places, torch.ones(levels.numel(), dtype=torch.int64), accumulate=True)

    def curves(self) -> tuple[Tensor, Tensor]:
        """Return (classes, LEVELS) precision and recall, from the highest threshold to the lowest."""
        others, true = self.values.flip(2).cumsum(dim=2).double().unbind(1)
        return true / (true + others).clamp(min=1), true / true[:, -1:].clamp(min=1)

    def average_precision(self) -> list[float]:
        """Return the area below each class's curve; NaN for a class without samples."""
        precision, recall = self.curves()
        steps = recall.diff(dim=1, prepend=torch.zeros(len(recall), 1, dtype=recall.dtype))
        area = (precision * steps).sum(dim=1)
        there = self.values[:, 1].sum(dim=1) > 0
        return [float(each) if known else float("nan") for each, known in zip(area, there.tolist(), strict=True)]

    def figure(self) -> "Figure":
        """Draw the curves of the classes with the most samples."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 5), layout="constrained")
        axes = figure.add_subplot()
        precision, recall = self.curves()
        areas = self.average_precision()
        frequent = self.values[:, 1].sum(dim=1).argsort(descending=True, stable=True)[:DRAWN_CLASSES].sort().values
        for number in frequent.tolist():
            seen = recall[number] > 0
            label = f"{self._classes[number]} ({areas[number]:.3f})"
            axes.plot(recall[number][seen].numpy(), precision[number][seen].numpy(), label=label)
        title = f"Precision and recall, {int(self.values[:, 1].sum())} samples"
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title=title)
        axes.legend(title="class (average precision)", fontsize=8)
        return figure


def class_rows(
    counts: Tensor, classes: Sequence[str], average_precision: Sequence[float]
) -> Sequence[Mapping[str, Any]]:
    """Return a row for each class: how many samples it has, how many were found, and how many of the found are right.

    Args:
        counts: (classes, classes) how often each class (row) was taken for each (column).
        classes: their names.
        average_precision: of each class.

    """
    right, true, predicted = counts.diagonal().double(), counts.sum(dim=1).double(), counts.sum(dim=0).double()
    scores = {"precision": right / predicted, "recall": right / true, "f1": 2 * right / (true + predicted)}
    return [
        {
            "class": name,
            "samples": int(true[number]),
            **{key: round(float(each[number]), 4) for key, each in scores.items()},
            "average_precision": round(average_precision[number], 4),
        }
        for number, name in enumerate(classes)
    ]
