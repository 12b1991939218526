"""Exact metrics of some samples: every one counted once."""

import math

import torch
from torch import Tensor

from stoker.datasets.batches import in_order
from stoker.datasets.encoders import Encoders
from stoker.datasets.samples import Samples
from stoker.tasks.objective import Objective
from stoker.tasks.task import Outcome, Task
from stoker.training.assembly import Assembly
from stoker.training.parallel import arithmetic

TABLE_BATCH = 8192
IMAGE_BATCH = 512


def evaluate(assembly: Assembly, part: str, precision: str) -> dict[str, float]:
    """Return the loss and every metric of the task for one part, by quantity."""
    metrics, _ = measure(assembly.objective, assembly.task, assembly.data.encoders, assembly.parts[part], precision)
    return metrics


def evaluate_in_detail(assembly: Assembly, part: str, precision: str) -> tuple[dict[str, float], Outcome]:
    """Return the metrics, and the outputs for every sample."""
    samples = assembly.parts[part]
    metrics, outputs = measure(assembly.objective, assembly.task, assembly.data.encoders, samples, precision)
    return metrics, Outcome(outputs.cpu(), samples.target.cpu(), samples.ids.cpu())


def measure(
    objective: Objective, task: Task, encoders: Encoders, samples: Samples, precision: str
) -> tuple[dict[str, float], Tensor]:
    """Run samples with labels through the network, without randomness.

    Returns:
        Loss and metrics by quantity, NaN where the samples do not define one; and the (N, ...) float32 outputs.

    """
    metrics = task.metrics(encoders.output).to(samples.ids.device)
    totals: dict[str, list[Tensor]] = {}
    kept: list[Tensor] = []
    was_training = objective.training
    objective.eval()
    with torch.inference_mode():
        for batch in in_order(samples, encoders.input, IMAGE_BATCH if "image" in samples.inputs else TABLE_BATCH):
            with arithmetic(batch.ids.device, precision):
                losses, outputs = objective.evaluate(batch)
            kept.append(outputs.float())
            metrics.update(task.measured(kept[-1], encoders.output), batch.target)
            for term, loss in losses.items():
                totals.setdefault(term, []).append(torch.stack([loss.total.double(), loss.weight.double()]))
        values = {name: float(value) for name, value in metrics.compute().items()}
    objective.train(was_training)
    for term, sums in totals.items():
        total, weight = torch.stack(sums).sum(dim=0).tolist()
        values[term] = total / weight if weight else math.nan
    return values, torch.cat(kept)
