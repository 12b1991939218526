"""What is gathered while samples are run through a network."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stoker.datasets.feeding.batch import Batch
from stoker.tasks.metrics import Metrics
from stoker.tasks.task import Review


@dataclass
class Measures:
    """What a pass over samples gathers."""

    metrics: Metrics
    expensive: Metrics | None
    review: Review | None
    quick: bool
    """Whether training waits for expensive metrics and review."""
    measured: bool = False
    """Whether the network had outputs."""

    @property
    def needs_outcome(self) -> bool:
        """Return whether more is needed of a batch than its outputs."""
        return self.expensive is not None or self.review is not None

    def update(self, output: Tensor, outcome: Tensor | None, batch: Batch) -> None:
        """Take in a batch."""
        self.measured = True
        self.metrics.update(output.float(), batch)
        if outcome is not None and self.expensive is not None:
            self.expensive.update(outcome.float(), batch)
        if outcome is not None and self.review is not None:
            self.review.update(outcome.float(), batch, batch.ids)

    def state(self) -> tuple[Any, Any, Any] | None:
        """Return all that was taken in; None for no outputs."""
        if not self.measured:
            return None
        return self.metrics.state(), self.expensive and self.expensive.state(), self.review and self.review.state()

    def merge(self, state: tuple[Any, Any, Any] | None) -> None:
        """Take in the state of another worker."""
        if state is None:
            return
        self.measured = True
        for mine, theirs in zip((self.metrics, self.expensive, self.review), state, strict=True):
            if mine is not None and theirs is not None:
                mine.merge(theirs)

    def compute(self) -> dict[str, float]:
        """Return all metrics."""
        if not self.measured:
            return {}
        return {**self.metrics.compute(), **(self.expensive.compute() if self.expensive else {})}
