"""What all classifications share: cross-entropy, accuracy, F1 and AUROC, and the confusion matrix."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.job.signature import ClassOutput, Output
from stoker.tasks.objective import BatchLike, Objective, Supervised
from stoker.tasks.task import Outcome, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torchmetrics import MetricCollection

WRITTEN_CLASSES = 25
"""More classes than this are drawn without their counts."""


class CrossEntropy(Supervised):
    """Cross-entropy of the classes in nats."""

    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B,) losses of (B, classes) logits."""
        return functional.cross_entropy(output, batch.target, reduction="none")


class Classification(Task):
    """A class for each sample."""

    def objective(self, network: nn.Module, output: Output) -> Objective:
        """Minimise the cross-entropy."""
        return CrossEntropy(network)

    def metrics(self, output: Output) -> "MetricCollection":
        """Accuracy over all samples; F1 and one-against-rest AUROC as means over the classes."""
        from torchmetrics import MetricCollection  # seconds to import: not before the first evaluation
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        from stoker.tasks.defined_metrics import Auroc

        count = len(_classes(output))
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(count, average="micro", validate_args=False),
                "f1": MulticlassF1Score(count, average="macro", validate_args=False),
                "auroc": Auroc(count, average="none", thresholds=None, validate_args=False),
            },
            compute_groups=False,
        )

    def measured(self, outputs: Tensor, output: Output) -> Tensor:
        """Return (B, classes) probabilities."""
        return outputs.softmax(dim=1)

    def predictions(self, outputs: Tensor, output: Output) -> pd.DataFrame:
        """Return the class, and the probability of each."""
        classes = _classes(output)
        probabilities = outputs.softmax(dim=1)
        chosen = [classes[number] for number in probabilities.argmax(dim=1).tolist()]
        columns = {f"probability/{name}": probabilities[:, i].numpy() for i, name in enumerate(classes)}
        return pd.DataFrame({"prediction": pd.Series(chosen, dtype=object), **columns})

    def figures(self, outcome: Outcome, output: Output) -> dict[str, "Figure"]:
        """Draw the confusion matrix."""
        return {"confusion-matrix": confusion_figure(outcome, _classes(output))}

    def worst(self, outcome: Outcome, output: Output, count: int) -> Sequence[Mapping[str, Any]]:
        """Describe the samples whose class was least expected."""
        classes = _classes(output)
        losses = functional.cross_entropy(outcome.outputs, outcome.target, reduction="none")
        probabilities, chosen = outcome.outputs.softmax(dim=1).max(dim=1)
        return [
            {
                "id": int(outcome.ids[i]),
                "target": classes[int(outcome.target[i])],
                "prediction": classes[int(chosen[i])],
                "probability": round(float(probabilities[i]), 4),
                "loss": round(float(losses[i]), 4),
            }
            for i in losses.argsort(descending=True)[:count].tolist()
        ]


def confusion_figure(outcome: Outcome, classes: tuple[str, ...]) -> "Figure":
    """Draw how often each class (row) was taken for each class (column)."""
    from matplotlib.figure import Figure

    counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)
    pairs = (outcome.target, outcome.outputs.argmax(dim=1))
    counts.index_put_(pairs, torch.ones(len(outcome.target), dtype=torch.int64), accumulate=True)
    side = max(4.0, min(12.0, 1.5 + 0.5 * len(classes)))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="prediction", ylabel="true class", title=f"Confusion matrix, {len(outcome.target)} samples")
    if len(classes) <= WRITTEN_CLASSES:
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        for row, column in torch.nonzero(counts).tolist():
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=colour, fontsize=8)
    return figure


def _classes(output: Output) -> tuple[str, ...]:
    assert isinstance(output, ClassOutput)
    return output.classes
