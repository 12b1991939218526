"""The gradient of a global batch: of all workers, whole or in micro-batches."""

from functools import lru_cache

import torch
from torch import Tensor

from stoker.datasets.batches import Step
from stoker.tasks.objective import Count, Objective
from stoker.training.parallel import GradientReducer, PendingSum, Workers, arithmetic

Sums = dict[str, tuple[Tensor, Count]]
"""Total and count of each term over the global batch."""


def accumulate(
    objective: Objective, reducer: GradientReducer, batch: Step, turn: str, precision: str, workers: Workers
) -> Sums:
    """Compute the gradient of the global batch for the parameters of a turn, and no others; return each term.

    The counts of the terms follow from the data and are known before the forward pass. Each term is divided by its
    count over the global batch, so that any number of micro-batches and workers gives the same gradient with one
    backward pass per micro-batch. The gradients are summed over the workers while the last pass still runs.
    """
    pending = _Counts(objective, batch, turn, workers)
    # Naming the parameters costs time, and is needed only where a turn's loss reaches the parameters of another.
    inputs = reducer.parameters if len(objective.groups()) > 1 else None
    totals: dict[str, Tensor] = {}
    last = len(batch.micro_batches) - 1
    for number, (micro_batch, noise) in enumerate(batch.micro_batches):
        with arithmetic(micro_batch.device, precision):
            losses = objective(micro_batch, turn, noise)
        counts = pending.wait()
        if number == last:
            reducer.begin()
        torch.autograd.backward(
            list(losses.values()),
            grad_tensors=[_share(counts[term], loss) for term, loss in losses.items()],
            inputs=inputs,
        )
        for term, loss in losses.items():
            totals[term] = totals[term] + loss.detach() if term in totals else loss.detach()
    summed = reducer.finish(totals)
    counts = pending.wait()
    return {term: (total, counts[term]) for term, total in summed.items()}


def mean(total: Tensor, count: Count) -> Tensor:
    """Divide a total by its count; a count of 0 gives 0."""
    return total / _divisor(count) if isinstance(count, Tensor) else total / (count or 1.0)


class _Counts:
    """The count of each term over all micro-batches and workers, summed over the workers while they compute."""

    def __init__(self, objective: Objective, batch: Step, turn: str, workers: Workers) -> None:
        self._counts: dict[str, Count] = {}
        for micro_batch, _ in batch.micro_batches:
            for term, count in objective.counts(micro_batch, turn).items():
                self._counts[term] = self._counts[term] + count if term in self._counts else count
        self._sum: PendingSum | None = None
        if workers.count > 1:
            self._sum = workers.start_sum([float(count) for count in self._counts.values()])

    def wait(self) -> dict[str, Count]:
        """Return the counts once they are summed."""
        if self._sum is not None:
            self._counts = dict(zip(self._counts, self._sum.wait(), strict=True))
            self._sum = None
        return self._counts


def _share(count: Count, loss: Tensor) -> Tensor:
    """Return the reciprocal of a count, the seed of a term's backward pass: no division in the graph."""
    if isinstance(count, Tensor):
        return _divisor(count).reciprocal().to(loss.dtype)
    return _reciprocal(count or 1.0, loss.dtype, loss.device)


@lru_cache(maxsize=256)
def _reciprocal(count: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the reciprocal of a constant count, created once instead of at each step."""
    with torch.inference_mode(mode=False):
        return torch.tensor(count, dtype=dtype, device=device).reciprocal()


def _divisor(count: Tensor) -> Tensor:
    return count.clamp(min=torch.finfo(count.dtype).tiny)
