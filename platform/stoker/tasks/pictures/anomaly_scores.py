"""What is measured and shown of the scores of normal samples and of anomalies."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stoker.datasets.fields.image import ImageField
from stoker.tasks.metrics import Metrics, Shown, Worst
from stoker.tasks.objective import BatchLike
from stoker.tasks.pictures.one_class import is_odd
from stoker.tasks.task import Review

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOTTEST = 2.0
"""Score of a pixel that is drawn white; the threshold is half as bright."""
NAMES = ("normal", "anomaly")
BINS = 40


class Scores:
    """The score of each sample, and whether it is an anomaly; merges with those of other workers."""

    def __init__(self) -> None:
        self._scores: list[Tensor] = []
        self._odd: list[Tensor] = []

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, 1 + pixels or columns) scores."""
        self._scores.append(output[:, 0].float().cpu())
        self._odd.append(is_odd(batch).cpu())

    def state(self) -> tuple[Tensor, Tensor]:
        """Return (N,) scores, and which are those of anomalies."""
        return torch.cat([torch.zeros(0), *self._scores]), torch.cat([torch.zeros(0, dtype=torch.bool), *self._odd])

    def merge(self, state: tuple[Tensor, Tensor]) -> None:
        """Take in another worker's."""
        self._scores.append(state[0])
        self._odd.append(state[1])


class AnomalyMetrics(Metrics):
    """AUROC, average precision, and F1 at the threshold; NaN without anomalies or without normal samples."""

    def __init__(self) -> None:
        self._scores = Scores()

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in a batch."""
        self._scores.update(output, batch)

    def state(self) -> tuple[Tensor, Tensor]:
        """Return scores and labels."""
        return self._scores.state()

    def merge(self, state: tuple[Tensor, Tensor]) -> None:
        """Take in another worker's."""
        self._scores.merge(state)

    def compute(self) -> dict[str, float]:
        """Return each metric."""
        from torchmetrics.functional.classification import binary_auroc, binary_average_precision

        scores, odd = self._scores.state()
        if not odd.any() or odd.all():
            return dict.fromkeys(("auroc", "average_precision", "f1"), math.nan)
        order = scores.argsort().argsort().double() / len(scores)  # torchmetrics takes probabilities
        tied = torch.unique(scores, return_inverse=True)[1]
        ranks = torch.zeros(int(tied.max()) + 1, dtype=order.dtype).scatter_reduce(0, tied, order, "amax")[tied]
        found = scores > 1
        right = int((found & odd).sum())
        return {
            "auroc": float(binary_auroc(ranks, odd.long())),
            "average_precision": float(binary_average_precision(ranks, odd.long())),
            "f1": 2 * right / (int(found.sum()) + int(odd.sum())),
        }


class AnomalyReview(Review):
    """How the scores of normal samples and of anomalies are spread, and the samples that are least where they belong.

    Args:
        field: of the images; None for rows of a table.

    """

    def __init__(self, field: ImageField | None) -> None:
        self._field = field
        self._scores = Scores()
        self._worst = Worst()
        super().__init__(self._scores, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch."""
        self._scores.update(output, batch)
        odd = is_odd(batch)
        level = output[:, 0].clamp(min=1e-6).log()
        self._worst.update(torch.where(odd, -level, level), output, odd, ids)

    def figures(self) -> dict[str, "Figure"]:
        """Draw the scores as a histogram."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        scores, odd = self._scores.state()
        edges = np.linspace(0, max(float(scores.quantile(0.995)) if len(scores) else 0.0, 1.5), BINS)
        for kind, name in enumerate(NAMES):
            chosen = scores[odd == bool(kind)].clamp(max=float(edges[-1])).numpy()
            if len(chosen):
                axes.hist(chosen, edges.tolist(), alpha=0.6, density=True, label=f"{name} ({len(chosen)})")
        axes.axvline(1, color="black", linestyle="--", label="threshold")
        axes.set(xlabel="score", ylabel="density", title=f"Scores of {len(scores)} samples")
        axes.legend()
        return {"scores": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Describe the samples."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            score = float(shown.output[0])
            target, prediction = name_of(bool(shown.target)), name_of(score > 1)
            row = {"id": shown.id, "target": target, "prediction": prediction, "score": round(score, 4)}
            rows.append({**row, "loss": round(shown.loss, 4)})
        return rows

    def shown(self) -> Sequence[Shown]:
        """Return the samples behind the rows."""
        return self._worst.samples

    def drawn(self, shown: Shown) -> Sequence[np.ndarray]:
        """Return the heat map of an image."""
        assert self._field is not None
        return list(heat(shown.output.unsqueeze(0), self._field))


def heat(outputs: Tensor, field: ImageField) -> np.ndarray:
    """Return (B, height, width, 1) uint8 heat maps of (B, 1 + height * width) scores: white is twice the threshold."""
    pixels = outputs[:, 1:].float().cpu().reshape(-1, field.height, field.width, 1)
    scaled = (pixels / HOTTEST).clamp(0, 1) * 255
    maps: np.ndarray = scaled.round().to(torch.uint8).numpy()
    return maps


def name_of(odd: bool) -> str:
    """Return what a sample is called."""
    return NAMES[odd]
