"""Exact metrics of a set of samples: each is counted once over all workers, and none is kept beyond its batch."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stoker.datasets.batches import batch_limit, gathered, ordered_batches
from stoker.datasets.samples import Samples
from stoker.job.task import TASKS
from stoker.randomness import Noise
from stoker.tasks.metrics import Metrics, Together
from stoker.tasks.objective import Objective
from stoker.tasks.sheet import Page, Sheet
from stoker.tasks.task import Review, Task
from stoker.training.assembly import Assembly
from stoker.training.evaluation_epochs import sample_rows
from stoker.training.parallel import ALONE, Workers, arithmetic
from stoker.training.sharding import is_sharded

SHOWN = 8
"""Samples whose pictures show the progress of training; a review keeps at least as many."""
Sums = dict[str, tuple[float, float]]
"""Total and count of each term."""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation."""

    metrics: dict[str, float]
    """By quantity; NaN where the samples do not define one. The same for every worker."""
    review: Review | None
    """Only on the first worker, and only if requested."""


def evaluate(assembly: Assembly, part: str, precision: str, expensive: bool = True) -> dict[str, float]:
    """Return the loss and every metric of the task for one part, by quantity; the same for every worker.

    Args:
        assembly: with the weights.
        part: of the data.
        precision: of the arithmetic.
        expensive: whether to compute the expensive metrics.

    """
    return evaluate_in_detail(assembly, part, precision, None, expensive).metrics


def evaluate_in_detail(
    assembly: Assembly, part: str, precision: str, review: Review | None, expensive: bool = True
) -> Evaluation:
    """Return the metrics of a part, and collect its samples for the review."""
    training, samples = assembly.job.training, assembly.parts[part]
    return measure(
        assembly.objective,
        assembly.task,
        samples,
        precision,
        training.seed,
        assembly.workers,
        training.micro_batch,
        review,
        (training.evaluate.samples or len(samples)) if expensive else 0,
    )


def show(assembly: Assembly, precision: str) -> Sheet | Page | None:
    """Return the task's pictures for the current weights, always of the same held-out samples; None if it has none.

    One worker computes it alone: not while each worker holds a part of the weights.
    """
    if not TASKS[assembly.job.task].shows or any(is_sharded(each) for each in assembly.objective.parameters()):
        return None
    samples, seed = assembly.parts[assembly.prepared.evaluated_part], assembly.job.training.seed
    rows = sample_rows(len(samples), min(SHOWN, len(samples)), seed).to(assembly.device)
    batch = gathered(samples, assembly.data.fields, rows, slice(0, len(rows)))
    objective = assembly.objective
    was_training = objective.training
    objective.eval()
    with torch.inference_mode(), arithmetic(assembly.device, precision):
        sheet = assembly.task.show(objective.network, batch, seed)
    objective.train(was_training)
    return sheet


def measure(
    objective: Objective,
    task: Task,
    samples: Samples,
    precision: str,
    seed: int,
    workers: Workers = ALONE,
    micro_batch: int | None = None,
    review: Review | None = None,
    expensive_samples: int | None = None,
) -> Evaluation:
    """Measure the network on labelled samples.

    The samples are cut into the same batches for any number of workers, with noise that depends on seed and batch
    alone; each worker takes some of them, and the first one merges the results. Where no more than `micro_batch`
    samples fit the device, a batch is computed in pieces. Expensive metrics are computed on `few` samples, by default
    on all; 0 leaves them out.
    """
    metrics = task.metrics(len(samples))
    count = len(samples) if expensive_samples is None else min(expensive_samples, len(samples))
    expensive = task.expensive_metrics(count) if count else None
    if expensive is not None and count == len(samples):  # one pass does for both
        metrics, expensive = Together(metrics, expensive), None
    found = _pass(objective, task, samples, precision, seed, workers, micro_batch, metrics, review)
    if expensive is None:
        return found
    taken = samples.rows(sample_rows(len(samples), count, seed).to(samples.ids.device))
    more = _pass(objective, task, taken, precision, seed, workers, micro_batch, expensive, None)
    return Evaluation(more.metrics | found.metrics, found.review)  # the losses are those of all samples


