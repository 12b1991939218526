"""The gradient of a global batch: of all workers, whole or in micro-batches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stoker.datasets.batches import Step
from stoker.tasks.objective import Loss, Objective
from stoker.training.parallel import Workers, arithmetic

Sums = dict[str, tuple[Tensor, Tensor]]
"""Total and weight of each term."""


def accumulate(
    objective: Objective,
    parameters: Sequence[nn.Parameter],
    batch: Step,
    turn: str,
    precision: str,
    workers: Workers,
) -> Sums:
    """Leave the gradient of the global batch in the parameters of a turn, and in no others; return each term.

    Sums are divided by what they count over the whole batch, so that micro-batches and workers of any number give the
    same gradient.
    """
    compute = _accumulate_micro_batches if len(batch.micro_batches) > 1 else _accumulate_whole
    exchange = _Exchange(workers)
    compute(objective, parameters, batch, turn, precision, exchange)
    return exchange.finish(parameters)


def mean(total: Tensor, weight: Tensor) -> Tensor:
    """Divide a sum by what it counts."""
    return total / _divisor(weight)


def _accumulate_whole(
    objective: Objective,
    parameters: Sequence[nn.Parameter],
    batch: Step,
    turn: str,
    precision: str,
    exchange: "_Exchange",
) -> None:
    """Seed the backward pass of each term with one over what it counts: no division in the graph, one pass for all."""
    ((micro_batch, noise),) = batch.micro_batches
    with arithmetic(micro_batch.ids.device, precision):
        losses = objective(micro_batch, turn, noise)
    counts = exchange.counts({term: _detached(loss) for term, loss in losses.items()})
    # To name the parameters costs time, and is needed only where a turn's loss reaches those of another.
    torch.autograd.backward(
        [loss.total for loss in losses.values()],
        grad_tensors=[counts[term].reciprocal().to(loss.total.dtype) for term, loss in losses.items()],
        inputs=parameters if len(objective.groups()) > 1 else None,
    )


def _accumulate_micro_batches(
    objective: Objective,
    parameters: Sequence[nn.Parameter],
    batch: Step,
    turn: str,
    precision: str,
    exchange: "_Exchange",
) -> None:
    """Keep one gradient for each term until all of what it counts is known."""
    gradients: dict[str, list[Tensor | None]] = {}
    sums: Sums = {}
    for micro_batch, noise in batch.micro_batches:
        with arithmetic(micro_batch.ids.device, precision):
            losses = objective(micro_batch, turn, noise)
        for term, loss in losses.items():
            parts = torch.autograd.grad(loss.total, parameters, retain_graph=len(losses) > 1, allow_unused=True)
            before = gradients.get(term, [None] * len(parts))
            gradients[term] = [_added(old, new) for old, new in zip(before, parts, strict=True)]
            total, weight = _detached(loss)
            sums[term] = (sums[term][0] + total, sums[term][1] + weight) if term in sums else (total, weight)
    for term, count in exchange.counts(sums).items():
        for parameter, gradient in zip(parameters, gradients[term], strict=True):
            if gradient is not None:
                parameter.grad = _added(parameter.grad, gradient / count)


class _Exchange:
    """What the workers tell each other about one turn, in as few messages as its terms allow.

    What several terms count must be known before their gradients can be added. With one term, count and gradient travel
    together, and the sum of the gradients is divided afterwards.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._sums: Sums = {}
        self._divided = True
        """Whether gradients are divided by the counts of all workers already."""

    def counts(self, sums: Sums) -> dict[str, Tensor]:
        """Take this worker's totals and weights; return what the gradient of each term is to be divided by."""
        self._sums = sums
        self._divided = self._workers.count == 1 or len(sums) > 1
        if not self._divided:
            return {term: torch.ones_like(weight) for term, (_, weight) in sums.items()}
        if self._workers.count > 1:
            self._sums = _unpacked(self._workers.sum(_packed(sums)), sums)
        return {term: _divisor(weight) for term, (_, weight) in self._sums.items()}

    def finish(self, parameters: Sequence[nn.Parameter]) -> Sums:
        """Add the gradients up over the workers; return total and weight of each term over all of them."""
        if self._workers.count == 1:
            return self._sums
        together = self._workers.sum_gradients(parameters, _packed(self._sums))
        if not self._divided:
            self._sums = _unpacked(together, self._sums)
            ((_, weight),) = self._sums.values()
            torch._foreach_div_([p.grad for p in parameters if p.grad is not None], _divisor(weight))
        return self._sums


def _detached(loss: Loss) -> tuple[Tensor, Tensor]:
    return loss.total.detach(), loss.weight.detach()


def _added(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    """Add gradients, of which either may be absent."""
    if old is None or new is None:
        return new if old is None else old
    return old + new


def _packed(sums: Sums) -> Tensor:
    return torch.stack([value.float() for pair in sums.values() for value in pair])


def _unpacked(packed: Tensor, like: Sums) -> Sums:
    values = iter(packed.unbind())
    return {term: (next(values), next(values)) for term in like}


def _divisor(weight: Tensor) -> Tensor:
    """Return the weight; where nothing is counted, the sum is 0 and must stay so."""
    return weight.clamp(min=torch.finfo(weight.dtype).tiny)
