"""Perplexity of tokens."""

import torch
from torch import Tensor

from stoker.datasets.tokens.tokenizer import PADDING
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike


class Perplexity(Metrics):
    """How many equally likely tokens a network chooses from, on average: e to the loss."""

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, length) losses."""
        self._total += float(output.double().sum())
        self._count += int((batch.target[:, : output.shape[1]] != PADDING).sum())

    def state(self) -> tuple[float, int]:
        """Return total and count."""
        return self._total, self._count

    def merge(self, state: tuple[float, int]) -> None:
        """Add another worker's."""
        self._total, self._count = self._total + state[0], self._count + state[1]

    def compute(self) -> dict[str, float]:
        """Return the perplexity; NaN for no tokens."""
        mean = torch.tensor(self._total / self._count if self._count else float("nan"), dtype=torch.float64)
        return {"perplexity": float(mean.exp())}
