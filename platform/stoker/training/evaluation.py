"""Exact metrics of some samples: every one counted once, by whichever worker."""

import math

import torch
from torch import Tensor

from stoker.datasets.batches import in_order
from stoker.datasets.encoders import Encoders
from stoker.datasets.samples import Samples
from stoker.randomness import Noise
from stoker.tasks.objective import Objective
from stoker.tasks.task import Outcome, Task
from stoker.training.assembly import Assembly
from stoker.training.parallel import ALONE, Workers, arithmetic

TABLE_BATCH = 8192
IMAGE_BATCH = 256

Sums = dict[str, tuple[float, float]]
"""Total and weight of each term."""


def evaluate(assembly: Assembly, part: str, precision: str) -> dict[str, float]:
    """Return the loss and every metric of the task for one part, by quantity; the same for every worker."""
    metrics, _ = _measure_part(assembly, part, precision)
    return metrics


def evaluate_in_detail(assembly: Assembly, part: str, precision: str) -> tuple[dict[str, float], Outcome | None]:
    """Return the metrics and, to the first worker of an objective that predicts, the outputs for every sample."""
    samples = assembly.parts[part]
    metrics, outputs = _measure_part(assembly, part, precision)
    return metrics, None if outputs is None else Outcome(outputs.cpu(), samples.target.cpu(), samples.ids.cpu())


def _measure_part(assembly: Assembly, part: str, precision: str) -> tuple[dict[str, float], Tensor | None]:
    objective, task, encoders = assembly.objective, assembly.task, assembly.data.encoders
    training, samples = assembly.job.training, assembly.parts[part]
    return measure(objective, task, encoders, samples, precision, training.seed, assembly.workers, training.micro_batch)


def measure(
    objective: Objective,
    task: Task,
    encoders: Encoders,
    samples: Samples,
    precision: str,
    seed: int,
    workers: Workers = ALONE,
    at_once: int | None = None,
) -> tuple[dict[str, float], Tensor | None]:
    """Run samples with labels through the network.

    The samples are cut into the same batches for any number of workers, with noise that depends on seed and batch
    alone; each worker takes some of them, and the first one computes the metrics of all outputs. Where no more than
    `at_once` samples fit the device, a batch is computed in pieces.

    Returns:
        Loss and metrics by quantity, NaN where the samples do not define one; and the (N, ...) float32 outputs, at the
        first worker of an objective that has some.

    """
    was_training = objective.training
    objective.eval()
    collected = workers.to_first(_some_batches(objective, encoders, samples, precision, seed, workers, at_once))
    objective.train(was_training)
    values: dict[str, float] = {}
    outputs: Tensor | None = None
    if collected:
        values = _means([sums for sums, _ in collected])
        found = [output for _, output in collected if output is not None]
        if found:
            outputs = torch.cat([output.to(samples.ids.device) for output in found])
            values = _task_metrics(task, encoders, outputs, samples) | values
    return workers.from_first(values), outputs


def _some_batches(
    objective: Objective,
    encoders: Encoders,
    samples: Samples,
    precision: str,
    seed: int,
    workers: Workers,
    at_once: int | None,
) -> tuple[Sums, Tensor | None]:
    """Run this worker's batches; return the sums of each term, and the outputs in order."""
    size = IMAGE_BATCH if "image" in samples.inputs else TABLE_BATCH
    numbers = workers.share(-(-len(samples) // size))
    totals: dict[str, list[Tensor]] = {}
    kept: list[Tensor] = []
    with torch.inference_mode():
        for number, whole in zip(numbers, in_order(samples, encoders.input, size, numbers), strict=True):
            for batch in whole.pieces(at_once or size):
                rows = batch.rows
                noise = Noise((seed, "evaluation", number), len(whole), rows.start, rows.stop, batch.ids.device)
                with arithmetic(batch.ids.device, precision):
                    losses, output = objective.evaluate(batch, noise)
                if output is not None:
                    kept.append(output.float())
                for term, loss in losses.items():
                    totals.setdefault(term, []).append(torch.stack([loss.total.double(), loss.weight.double()]))
    sums: Sums = {}
    for term, pairs in totals.items():
        total, weight = torch.stack(pairs).sum(dim=0).tolist()
        sums[term] = (total, weight)
    outputs = torch.cat(kept) if kept else None
    return sums, outputs if outputs is None or workers.count == 1 else outputs.cpu()


def _means(collected: list[Sums]) -> dict[str, float]:
    """Divide the sums of all workers by what they count."""
    terms = {term for sums in collected for term in sums}
    means = {}
    for term in sorted(terms):
        pairs = [sums[term] for sums in collected if term in sums]
        weight = math.fsum(weight for _, weight in pairs)
        means[term] = math.fsum(total for total, _ in pairs) / weight if weight else math.nan
    return with_loss(means)


def with_loss(terms: dict[str, float]) -> dict[str, float]:
    """Add the loss where an objective names none: the sum of its terms, of those that counted something."""
    if "loss" in terms or not terms:
        return terms
    return {**terms, "loss": math.fsum(value for value in terms.values() if not math.isnan(value))}


def _task_metrics(task: Task, encoders: Encoders, outputs: Tensor, samples: Samples) -> dict[str, float]:
    metrics = task.metrics(encoders.output).to(outputs.device)
    for metric in metrics.values():
        metric.distributed_available_fn = _alone  # the outputs of all workers are here already
    with torch.inference_mode():
        metrics.update(task.measured(outputs, encoders.output), samples.target)
        return {name: float(value) for name, value in metrics.compute().items()}


def _alone() -> bool:
    return False
