"""Exact metrics of a part: every sample counted once."""

from collections.abc import Iterable

import torch

from stoker.datasets.batches import Batch, in_order
from stoker.tasks.task import Outcome
from stoker.training.assembly import Assembly
from stoker.training.parallel import arithmetic

TABLE_BATCH = 8192
IMAGE_BATCH = 512


def evaluate(assembly: Assembly, part: str, precision: str) -> dict[str, float]:
    """Return the loss and every metric of the task for one part, by quantity."""
    metrics, _ = _evaluate(assembly, part, precision, keep=False)
    return metrics


def evaluate_in_detail(assembly: Assembly, part: str, precision: str) -> tuple[dict[str, float], Outcome]:
    """Return the metrics, and the outputs for every sample."""
    metrics, outcome = _evaluate(assembly, part, precision, keep=True)
    assert outcome is not None
    return metrics, outcome


def _evaluate(assembly: Assembly, part: str, precision: str, keep: bool) -> tuple[dict[str, float], Outcome | None]:
    samples = assembly.parts[part]
    objective, task, output = assembly.objective, assembly.task, assembly.data.encoders.output
    metrics = assembly.metrics
    metrics.reset()
    totals: dict[str, list[torch.Tensor]] = {}
    kept: list[tuple[torch.Tensor, Batch]] = []
    was_training = objective.training
    objective.eval()
    size = IMAGE_BATCH if "image" in samples.inputs else TABLE_BATCH
    batches: Iterable[Batch] = in_order(samples, assembly.data.encoders.input, size)
    with torch.inference_mode():
        for batch in batches:
            with arithmetic(batch.ids.device, precision):
                losses, outputs = objective.evaluate(batch)
            outputs = outputs.float()
            metrics.update(task.measured(outputs, output), batch.target)
            for term, loss in losses.items():
                totals.setdefault(term, []).append(torch.stack([loss.total.double(), loss.weight.double()]))
            if keep:
                kept.append((outputs.cpu(), batch))
        values = {name: float(value) for name, value in metrics.compute().items()}
    objective.train(was_training)
    for term, sums in totals.items():
        total, weight = torch.stack(sums).sum(dim=0).tolist()
        values[term] = total / weight if weight else float("nan")
    if not keep:
        return values, None
    outputs = torch.cat([outputs for outputs, _ in kept])
    target = torch.cat([batch.target.cpu() for _, batch in kept])
    ids = torch.cat([batch.ids.cpu() for _, batch in kept])
    return values, Outcome(outputs, target, ids)
