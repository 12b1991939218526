"""What all classifications share: cross-entropy, accuracy, F1 and AUROC, and the confusion matrix."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.datasets.records import Records
from stoker.job.training import Training
from stoker.tasks.classification.class_scores import ClassRanks, class_rows
from stoker.tasks.metrics import Collected, Metrics, Shown, Sums, Worst
from stoker.tasks.objective import BatchLike, Objective, Supervised
from stoker.tasks.task import Answers, Review, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WRITTEN_CLASSES = 25
"""More classes than this are drawn without their counts."""
MOST_SCORES = 5_000_000
"""Up to so many probabilities the AUROC is exact, and keeps them; beyond it is read off THRESHOLDS points."""
THRESHOLDS = 1000


class CrossEntropy(Supervised):
    """Cross-entropy of the classes in nats.

    Args:
        network: returns (B, classes) logits.
        class_weights: (classes,) weight of a sample by its class; None where all weigh 1.
        smoothing: share of each label that is spread over all classes.

    """

    class_weights: Tensor | None

    def __init__(self, network: nn.Module, class_weights: Tensor | None = None, smoothing: float = 0.0) -> None:
        super().__init__(network)
        self.register_buffer("class_weights", class_weights, persistent=False)  # the job has them already
        self._smoothing = smoothing

    def weights(self, batch: BatchLike) -> Tensor | None:
        """Multiply the weight of each sample by that of its class."""
        if self.class_weights is None:
            return batch.weight
        weights: Tensor = self.class_weights[batch.target]
        return weights if batch.weight is None else weights * batch.weight

    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B,) losses of (B, classes) logits."""
        return functional.cross_entropy(output, batch.target, reduction="none", label_smoothing=self._smoothing)

    def total(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return the sum of `losses`; a class that overrides one overrides both."""
        return functional.cross_entropy(output, batch.target, reduction="sum", label_smoothing=self._smoothing)


def weight_of_classes(training: Training, classes: tuple[str, ...]) -> Tensor | None:
    """Return (classes,) weights; None where all weigh 1."""
    if training.class_weights is None:
        return None
    assert isinstance(training.class_weights, dict)  # `balanced` is written out once the data is known
    return torch.tensor([training.class_weights.get(name, 1.0) for name in classes])


class Classification(Task):
    """A class for each sample."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the cross-entropy."""
        return CrossEntropy(network, weight_of_classes(training, self.classes), training.label_smoothing)

    def metrics(self, samples: int) -> Metrics:
        """Accuracy over all samples; F1 and one-against-rest AUROC as means over the classes."""
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score  # seconds to import

        from stoker.tasks.defined_metrics import Auroc

        count = len(self.classes)
        thresholds = THRESHOLDS if samples * count > MOST_SCORES else None
        return Collected(
            {
                "accuracy": MulticlassAccuracy(count, average="micro", validate_args=False),
                "f1": MulticlassF1Score(count, average="macro", validate_args=False),
                "auroc": Auroc(count, average="none", thresholds=thresholds, validate_args=False),
            },
            _probabilities,
        )

    def review(self) -> Review:
        """Gather the confusion matrix and the samples whose class was least expected."""
        return ConfusionReview(self.classes)

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the class, and the probability of each."""
        probabilities = outputs.softmax(dim=1)
        chosen = [self.classes[number] for number in probabilities.argmax(dim=1).tolist()]
        columns = {f"probability/{name}": probabilities[:, i].numpy() for i, name in enumerate(self.classes)}
        return Answers(pd.DataFrame({"prediction": pd.Series(chosen, dtype=object), **columns}))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes to tell apart."""
        return self.fields.signature.classes


def _probabilities(outputs: Tensor) -> Tensor:
    return outputs.softmax(dim=1)


class ConfusionReview(Review):
    """How often each class was taken for each, how well each is found, and the samples with the largest losses."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._counts = Sums(len(classes), len(classes), dtype=torch.int64)
        self._ranks = ClassRanks(classes)
        self._worst = Worst()
        super().__init__(self._counts, self._ranks, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch."""
        pairs = (batch.target.cpu(), output.argmax(dim=1).cpu())
        self._counts.values.index_put_(pairs, torch.ones(len(pairs[0]), dtype=torch.int64), accumulate=True)
        losses = functional.cross_entropy(output, batch.target, reduction="none")
        self._ranks.update(output.softmax(dim=1), batch.target)
        self._worst.update(losses, output, batch.target, ids)

    def figures(self) -> dict[str, "Figure"]:
        """Draw the confusion matrix, and precision and recall of each class."""
        confusion = confusion_figure(self._counts.values, self._classes)
        return {"confusion-matrix": confusion, "precision-recall": self._ranks.figure()}

    def tables(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """Return precision, recall and F1 of each class."""
        return {"classes": class_rows(self._counts.values, self._classes, self._ranks.average_precision())}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Describe the samples whose class was least expected."""
        rows = []
        for shown in self._worst.samples:
            probability, chosen = shown.output.softmax(dim=0).max(dim=0)
            assert shown.target is not None
            rows.append(
                {
                    "id": shown.id,
                    "target": self._classes[int(shown.target)],
                    "prediction": self._classes[int(chosen)],
                    "probability": round(float(probability), 4),
                    "loss": round(shown.loss, 4),
                }
            )
        return rows

    def shown(self) -> Sequence[Shown]:
        """Return the samples behind the rows."""
        return self._worst.samples


def confusion_figure(counts: Tensor, classes: tuple[str, ...]) -> "Figure":
    """Draw how often each class (row) was taken for each class (column)."""
    from matplotlib.figure import Figure

    side = max(4.0, min(12.0, 1.5 + 0.5 * len(classes)))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="prediction", ylabel="true class", title=f"Confusion matrix, {int(counts.sum())} samples")
    if len(classes) <= WRITTEN_CLASSES:
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        for row, column in torch.nonzero(counts).tolist():
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=colour, fontsize=8)
    return figure
