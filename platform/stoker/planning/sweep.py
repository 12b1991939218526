"""What a sweep will do, worked out before anything starts: how many trials, which first, how long and how large."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from stoker.errors import JobError, Problem
from stoker.job.concurrency import machine_cpus, planned_trials, trials_at_once, trials_that_fit
from stoker.job.goals import Goal, goals_of
from stoker.job.own_code import AnyJob
from stoker.job.section import span_epochs
from stoker.job.sweep import Asha, MedianStopping
from stoker.jobfile.space.point import point_job
from stoker.jobfile.space.reading import read_space
from stoker.search.search import Search
from stoker.training.assembly import assemble
from stoker.training.autotune import step_seconds
from stoker.training.preparation import Prepared, prepare

SHOWN = 3
"""Points that a plan shows."""


@dataclass(frozen=True)
class SweepPlan:
    """What `plan` says of a sweep."""

    goals: tuple[Goal, ...]
    trials: int | None
    """How many at most; None where only time ends the sweep."""
    parallel: int
    points: int | None
    """Possible points; None for a space with continuous ranges."""
    samples: tuple[dict[str, Any], ...]
    """Values of the first trials, by path."""
    memory_mib: float | None
    """Of all trials that train at once, by the largest of the samples; None for own code."""
    seconds: float | None
    """Of the whole sweep at most, by the pace of the job as it stands; None where its length is a time, on a cluster,
    and for own code."""


def room_problems(job: AnyJob) -> Iterator[Problem]:
    """Check that this machine has room for as many trials as a sweep wants to train at once."""
    if job.sweep is None or job.sweep.parallel is None:
        return
    gpus, cpus = torch.cuda.device_count(), machine_cpus()
    room = trials_that_fit(job, cpus, gpus)
    if job.sweep.parallel > room:
        fits = f"at most {room} fit" if room > 1 else "one fits" if room else "not one fits"
        message = f"{job.sweep.parallel} trials at once: {fits} this machine ({cpus} cores, {gpus} GPUs)"
        yield Problem("sweep.parallel", f"{message}; leave it out for as many as fit")


def plan_sweep(
    prepared: Prepared, memory_mib: float, memory_of: Callable[[Prepared], float], on_cluster: bool = False
) -> SweepPlan:
    """Work out a sweep.

    Args:
        prepared: the job as it stands, with its data.
        memory_mib: of a worker of that job.
        memory_of: the same for another job.
        on_cluster: whether a cluster will run it, whose size and speed are not this machine's.

    Raises:
        JobError: the sweep does not fit the data; paths only.

    """
    job = prepared.job
    if problems := list(_length_problems(prepared)):
        raise JobError(problems)
    plan = plan_points(job, on_cluster)
    trials = [point_job(job, values) for values in plan.samples]
    jobs = [prepare(each, prepared.data) for each in trials if each.dataset_to_load == job.dataset_to_load]
    largest = max([memory_mib, *(memory_of(each) for each in jobs)])
    seconds = None
    if plan.trials and (job.training.epochs or job.training.steps) and not on_cluster:
        pace = step_seconds(assemble(prepared), "fp32", 1)
        seconds = pace * prepared.steps * math.ceil(plan.trials / plan.parallel)
    return replace(plan, memory_mib=largest * plan.parallel * job.resources.most_workers, seconds=seconds)


def plan_points(job: AnyJob, on_cluster: bool = False) -> SweepPlan:
    """Work out what a sweep tries and how many trials at once, without memory and time."""
    assert job.sweep is not None
    space = read_space(job)
    search = Search(job, space)
    count = space.size() if job.sweep.search.type == "grid" else None
    trials = min(filter(None, (job.sweep.trials, count)), default=None)
    samples = [point for number in range(min(SHOWN, trials or SHOWN)) if (point := search.ask(number))]
    parallel = planned_trials(job, 1) if on_cluster else trials_at_once(job, machine_cpus(), torch.cuda.device_count())
    values = tuple(point.values for point in samples)
    return SweepPlan(goals_of(job), trials, parallel, space.size(), values, memory_mib=None, seconds=None)


def _length_problems(prepared: Prepared) -> Iterator[Problem]:
    """Check the scheduler against a length that follows from the data."""
    assert prepared.job.sweep is not None
    scheduler = prepared.job.sweep.scheduler
    if not isinstance(scheduler, (Asha, MedianStopping)) or not prepared.job.training.epochs:
        return
    epochs, least = prepared.job.training.epochs, span_epochs(scheduler.min) or 1
    if least > epochs:
        message = f"{least} epochs are more than the {epochs} of a trial; use at most {epochs}"
        yield Problem("sweep.scheduler.min", message)
