"""What is shown of written texts: scores by the length of the source, and those that were least expected."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.tasks.metrics import Shown, Worst
from stoker.tasks.objective import BatchLike
from stoker.tasks.task import Review
from stoker.tasks.writing.text_metrics import TextMetrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_DOUBLING = 2
"""Groups of sources from a length to twice that length."""


class TextReview(Review):
    """The loss and the task's first score by the length of the source, and the texts with the largest mean loss.

    Args:
        source: of the texts that are read.
        target: of the texts that are written.
        scores: makes what compares them with those of the data.

    """

    def __init__(self, source: TextField, target: TargetTextField, scores: Callable[[], TextMetrics]) -> None:
        self._source, self._target, self._scores = source, target, scores
        groups = _group(source.length) + 1
        self._losses = torch.zeros(2, groups, dtype=torch.float64)  # sums, and samples
        self._scored: dict[int, TextMetrics] = {}
        self._worst = Worst()

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch of (B, 1 + n) losses and written tokens."""
        read, losses = batch.inputs[self._source.name], output[:, 0]
        groups = torch.tensor([_group(int(length)) for length in (read != PADDING).sum(dim=1).clamp(min=1)])
        self._losses[0].index_add_(0, groups, losses.double().cpu())
        self._losses[1].index_add_(0, groups, torch.ones(len(groups), dtype=torch.float64))
        for group in sorted(set(groups.tolist())):
            rows = (groups == group).nonzero().flatten().to(output.device)
            self._scored.setdefault(group, self._scores()).update(output[rows], _Targets(batch.target[rows]))
        width = max(read.shape[1], output.shape[1] - 1)
        both = [functional.pad(each.long(), (0, width - each.shape[1])) for each in (read, output[:, 1:])]
        self._worst.update(losses, torch.stack(both, dim=1), batch.target, ids)

    def state(self) -> tuple[Tensor, dict[int, Any], tuple[int, list[Shown]]]:
        """Return losses, scores and texts."""
        return self._losses, {group: each.state() for group, each in self._scored.items()}, self._worst.state()

    def merge(self, state: tuple[Tensor, dict[int, Any], tuple[int, list[Shown]]]) -> None:
        """Take in another worker's."""
        self._losses += state[0]
        for group, scored in state[1].items():
            self._scored.setdefault(group, self._scores()).merge(scored)
        self._worst.merge(state[2])

    def figures(self) -> dict[str, "Figure"]:
        """Draw loss and score by the length of the source."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        groups = sorted(self._scored)
        name = self._scores().names[0]
        axes.plot(groups, [self._scored[group].compute()[name] for group in groups], "o-", color="tab:blue")
        axes.set_xticks(groups, [_label(group) for group in groups])
        axes.set(xlabel=f"{self._target.tokenizer.unit} of the source", ylim=(0, None))
        axes.set_ylabel(name, color="tab:blue")
        axes.set_title(f"By the length of the source, {int(self._losses[1].sum())} samples")
        others = axes.twinx()
        losses = (self._losses[0] / self._losses[1].clamp(min=1))[groups]
        others.plot(groups, losses.numpy(), "s--", color="tab:orange")
        others.set_ylim(0, None)
        others.set_ylabel("loss of a token", color="tab:orange")
        return {"by-source-length": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return each source with the text of the data and the written one."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            read, written = shown.output.tolist()
            rows.append(
                {
                    "id": shown.id,
                    "source": self._source.tokenizer.decode(read),
                    "target": self._target.text(shown.target.tolist()),
                    "prediction": self._target.text([number for number in written if number != PADDING]),
                    "loss": round(shown.loss, 4),
                }
            )
        return rows


class _Targets:
    """The targets of a part of a batch."""

    def __init__(self, target: Tensor) -> None:
        self.inputs: Mapping[str, Tensor] = {}
        self.target = target
        self.weight = None
        self.also = None
        self.rows = slice(0, len(target))

    def __len__(self) -> int:
        return len(self.target)


def _group(length: int) -> int:
    return math.floor(PER_DOUBLING * math.log2(length))


def _label(group: int) -> str:
    """Return the lengths of a group."""
    first, last = (math.ceil(2 ** (each / PER_DOUBLING)) for each in (group, group + 1))
    return str(first) if last - first <= 1 else f"{first}-{last - 1}"
