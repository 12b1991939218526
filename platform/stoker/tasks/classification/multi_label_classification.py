"""Any number of tags for each sample."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.datasets.fields.tags import TagsField
from stoker.datasets.records import Records
from stoker.job.training import Training
from stoker.tasks.classification.classification import MOST_SCORES, THRESHOLDS, weight_of_classes
from stoker.tasks.metrics import Collected, Metrics, Shown, Worst
from stoker.tasks.objective import BatchLike, Count, Objective, Supervised
from stoker.tasks.task import Answers, Review, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN_TAGS = 40


class BinaryCrossEntropy(Supervised):
    """Cross-entropy of the presence of each tag in nats; it counts the tags of every sample, present or not.

    Args:
        network: returns (B, tags) logits.
        tags: how many there are.
        tag_weights: (tags,) weight of the loss where a tag is present; None where all weigh 1.

    """

    tag_weights: Tensor | None

    def __init__(self, network: nn.Module, tags: int, tag_weights: Tensor | None = None) -> None:
        super().__init__(network)
        self.register_buffer("tag_weights", tag_weights, persistent=False)  # the job has them already
        self._tags = tags

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the tags to decide on, or their samples' weights."""
        return {"loss": super().counts(batch, turn)["loss"] * self._tags}

    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Return (B,) losses of (B, tags) logits, sums over the tags."""
        return _losses(output, batch.target, self.tag_weights)


def _losses(output: Tensor, target: Tensor, tag_weights: Tensor | None = None) -> Tensor:
    each = functional.binary_cross_entropy_with_logits(
        output, target.to(output.dtype), pos_weight=tag_weights, reduction="none"
    )
    return each.sum(dim=1)


class MultiLabelClassification(Task):
    """The tags of each sample: those with a probability above one half."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the binary cross-entropy."""
        return BinaryCrossEntropy(network, len(self.target.tags), weight_of_classes(training, self.target.tags))

    def metrics(self, samples: int) -> Metrics:
        """F1 over all decisions and as a mean over the tags, samples with all tags right, mean average precision."""
        return TagMetrics(len(self.target.tags), samples)

    def review(self) -> Review:
        """Gather the F1 of each tag, and the samples whose tags were least expected."""
        return TagReview(self.target)

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the tags in one text, and the probability of each."""
        probabilities = outputs.sigmoid()
        chosen = [self.target.names(present) for present in _present(outputs).tolist()]
        columns = {f"probability/{tag}": probabilities[:, i].numpy() for i, tag in enumerate(self.target.tags)}
        return Answers(pd.DataFrame({"prediction": pd.Series(chosen, dtype=object), **columns}))

    @property
    def target(self) -> TagsField:
        """The field that is predicted."""
        assert isinstance(self.fields.target, TagsField)
        return self.fields.target


def _present(outputs: Tensor) -> Tensor:
    return outputs > 0  # a probability above one half


class TagCounts:
    """How often each tag was predicted, was there, and both: all that F1 needs."""

    def __init__(self, tags: int) -> None:
        self.both, self.predicted, self.true = torch.zeros(3, tags, dtype=torch.int64)

    def update(self, present: Tensor, target: Tensor) -> None:
        """Take in two (B, tags) tables of what is present."""
        true = target.bool()
        self.both += (present & true).sum(dim=0).cpu()
        self.predicted += present.sum(dim=0).cpu()
        self.true += true.sum(dim=0).cpu()

    def state(self) -> Tensor:
        """Return (3, tags) counts."""
        return torch.stack([self.both, self.predicted, self.true])

    def merge(self, state: Tensor) -> None:
        """Add another worker's counts."""
        self.both, self.predicted, self.true = self.state() + state

    def f1(self) -> Tensor:
        """Return (tags,) F1; NaN for a tag that is nowhere, neither there nor predicted."""
        scores: Tensor = 2 * self.both.double() / (self.predicted + self.true)
        return scores

    def f1_micro(self) -> Tensor:
        """Return the scalar F1 over all tags taken together; NaN where no tag is there or predicted."""
        score: Tensor = 2 * self.both.sum().double() / (self.predicted + self.true).sum()
        return score


class TagMetrics(Metrics):
    """F1, exact matches, and the average precision of the ranking by probability."""

    def __init__(self, tags: int, samples: int) -> None:
        from stoker.tasks.defined_metrics import AveragePrecision  # seconds to import

        thresholds = THRESHOLDS if samples * tags > MOST_SCORES else None
        precision = AveragePrecision(tags, average="none", thresholds=thresholds, validate_args=False)
        self._ranking = Collected({"average_precision": precision}, torch.sigmoid)
        self._counts = TagCounts(tags)
        self._exact, self._samples = 0, 0

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, tags) logits, and (B, tags) zeros and ones as the target."""
        present = _present(output)
        self._counts.update(present, batch.target)
        self._exact += int((present == batch.target.bool()).all(dim=1).sum())
        self._samples += len(present)
        self._ranking.update(output, batch)

    def state(self) -> tuple[Tensor, int, int, Any]:
        """Return counts, and the scores behind the average precision."""
        return self._counts.state(), self._exact, self._samples, self._ranking.state()

    def merge(self, state: tuple[Tensor, int, int, Any]) -> None:
        """Take in another worker's."""
        counts, exact, samples, ranking = state
        self._counts.merge(counts)
        self._exact += exact
        self._samples += samples
        self._ranking.merge(ranking)

    def compute(self) -> dict[str, float]:
        """Return each metric; a tag that is nowhere counts for none of them."""
        return {
            "f1_micro": float(self._counts.f1_micro()),
            "f1_macro": float(self._counts.f1().nanmean()),
            "exact_match": self._exact / self._samples if self._samples else float("nan"),
            **self._ranking.compute(),
        }


class TagReview(Review):
    """How well each tag was predicted, and the samples with the largest losses."""

    def __init__(self, target: TagsField) -> None:
        self._target = target
        self._counts = TagCounts(len(target.tags))
        self._worst = Worst()
        super().__init__(self._counts, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch."""
        self._counts.update(_present(output), batch.target)
        self._worst.update(_losses(output, batch.target) / output.shape[1], output, batch.target, ids)

    def figures(self) -> dict[str, "Figure"]:
        """Draw the F1 of the most frequent tags."""
        from matplotlib.figure import Figure

        frequent = self._counts.true.argsort(descending=True, stable=True)[:DRAWN_TAGS].flip(0)
        names = [f"{self._target.tags[i]} ({int(self._counts.true[i])})" for i in frequent.tolist()]
        figure = Figure(figsize=(7, 1.5 + 0.25 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(names, self._counts.f1()[frequent].nan_to_num().tolist())
        axes.set(xlim=(0, 1), xlabel="F1", title=f"F1 by tag (times it is there), {self._worst.seen} samples")
        return {"f1-by-tag": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Describe the samples whose tags were least expected."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            target = self._target.names(shown.target.bool().tolist())
            prediction = self._target.names(_present(shown.output).tolist())
            rows.append({"id": shown.id, "target": target, "prediction": prediction, "loss": round(shown.loss, 4)})
        return rows

    def shown(self) -> Sequence[Shown]:
        """Return the samples behind the rows."""
        return self._worst.samples
