"""What a sweep's trials are compared by: metrics with a direction."""

from dataclasses import dataclass

from stoker.job.job import Job
from stoker.job.task import TASKS, Direction

COSTS: dict[str, Direction] = {"parameters": "min", "seconds": "min"}
"""What a trial costs: of use next to a metric, and smallest for a trial that has learnt nothing."""


@dataclass(frozen=True)
class Aim:
    """A quantity of a trial and which way it is better."""

    name: str
    direction: Direction


def aims(job: Job) -> tuple[Aim, ...]:
    """Return what the trials of a job's sweep are compared by, first to last."""
    goals = (job.sweep and job.sweep.metric) or ()
    if not goals:
        return (_default(job),)
    return tuple(Aim(goal.name, known_direction(job, goal.name) or goal.direction or "min") for goal in goals)


def known_direction(job: Job, metric: str) -> Direction | None:
    """Return which way a metric is better; None for a term of a user's own loss."""
    return COSTS.get(metric) or TASKS[job.task].metrics.get(metric.partition("/")[0])


def best_metric(job: Job) -> str | None:
    """Return the metric that picks the best weights of a trial, where the sweep names one that can."""
    if not (job.sweep and job.sweep.metric and len(job.sweep.metric) == 1):
        return None
    [aim] = aims(job)
    # a term of a user's own loss is taken for one that should fall
    usable = known_direction(job, aim.name) is not None or aim.direction == "min"
    return aim.name if aim.name not in COSTS and usable else None


def _default(job: Job) -> Aim:
    split = job.dataset.split
    held_out = split != "none" and split.val > 0
    named = job.training.checkpoint.best
    metric = named or (f"{TASKS[job.task].best}/val" if held_out else f"{TASKS[job.task].best}/train")
    return Aim(metric, known_direction(job, metric) or "min")
