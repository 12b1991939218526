"""Weights of the classes or tags in the loss: checked against the data, and balanced on its training part."""

from collections.abc import Iterator

import torch

from stoker.architectures.custom import is_objective_class, user_class
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.feeding.streaming import FITTED_SAMPLES
from stoker.datasets.samples import Samples
from stoker.errors import Problem
from stoker.job.architecture.custom import Custom
from stoker.job.job import Job
from stoker.job.signature import Signature, TagsOutput
from stoker.job.task import CLASS_LOSS, MIXED
from stoker.job.training import Training
from stoker.jobfile.suggestion import did_you_mean

VALUES_PER_CHUNK = 1 << 20
"""Values counted at a time: masks may be decoded from files."""


def loss_problems(job: Job, signature: Signature) -> Iterator[Problem]:
    """Check that the settings of the loss have an effect, and that their classes or tags are in the data."""
    training = job.training
    set_keys = [key for key in (*CLASS_LOSS, *MIXED) if getattr(training, key)]
    if (
        set_keys
        and isinstance(job.architecture, Custom)
        and is_objective_class(user_class(job.architecture.class_name))
    ):
        for key in set_keys:
            message = f"does nothing: '{job.architecture.class_name}' computes the loss itself; leave it out"
            yield Problem(f"training.{key}", message)
        return
    if set(signature.inputs) != set(signature.images) or len(signature.images) > 1:
        for key in MIXED:
            if getattr(training, key):
                message = "mixes images, and a sample of this data is not one image alone; leave it out"
                yield Problem(f"training.{key}", message)
    for name in training.class_weights if isinstance(training.class_weights, dict) else ():
        if name not in signature.weighted:
            what, known = "tag" if isinstance(signature.output, TagsOutput) else "class", signature.weighted
            guess = (
                did_you_mean(name, known) or f"; the {'tags' if what == 'tag' else 'classes'} are {', '.join(known)}"
            )
            yield Problem(f"training.class_weights.{name}", f"'{name}' is not a {what} of the data{guess}")


def completed_weights(training: Training, data: LoadedDataset) -> dict[str, float] | None:
    """Return the weight of each class or tag; None if the job sets none."""
    signature, train = data.fields.signature, data.parts["train"]
    if training.class_weights is None:
        return None
    if training.class_weights != "balanced":
        return {**dict.fromkeys(signature.weighted, 1.0), **training.class_weights}
    if isinstance(signature.output, TagsOutput):
        weights = balanced_tags(*tag_counts(train, len(signature.weighted)))
    else:
        weights = balanced(class_counts(train, len(signature.weighted), signature.first_class))
    return dict(zip(signature.weighted, weights, strict=True))


def balanced(counts: torch.Tensor) -> list[float]:
    """Return n / (k n_c) for each count n_c of k classes, n together, as scikit-learn's `balanced` does."""
    weights: list[float] = (counts.sum() / (len(counts) * counts)).tolist()
    return weights


def balanced_tags(present: torch.Tensor, samples: int) -> list[float]:
    """Return (n - n_t) / n_t for each tag t that n_t of n samples have: with and without it they weigh the same."""
    weights: list[float] = ((samples - present).clamp(min=1) / present.clamp(min=1)).tolist()
    return weights


def tag_counts(samples: Samples, tags: int) -> tuple[torch.Tensor, int]:
    """Return how many samples have each tag, (tags,) float64, and how many were counted, as for `class_counts`."""
    counts, rows = torch.zeros(tags, dtype=torch.float64), 0
    for target in _targets(samples):
        counts += target.sum(dim=0, dtype=torch.float64).cpu()
        rows += len(target)
    return counts, rows


def class_counts(samples: Samples, classes: int, first: int) -> torch.Tensor:
    """Count the samples, pixels or words of each class; of streamed data only the samples that fields are fitted on.

    Args:
        samples: with targets.
        classes: how many there are.
        first: number of the first class in targets; those below it are left out.

    Returns:
        (classes,) float64, each at least 1; pixels that are ignored are in none.

    """
    counts = torch.zeros(classes, dtype=torch.float64)
    for chunk in _targets(samples):
        target = chunk.flatten().long() - first
        counts += torch.bincount(target[(target >= 0) & (target < classes)], minlength=classes).cpu()
    return counts.clamp(min=1)


def _targets(samples: Samples) -> Iterator[torch.Tensor]:
    """Yield the targets that are counted, some rows at a time."""
    assert samples.target is not None
    count = min(samples.shards[0], FITTED_SAMPLES) if samples.shards else len(samples)
    rows = torch.arange(count, device=samples.ids.device)
    rows_per_chunk = max(1, VALUES_PER_CHUNK // samples.target.take(rows[:1]).numel())
    for begin in range(0, count, rows_per_chunk):
        yield samples.target.take(rows[begin : begin + rows_per_chunk])
