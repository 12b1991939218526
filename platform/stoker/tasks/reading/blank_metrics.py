"""How well hidden words are found: metrics, and what is shown of an evaluation."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stoker.datasets.fields.texts.text import TextField
from stoker.tasks.metrics import Metrics, Sums, Worst
from stoker.tasks.objective import BatchLike
from stoker.tasks.reading.blanks import NOT_HIDDEN
from stoker.tasks.sheet import Marked
from stoker.tasks.task import Review

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class HiddenTokens(Metrics):
    """Perplexity and accuracy of the tokens that were hidden."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._sums = Sums(3)  # of losses, right guesses and tokens

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, length, 2) guesses and losses."""
        guesses, losses = output[..., 0], output[..., 1]
        hidden = guesses != NOT_HIDDEN
        right = hidden & (guesses == batch.inputs[self._name])
        self._sums.add(torch.stack([losses.double().sum(), right.double().sum(), hidden.double().sum()]))

    def state(self) -> Tensor:
        """Return the sums."""
        return self._sums.state()

    def merge(self, state: Tensor) -> None:
        """Add another worker's."""
        self._sums.merge(state)

    def compute(self) -> dict[str, float]:
        """Return both; NaN where nothing was hidden."""
        losses, right, tokens = self._sums.values.unbind()
        return {"perplexity": float((losses / tokens).exp()), "accuracy": float(right / tokens)}


class FilledReview(Review):
    """How often hidden words are found, by the number of the token in the vocabulary, and the least expected texts."""

    def __init__(self, text: TextField, marked: Callable[[Tensor, Tensor], Marked]) -> None:
        self._marked = marked
        self._name = text.name
        self._counts = Sums(2, text.tokenizer.size, dtype=torch.int64)  # right ones, and all
        self._worst = Worst()
        super().__init__(self._counts, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch."""
        tokens, guesses = batch.inputs[self._name], output[..., 0]
        hidden = guesses != NOT_HIDDEN
        right = tokens[hidden & (guesses == tokens)]
        size = self._counts.values.shape[1]
        self._counts.add(torch.stack([torch.bincount(each, minlength=size) for each in (right, tokens[hidden])]))
        means = output[..., 1].sum(dim=1) / hidden.sum(dim=1).clamp(min=1)
        self._worst.update(means, output[..., 0], tokens, ids)

    def figures(self) -> dict[str, "Figure"]:
        """Draw the share of found words, from frequent to rare ones."""
        from matplotlib.figure import Figure

        right, every = self._counts.values[:, self._counts.values[1].argsort(descending=True)]
        there = int((every > 0).sum())
        edges = torch.unique(torch.logspace(0, torch.tensor(max(there, 1)).log10(), 12).long().clamp(max=there))
        bounds = [0, *edges.tolist()]
        shares = [float(right[a:b].sum() / every[a:b].sum().clamp(min=1)) for a, b in pairwise(bounds)]
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(range(len(shares)), shares)
        axes.set_xticks(range(len(shares)), [f"{b:,}" for b in bounds[1:]], rotation=45)
        axes.set(xlabel="words, the most frequent first, up to rank", ylabel="share that is found", ylim=(0, 1))
        axes.set_title(f"Hidden words by frequency, {self._worst.seen} samples")
        return {"found-by-frequency": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return the texts with their hidden words and the guesses."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            marked = self._marked(shown.target, shown.output.long())
            rows.append({"id": shown.id, "text": marked.text, "loss": round(shown.loss, 4)})
        return rows
