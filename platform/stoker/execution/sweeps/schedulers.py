"""A sweep's schedulers: which trials end early, or wait, or go on from others; all of them Ray Tune's."""

import math
from typing import Any

from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from stoker.execution.sweeps.batched_scheduler import EPOCH, SCORE
from stoker.job.job import Job
from stoker.job.section import span_epochs
from stoker.job.sweep import Asha, Hyperband, MedianStopping, Pb2, Pbt

NO_LIMIT = 1_000_000
"""Epochs of a job whose length is a time."""


def build_scheduler(job: Job, mode: str) -> TrialScheduler:
    """Make the scheduler that a sweep's job names.

    Args:
        job: with every default.
        mode: `max` or `min`: which way the score is better.

    """
    assert job.sweep is not None
    settings, epochs = job.sweep.scheduler, job.training.epochs or NO_LIMIT
    common: dict[str, Any] = {"time_attr": EPOCH, "metric": SCORE, "mode": mode}
    match settings:
        case Asha():
            return AsyncHyperBandScheduler(
                **common,
                max_t=epochs,
                grace_period=_epochs(settings.min),
                reduction_factor=settings.reduction,
                stop_last_trials=False,
            )
        case MedianStopping():
            return MedianStoppingRule(
                **common,
                grace_period=_epochs(settings.min),
                min_samples_required=settings.trials,
                min_time_slice=math.inf,  # or trials are paused to let others begin
            )
        case Hyperband():
            return HyperBandScheduler(
                **common, max_t=epochs, reduction_factor=settings.reduction, stop_last_trials=False
            )
    return FIFOScheduler()


def decision_epochs(job: Job) -> tuple[int, ...] | None:
    """Tell after which epochs the scheduler may decide; None where it may after each."""
    assert job.sweep is not None
    settings = job.sweep.scheduler
    if settings.type == "none":
        return ()
    if isinstance(settings, Asha):
        rungs, epochs = [], job.training.epochs or NO_LIMIT
        rung = _epochs(settings.min)
        while rung < epochs:
            rungs.append(rung)
            rung *= settings.reduction
        return tuple(rungs)
    if isinstance(settings, (Pbt, Pb2)) and job.training.epochs:
        return tuple(range(_epochs(settings.every), job.training.epochs, _epochs(settings.every)))
    return None


def _epochs(span: str) -> int:
    return span_epochs(span) or 1
