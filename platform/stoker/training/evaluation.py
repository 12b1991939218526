"""Exact metrics of a set of samples: each is counted once over all workers, and none is kept beyond its batch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stoker.datasets.feeding.batch import Batch, gathered
from stoker.datasets.feeding.batches import ordered_batches
from stoker.datasets.feeding.limits import batch_limit, text_limit
from stoker.datasets.samples import Samples
from stoker.job.task import TASKS
from stoker.randomness import Noise
from stoker.tasks.abilities import is_wide
from stoker.tasks.metrics import Together
from stoker.tasks.objective import Loss, Objective
from stoker.tasks.sheet import Page, Sheet
from stoker.tasks.task import Review, Task
from stoker.training.assembly import Assembly
from stoker.training.compilation import uncompiled
from stoker.training.evaluation_epochs import sample_rows
from stoker.training.measures import Measures
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


def evaluate(
    assembly: Assembly, part: str, precision: str, expensive: bool = True, quick: bool = False
) -> dict[str, float]:
    """Return the loss and every metric of the task for one part, by quantity; the same for every worker.

    Args:
        assembly: with the weights.
        part: of the data.
        precision: of the arithmetic.
        expensive: whether to compute the expensive metrics.
        quick: whether training waits for them: a text is then searched for in the fastest way.

    """
    return evaluate_in_detail(assembly, part, precision, None, expensive, quick).metrics


def evaluate_in_detail(
    assembly: Assembly,
    part: str,
    precision: str,
    review: Review | None,
    expensive: bool = True,
    quick: bool = False,
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
        quick,
    )


def look_through(assembly: Assembly) -> None:
    """Let the objective look at the samples before an evaluation, in full precision."""
    objective, parts = assembly.objective, assembly.parts

    def part(name: str) -> Iterator[Batch]:
        samples = parts.get(name, parts["train"])
        return ordered_batches(samples, assembly.data.fields, batch_limit(assembly.data.fields.signature))

    was_training = objective.training
    objective.eval()
    with torch.no_grad(), uncompiled(objective):
        objective.before_evaluation(part)
    objective.train(was_training)


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
    with torch.inference_mode(), arithmetic(assembly.device, precision), uncompiled(objective):
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
    quick: bool = False,
) -> Evaluation:
    """Measure the network on labelled samples.

    The samples are cut into the same batches for any number of workers, with noise that depends on seed and batch
    alone; each worker takes some of them, and the first one merges the results. Where no more than `micro_batch`
    samples fit the device, a batch is computed in pieces. Expensive metrics, with the review of a task that has them,
    are computed on `expensive_samples`, by default on all; 0 leaves them out.
    """
    metrics = task.metrics(len(samples))
    count = len(samples) if expensive_samples is None else min(expensive_samples, len(samples))
    expensive = task.expensive_metrics(count) if count else None
    run = partial(_pass, objective, task, precision=precision, seed=seed, workers=workers, micro_batch=micro_batch)
    if expensive is None or count == len(samples):
        return run(samples, Measures(metrics, expensive, review, quick))
    found = run(samples, Measures(metrics, None, None, quick))
    taken = samples.rows(sample_rows(len(samples), count, seed).to(samples.ids.device))
    more = run(taken, Measures(Together(), expensive, review, quick))
    return Evaluation(more.metrics | found.metrics, more.review)  # the losses are those of all samples


def _pass(
    objective: Objective,
    task: Task,
    samples: Samples,
    measures: Measures,
    precision: str,
    seed: int,
    workers: Workers,
    micro_batch: int | None,
) -> Evaluation:
    """Run samples through the network once."""
    was_training = objective.training
    objective.eval()
    sums = _own_batches(objective, task, samples, measures, precision, seed, workers, micro_batch)
    objective.train(was_training)
    collected: list[tuple[Sums, Any]] = workers.gather((sums, measures.state()))
    values: dict[str, float] = {}
    if collected:
        for _, state in collected[1:]:
            measures.merge(state)
        with torch.inference_mode():
            found = measures.compute()
        means = _means([each for each, _ in collected])
        assert not found.keys() & means.keys(), f"a metric and a term of the loss share a name: {found.keys() & means}"
        values = found | means
    reviewed = measures.review if collected and measures.measured else None
    return Evaluation(workers.broadcast_object(values), reviewed)


def _own_batches(
    objective: Objective,
    task: Task,
    samples: Samples,
    measures: Measures,
    precision: str,
    seed: int,
    workers: Workers,
    micro_batch: int | None,
) -> Sums:
    """Run this worker's batches; return the sums of each term."""
    size = batch_limit(task.fields.signature)
    piece_size = micro_batch or size
    network = getattr(objective, "network", None)  # a user's objective of several networks has none that predicts
    if is_wide(network):
        piece_size = min(piece_size, text_limit(task.fields.signature, network.activations))
    numbers = workers.share(-(-len(samples) // size))
    totals: dict[str, Tensor] = {}  # summed at once: small tensors kept between large ones fragment the memory
    counts: dict[str, float] = {}
    lengths = samples.lengths
    order = None if lengths is None else lengths.argsort(stable=True)  # less padding
    divided = any(is_sharded(parameter) for parameter in objective.parameters())

    def run(batch: Batch, noise: Noise) -> tuple[dict[str, Loss], Tensor | None, Tensor | None]:
        with arithmetic(batch.device, precision):
            losses, output = objective.evaluate(batch, noise)
            if output is None or not measures.needs_outcome:
                return losses, output, None
            with uncompiled(objective):
                return losses, output, task.outcome(objective.network, batch, noise, output, measures.quick)

    with torch.no_grad() if divided else torch.inference_mode():
        for number, whole in zip(numbers, ordered_batches(samples, task.fields, size, numbers, order), strict=True):
            for batch in whole.pieces(piece_size):
                rows = batch.rows
                noise = Noise((seed, "evaluation", number), len(whole), rows.start, rows.stop, batch.device)
                losses, output, outcome = run(batch, noise)
                if output is not None:
                    measures.update(output, outcome, batch)
                for term, loss in losses.items():
                    totals[term] = totals[term].add_(loss.total) if term in totals else loss.total.double().clone()
                    counts[term] = counts.get(term, 0.0) + float(loss.count)
        if divided:  # gathering weights takes all workers, also those that have fewer samples
            [first] = ordered_batches(samples, task.fields, size, range(1))
            piece = next(first.pieces(piece_size))
            noise = Noise((seed, "evaluation", 0), len(first), piece.rows.start, piece.rows.stop, piece.device)
            for _ in range(_idle_passes(len(samples), size, piece_size, workers)):
                run(piece, noise)
    return {term: (float(total), counts[term]) for term, total in totals.items()}


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
