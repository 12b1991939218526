"""The gradient of a global batch: of all workers, whole or in micro-batches."""

from functools import lru_cache

import torch
from torch import Tensor

from stoker.datasets.feeding.batches import Step
from stoker.tasks.objective import Count, Objective
from stoker.training.parallel import Workers, arithmetic
from stoker.training.reduction import GradientReducer, reciprocal
from stoker.training.sharding import ShardedGradients

Sums = dict[str, tuple[Tensor, Count]]
"""Total and count of each term over the global batch."""


def accumulate(
    objective: Objective,
    reducer: GradientReducer | ShardedGradients,
    batch: Step,
    turn: str,
    precision: str,
    workers: Workers,
) -> Sums:
    """Compute the gradient of the global batch for the parameters of a turn, and no others; return each term.

    Each term is divided by its count over the global batch, so that any number of micro-batches and workers gives the
    same gradient with one backward pass per micro-batch. The gradients are summed over the workers while the last pass
    still runs. Counts follow from the data and are known before the forward pass; that of a single term is summed with
    the gradients, which are divided by it afterwards.
    """
    counts = _counts(objective, batch, turn)
    travels = reducer.defers_division and len(counts) == 1
    pending = (
        workers.start_sum([float(count) for count in counts.values()]) if not travels and workers.count > 1 else None
    )
    # Naming the parameters costs time, and is needed only where a turn's loss reaches the parameters of another.
    inputs = reducer.parameters if len(objective.groups()) > 1 else None
    totals: dict[str, Tensor] = {}
    last = len(batch.micro_batches) - 1
    for number, (micro_batch, noise) in enumerate(batch.micro_batches):
        with arithmetic(micro_batch.device, precision):
            losses = objective(micro_batch, turn, noise)
        for term, loss in losses.items():
            totals[term] = totals[term] + loss.detach() if term in totals else loss.detach()
        if pending is not None:
            counts, pending = dict(zip(counts, pending.wait(), strict=True)), None
        if number == last:
            travelling = [_tensor(count, workers.device) for count in counts.values()] if travels else []
            reducer.begin([*totals.values(), *travelling])
        seeds = [_share(1.0 if travels else counts[term], loss) for term, loss in losses.items()]
        torch.autograd.backward(list(losses.values()), grad_tensors=seeds, inputs=inputs)
    statistics = {buffer: buffer.clone() for buffer in objective.buffers()} if batch.idle_passes else {}
    for _ in range(batch.idle_passes):
        micro_batch, noise = batch.micro_batches[0]
        with arithmetic(micro_batch.device, precision):
            idle = list(objective(micro_batch, turn, noise).values())
        torch.autograd.backward(idle, grad_tensors=[torch.zeros_like(loss) for loss in idle], inputs=inputs)
    for buffer, before in statistics.items():  # no sample has been seen twice
        buffer.copy_(before)
    sums = reducer.finish(divisor=1 if travels else None)
    if travels:
        counts = dict.fromkeys(counts, sums.pop())
    return {term: (total, counts[term]) for term, total in zip(totals, sums, strict=True)}


def _counts(objective: Objective, batch: Step, turn: str) -> dict[str, Count]:
    """Return the count of each term over this worker's micro-batches."""
    counts: dict[str, Count] = {}
    for micro_batch, _ in batch.micro_batches:
        for term, count in objective.counts(micro_batch, turn).items():
            counts[term] = counts[term] + count if term in counts else count
    return counts


def mean(total: Tensor, count: Count) -> Tensor:
    """Divide a total by its count; a count of 0 gives 0."""
    divisor = count.clamp(min=torch.finfo(count.dtype).tiny) if isinstance(count, Tensor) else count or 1.0
    return total / divisor


def _share(count: Count, loss: Tensor) -> Tensor:
    """Return the reciprocal of a count, the seed of a term's backward pass: no division in the graph."""
    if isinstance(count, Tensor):
        return reciprocal(count).to(loss.dtype)
    return _constant(count or 1.0, loss.dtype, loss.device)[1]


def _tensor(count: Count, device: torch.device) -> Tensor:
    return count if isinstance(count, Tensor) else _constant(count, torch.float32, device)[0]


@lru_cache(maxsize=256)
def _constant(count: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return a constant count and its reciprocal, created once instead of at each step."""
    with torch.inference_mode(mode=False):
        constant = torch.tensor(count, dtype=dtype, device=device)
        return constant, constant.reciprocal()
