"""Weights of the classes in the loss: checked against the data, and balanced on its training part."""

from collections.abc import Iterator

import torch

from stoker.architectures.custom import is_objective_class, user_class
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.feeding.streaming import FITTED_SAMPLES
from stoker.datasets.samples import Samples
from stoker.errors import Problem
from stoker.job.architecture.custom import Custom
from stoker.job.job import Job
from stoker.job.task import CLASS_LOSS
from stoker.job.training import Training
from stoker.jobfile.suggestion import did_you_mean

VALUES_PER_CHUNK = 1 << 20
"""Values counted at a time: masks may be decoded from files."""


def loss_problems(job: Job, classes: tuple[str, ...]) -> Iterator[Problem]:
    """Check that the settings of the loss have an effect, and that their classes are in the data."""
    training = job.training
    set_keys = [key for key in CLASS_LOSS if getattr(training, key)]
    if (
        set_keys
        and isinstance(job.architecture, Custom)
        and is_objective_class(user_class(job.architecture.class_name))
    ):
        for key in set_keys:
            message = f"does nothing: '{job.architecture.class_name}' computes the loss itself; leave it out"
            yield Problem(f"training.{key}", message)
        return
    for name in training.class_weights if isinstance(training.class_weights, dict) else ():
        if name not in classes:
            guess = did_you_mean(name, classes) or f"; the classes are {', '.join(classes)}"
            yield Problem(f"training.class_weights.{name}", f"'{name}' is not a class of the data{guess}")


def completed_weights(training: Training, data: LoadedDataset) -> dict[str, float] | None:
    """Return the weight of each class; None if the job sets none."""
    classes, first = data.fields.signature.classes, data.fields.signature.first_class
    if training.class_weights is None:
        return None
    if training.class_weights == "balanced":
        return dict(zip(classes, balanced(class_counts(data.parts["train"], len(classes), first)), strict=True))
    return {**dict.fromkeys(classes, 1.0), **training.class_weights}


def balanced(counts: torch.Tensor) -> list[float]:
    """Return n / (k n_c) for each count n_c of k classes, n together, as scikit-learn's `balanced` does."""
    weights: list[float] = (counts.sum() / (len(counts) * counts)).tolist()
    return weights


def class_counts(samples: Samples, classes: int, first: int) -> torch.Tensor:
    """Count the samples, pixels or words of each class; of streamed data only the samples that fields are fitted on.

    Args:
        samples: with targets.
        classes: how many there are.
        first: number of the first class in targets; those below it are left out.

    Returns:
        (classes,) float64, each at least 1.

    """
    assert samples.target is not None
    count = min(samples.shards[0], FITTED_SAMPLES) if samples.shards else len(samples)
    rows = torch.arange(count, device=samples.ids.device)
    counts = torch.zeros(classes, dtype=torch.float64)
    rows_per_chunk = max(1, VALUES_PER_CHUNK // samples.target.take(rows[:1]).numel())
    for begin in range(0, count, rows_per_chunk):
        target = samples.target.take(rows[begin : begin + rows_per_chunk]).flatten().long() - first
        counts += torch.bincount(target[target >= 0], minlength=classes).cpu()
    return counts.clamp(min=1)
