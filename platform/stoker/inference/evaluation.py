"""Metrics of a model on a part of its own data, or on new data with labels."""

import torch

from stoker.datasets.loading import encode_labelled, load_dataset, read_source
from stoker.datasets.samples import Samples
from stoker.errors import JobError, Problem
from stoker.inference.model import Model
from stoker.spec.dataset import Dataset, Format
from stoker.spec.task import TASKS
from stoker.tasks.objective import Loss


def evaluate(
    model: Model, source: str | None = None, part: str = "test", format_name: Format | None = None
) -> dict[str, float]:
    """Return the loss and all metrics of the task.

    Args:
        model: the model.
        source: new data with labels; None takes the data the model was trained with.
        part: train, val or test of that data.
        format_name: how to read `source` where its name does not say.

    Raises:
        JobError: the data is not there, or has changed since training.

    """
    samples = _own_part(model, part) if source is None else _labelled(model, source, format_name)
    outputs = model.outputs(samples)
    output = model.encoders.output
    metrics = model.task.metrics(output)
    metrics.update(model.task.measured(outputs, output), samples.target)
    values = {name: float(value) for name, value in metrics.compute().items()}
    objective = model.task.objective(model.network, output)
    losses = objective.losses(outputs, samples)  # type: ignore[attr-defined, operator] - supervised tasks only, so far
    total = Loss(losses.sum(), torch.tensor(len(samples)))
    return {"loss": float(total.total / total.weight), **values}


def _own_part(model: Model, part: str) -> Samples:
    data = load_dataset(model.job.dataset, TASKS[model.job.task])
    if part not in data.parts:
        raise JobError([Problem("", f"the data has no part '{part}' (it has: {', '.join(data.parts)})")])
    if data.encoders != model.encoders:
        raise JobError(
            [Problem("", "the training data has changed since the model was trained; name data with --input")]
        )
    return data.parts[part]


def _labelled(model: Model, source: str, format_name: Format | None) -> Samples:
    section = model.job.dataset.model_copy(update={"source": source, "format": format_name})
    raw, _ = read_source(Dataset.model_validate(section.model_dump()))
    return encode_labelled(raw, model.encoders)
