"""The goals by which the trials of a sweep are compared: metrics with a direction."""

from dataclasses import dataclass

from stoker.job.job import Job
from stoker.job.own_code import AnyJob, CodeJob
from stoker.job.task import TASKS, Direction

COSTS: dict[str, Direction] = {"parameters": "min", "seconds": "min"}
"""Costs of a trial; useful only next to a metric, since they are lowest for a trial that learns nothing."""
CODE_COSTS: dict[str, Direction] = {"seconds": "min"}
"""The same of own code, whose network nobody knows."""


@dataclass(frozen=True)
class Goal:
    """A metric or cost of a trial, with the direction in which it improves."""

    name: str
    direction: Direction


def goals_of(job: AnyJob) -> tuple[Goal, ...]:
    """Return the goals of a job's sweep, in the order of the file; own code must name them."""
    metrics = (job.sweep and job.sweep.metric) or ()
    if not metrics and isinstance(job, Job):
        return (_default(job),)
    return tuple(Goal(each.name, known_direction(job, each.name) or each.direction or "min") for each in metrics)


def known_direction(job: AnyJob, metric: str) -> Direction | None:
    """Return the direction in which a metric improves; None for a term of a custom loss, and for what own code says."""
    if isinstance(job, CodeJob):
        return CODE_COSTS.get(metric)
    return COSTS.get(metric) or TASKS[job.task].metrics.get(metric.partition("/")[0])


def measures_always(job: AnyJob, metric: str) -> bool:
    """Return whether each epoch has a metric; own code may leave it out of a report."""
    return isinstance(job, Job) and TASKS[job.task].measures_always(metric)


def best_metric(job: Job) -> str | None:
    """Return the sweep's metric if it can select the best weights of a trial, else None."""
    if not (job.sweep and job.sweep.metric and len(job.sweep.metric) == 1):
        return None
    [goal] = goals_of(job)
    # training minimizes every term of a custom loss
    usable = known_direction(job, goal.name) is not None or goal.direction == "min"
    return goal.name if goal.name not in COSTS and usable else None


def _default(job: Job) -> Goal:
    split = job.dataset.split
    held_out = split != "none" and split.val > 0
    named = job.training.checkpoint.best
    metric = named or (f"{TASKS[job.task].best}/val" if held_out else f"{TASKS[job.task].best}/train")
    return Goal(metric, known_direction(job, metric) or "min")
