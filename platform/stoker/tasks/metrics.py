"""Metrics that stream: they take batch after batch, and merge with those of other workers by their states."""

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from stoker.tasks.objective import BatchLike

KEPT = 16
"""Samples with the largest losses that are kept to be shown."""


class Metrics(ABC):
    """Some metrics of one evaluation."""

    @abstractmethod
    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in a batch: float32 outputs of the network, and the samples."""

    @abstractmethod
    def state(self) -> Any:
        """Return all that was taken in, as plain values and CPU tensors that can be pickled."""

    @abstractmethod
    def merge(self, state: Any) -> None:
        """Take in the state of another worker."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return each metric; NaN where the samples do not define it."""


class Together(Metrics):
    """Several metrics of the same outputs, or none."""

    def __init__(self, *metrics: Metrics) -> None:
        self._metrics = metrics

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in a batch."""
        for each in self._metrics:
            each.update(output, batch)

    def state(self) -> list[Any]:
        """Return the state of each."""
        return [each.state() for each in self._metrics]

    def merge(self, state: list[Any]) -> None:
        """Take in another worker's states."""
        for each, other in zip(self._metrics, state, strict=True):
            each.merge(other)

    def compute(self) -> dict[str, float]:
        """Return the values of all."""
        return {name: value for each in self._metrics for name, value in each.compute().items()}


class Collected(Metrics):
    """Metrics of torchmetrics.

    Args:
        metrics: by name.
        measured: turns outputs of the network into what they compare with the target.

    """

    def __init__(self, metrics: dict[str, Any], measured: Callable[[Tensor], Tensor]) -> None:
        self._metrics = metrics
        self._measured = measured
        for metric in metrics.values():
            metric.distributed_available_fn = _alone  # workers are merged by `merge`

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in a batch."""
        measured = self._measured(output)
        for metric in self._metrics.values():
            metric.to(measured.device).update(measured, batch.target)

    def state(self) -> dict[str, dict[str, Any]]:
        """Return the states by metric."""
        return {name: _plain(metric.metric_state) for name, metric in self._metrics.items()}

    def merge(self, state: dict[str, dict[str, Any]]) -> None:
        """Take in another worker's states."""
        for name, metric in self._metrics.items():
            if metric.update_called:
                metric.merge_state(state[name])
            else:
                for key, value in state[name].items():
                    setattr(metric, key, value)
                metric._update_count = 1  # merge_state refuses a metric that has seen nothing

    def compute(self) -> dict[str, float]:
        """Return each value."""
        return {name: float(metric.compute()) for name, metric in self._metrics.items()}


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {
        key: [each.cpu() for each in value] if isinstance(value, list) else value.cpu() for key, value in state.items()
    }


def _alone() -> bool:
    return False


class Gathered(Protocol):
    """What is gathered of an evaluation, and merges with that of other workers."""

    def state(self) -> Any:
        """Return all that was taken in, as plain values and CPU tensors that can be pickled."""

    def merge(self, state: Any) -> None:
        """Take in the state of another worker."""


class Sums:
    """Numbers that are added up over batches and workers.

    Args:
        shape: of the numbers.
        dtype: of the numbers.

    """

    def __init__(self, *shape: int, dtype: torch.dtype = torch.float64) -> None:
        self.values = torch.zeros(shape, dtype=dtype)

    def add(self, values: Tensor) -> None:
        """Add numbers of a batch."""
        self.values += values.cpu()

    def state(self) -> Tensor:
        """Return the sums."""
        return self.values

    def merge(self, state: Tensor) -> None:
        """Add another worker's."""
        self.values += state


@dataclass(frozen=True)
class Shown:
    """A sample that is shown in the record, with what the network made of it."""

    id: int
    loss: float
    output: Tensor
    """On the CPU."""
    target: Tensor | None


class Worst:
    """The samples with the largest losses so far.

    Args:
        kept: how many.

    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self.seen = 0
        """Samples of which these are the worst."""
        self.samples: list[Shown] = []
        """Worst first."""

    def update(self, losses: Tensor, outputs: Tensor, target: Tensor | None, ids: Tensor) -> None:
        """Take in a batch: (B,) losses, outputs, targets and ids."""
        self.seen += len(losses)
        values, numbers = losses.tolist(), ids.tolist()
        places = heapq.nsmallest(self._kept, range(len(values)), key=lambda place: (-values[place], numbers[place]))
        floor = self.samples[-1].loss if len(self.samples) == self._kept else float("-inf")
        fresh = [
            Shown(numbers[i], values[i], outputs[i].cpu(), None if target is None else target[i].cpu())
            for i in places
            if values[i] >= floor
        ]
        if fresh:
            self._take(fresh)

    def state(self) -> tuple[int, list[Shown]]:
        """Return how many samples there were, and the worst."""
        return self.seen, self.samples

    def merge(self, state: tuple[int, list[Shown]]) -> None:
        """Take in another worker's."""
        self.seen += state[0]
        self._take(state[1])

    def _take(self, samples: list[Shown]) -> None:
        """Take in samples of another batch or worker; equals are told apart by their ids."""
        together = sorted([*self.samples, *samples], key=lambda shown: (-shown.loss, shown.id))
        self.samples = together[: self._kept]
