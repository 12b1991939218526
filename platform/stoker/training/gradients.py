"""The gradient of a global batch, whole or in micro-batches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stoker.datasets.batches import Step
from stoker.tasks.objective import Objective
from stoker.training.parallel import arithmetic

Sums = dict[str, tuple[Tensor, Tensor]]
"""Total and weight of each term."""


def accumulate(
    objective: Objective, parameters: Sequence[nn.Parameter], batch: Step, turn: str, precision: str
) -> Sums:
    """Leave the gradient of the global batch in the parameters of a turn, and in no others; return each term.

    Sums are divided by what they count over the whole batch, so that micro-batches of any size give the same gradient.
    """
    if len(batch.micro_batches) > 1:
        return _accumulate_micro_batches(objective, parameters, batch, turn, precision)
    ((micro_batch, noise),) = batch.micro_batches
    with arithmetic(micro_batch.ids.device, precision):
        losses = objective(micro_batch, turn, noise)
    # Sums seeded with one over what they count give the gradient of the means, without a division in the graph.
    # To name the parameters costs time, and is needed only where a turn's loss reaches those of another.
    torch.autograd.backward(
        [loss.total for loss in losses.values()],
        grad_tensors=[_divisor(loss.weight).reciprocal() for loss in losses.values()],
        inputs=parameters if len(objective.groups()) > 1 else None,
    )
    return {term: (loss.total.detach(), loss.weight) for term, loss in losses.items()}


def mean(total: Tensor, weight: Tensor) -> Tensor:
    """Divide a sum by what it counts."""
    return total / _divisor(weight)


def _accumulate_micro_batches(
    objective: Objective, parameters: Sequence[nn.Parameter], batch: Step, turn: str, precision: str
) -> Sums:
    """Keep one gradient for each term until all of what it counts is known."""
    gradients: dict[str, list[Tensor]] = {}
    sums: Sums = {}
    for micro_batch, noise in batch.micro_batches:
        with arithmetic(micro_batch.ids.device, precision):
            losses = objective(micro_batch, turn, noise)
        for term, loss in losses.items():
            parts = torch.autograd.grad(loss.total, parameters, retain_graph=len(losses) > 1, materialize_grads=True)
            if term not in sums:
                gradients[term], sums[term] = list(parts), (loss.total.detach(), loss.weight)
            else:
                torch._foreach_add_(gradients[term], parts)
                total, weight = sums[term]
                sums[term] = (total + loss.total.detach(), weight + loss.weight)
    for term, (_, weight) in sums.items():
        torch._foreach_div_(gradients[term], _divisor(weight))
        for parameter, gradient in zip(parameters, gradients[term], strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    return sums


def _divisor(weight: Tensor) -> Tensor:
    """Return the weight; where nothing is counted, the sum is 0 and must stay so."""
    return weight.clamp(min=torch.finfo(weight.dtype).tiny)
