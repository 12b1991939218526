"""Ray Tune's early-stopping schedulers, by the names of their papers."""

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
from stoker.job.goals import goals_of, measures_always
from stoker.job.job import Job
from stoker.job.own_code import AnyJob
from stoker.job.section import span_epochs
from stoker.job.sweep import Asha, Hyperband, MedianStopping, Pb2, Pbt

NO_LIMIT = 1_000_000
"""Maximum number of epochs of a job that is limited by time, or by own code."""


def build_scheduler(job: AnyJob, mode: str) -> TrialScheduler:
    """Build the ASHA, Hyperband or median stopping scheduler of a sweep; a FIFO one by default.

    Li et al. 2020 (arXiv:1810.05934), Li et al. 2018 (arXiv:1603.06560), Golovin et al. 2017 (Google Vizier). PBT and
    PB2 are built by `pbt.build_pbt`.

    Args:
        job: resolved.
        mode: `max` or `min`, the direction of the score.

    """
    assert job.sweep is not None
    settings, epochs = job.sweep.scheduler, _length(job) or NO_LIMIT
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
                min_time_slice=math.inf,  # otherwise trials are paused to let others start
            )
        case Hyperband():
            return HyperBandScheduler(
                **common, max_t=epochs, reduction_factor=settings.reduction, stop_last_trials=False
            )
    return FIFOScheduler()


def decision_epochs(job: AnyJob) -> tuple[int, ...] | None:
    """Return the epochs after which the scheduler may decide; None if after each."""
    assert job.sweep is not None
    settings, every = job.sweep.scheduler, _measured_every(job)
    if settings.type == "none":
        return ()
    if isinstance(settings, Asha):
        rungs, epochs = [], _length(job) or NO_LIMIT
        rung = _epochs(settings.min)
        while rung < epochs:
            rungs.append(-(-rung // every) * every)  # it decides once it has the metric
            rung *= settings.reduction
        return tuple(rungs)
    if isinstance(settings, (Pbt, Pb2)) and (length := _length(job)):
        return tuple(range(_epochs(settings.every), length, _epochs(settings.every)))
    return None


def _measured_every(job: AnyJob) -> int:
    """Return the interval, in epochs, at which the scheduler's metric is computed."""
    every = job.training.evaluate.every if isinstance(job, Job) else None
    return 1 if every is None or measures_always(job, goals_of(job)[0].name) else _epochs(every)


def _length(job: AnyJob) -> int | None:
    """Return how many epochs a trial has; None if nobody knows, as for own code."""
    return job.training.epochs if isinstance(job, Job) else None


def _epochs(span: str) -> int:
    return span_epochs(span) or 1