def _pass(
    objective: Objective,
    task: Task,
    samples: Samples,
    precision: str,
    seed: int,
    workers: Workers,
    micro_batch: int | None,
    metrics: Metrics,
    review: Review | None,
) -> Evaluation:
    """Run samples through the network once."""
    was_training = objective.training
    objective.eval()
    sums, measured = _own_batches(objective, task, samples, precision, seed, workers, micro_batch, metrics, review)
    objective.train(was_training)
    mine = (sums, metrics.state() if measured else None, review.state() if review and measured else None)
    collected: list[tuple[Sums, Any, Any]] = workers.gather(mine)
    values: dict[str, float] = {}
    if collected:
        for _, state, shown in collected[1:]:
            if state is not None:
                metrics.merge(state)
                measured = True
            if review and shown is not None:
                review.merge(shown)
        with torch.inference_mode():
            found = metrics.compute() if measured else {}
        means = _means([each for each, _, _ in collected])
        assert not found.keys() & means.keys(), f"a metric and a term of the loss share a name: {found.keys() & means}"
        values = found | means
    return Evaluation(workers.broadcast_object(values), review if collected and measured else None)


def _own_batches(
    objective: Objective,
    task: Task,
    samples: Samples,
    precision: str,
    seed: int,
    workers: Workers,
    micro_batch: int | None,
    metrics: Metrics,
    review: Review | None,
) -> tuple[Sums, bool]:
    """Run this worker's batches; return the sums of each term, and whether the network had outputs to measure."""
    size = batch_limit(task.fields.signature)
    numbers = workers.share(-(-len(samples) // size))
    totals: dict[str, Tensor] = {}  # summed at once: small tensors kept between large ones fragment the memory
    counts: dict[str, float] = {}
    measured = False
    lengths = samples.lengths
    order = None if lengths is None else lengths.argsort(stable=True)  # less padding
    divided = any(is_sharded(parameter) for parameter in objective.parameters())
    with torch.no_grad() if divided else torch.inference_mode():
        for number, whole in zip(numbers, ordered_batches(samples, task.fields, size, numbers, order), strict=True):
            for batch in whole.pieces(micro_batch or size):
                rows = batch.rows
                noise = Noise((seed, "evaluation", number), len(whole), rows.start, rows.stop, batch.device)
                with arithmetic(batch.device, precision):
                    losses, output = objective.evaluate(batch, noise)
                if output is not None:
                    measured = True
                    metrics.update(output.float(), batch)
                    if review:
                        review.update(output.float(), batch, batch.ids)
                for term, loss in losses.items():
                    totals[term] = totals[term].add_(loss.total) if term in totals else loss.total.double().clone()
                    counts[term] = counts.get(term, 0.0) + float(loss.count)
        if divided:  # gathering weights takes all workers, also those that have fewer samples
            [first] = ordered_batches(samples, task.fields, size, range(1))
            piece = next(first.pieces(micro_batch or size))
            noise = Noise((seed, "evaluation", 0), len(first), piece.rows.start, piece.rows.stop, piece.device)
            for _ in range(_idle_passes(len(samples), size, micro_batch or size, workers)):
                with arithmetic(piece.device, precision):
                    objective.evaluate(piece, noise)
    return {term: (float(total), counts[term]) for term, total in totals.items()}, measured


def _idle_passes(samples: int, size: int, piece: int, workers: Workers) -> int:
    """Return how many more pieces of batches another worker has than this one."""
    lengths = [min(size, samples - start) for start in range(0, samples, size)]
    passes = [sum(-(-lengths[number] // piece) for number in share) for share in workers.shares(len(lengths))]
    return max(passes) - passes[workers.rank]


def _means(collected: list[Sums]) -> dict[str, float]:
    """Return the mean of each term over all workers."""
    terms = {term for sums in collected for term in sums}
    means = {}
    for term in sorted(terms):
        pairs = [sums[term] for sums in collected if term in sums]
        count = math.fsum(count for _, count in pairs)
        means[term] = math.fsum(total for total, _ in pairs) / count if count else math.nan
    return with_loss(means)


def with_loss(terms: dict[str, float]) -> dict[str, float]:
    """Add the loss where an objective names none: the sum of its terms without those that counted no sample."""
    if "loss" in terms or not terms:
        return terms
    return {**terms, "loss": math.fsum(value for value in terms.values() if not math.isnan(value))}
