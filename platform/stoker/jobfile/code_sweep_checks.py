"""Checks of a sweep over the settings of own code, whose metrics and length nobody knows before it runs."""

from collections.abc import Iterator

from stoker.errors import Problem
from stoker.job.goals import CODE_COSTS
from stoker.job.own_code import CodeJob
from stoker.job.section import span_epochs
from stoker.job.sweep import Asha, MedianStopping, NoScheduler
from stoker.jobfile.goal_checks import goal_problems, placed

EXAMPLE = "metric: {name: loss, direction: min}"


def code_metric_problems(job: CodeJob) -> Iterator[Problem]:
    """Check that the sweep names its metrics with their directions, and that they can be read."""
    assert job.sweep is not None
    goals = job.sweep.metric or ()
    if not goals:
        said = "reports" if job.entry.function else "logs to MLflow"
        yield Problem("sweep.metric", f"required: what your code {said} (example: {EXAMPLE})")
    yield from goal_problems(goals, CODE_COSTS, "{name: loss, direction: min}")
    for place, goal in placed(goals):
        if goal.name not in CODE_COSTS and goal.direction is None:
            message = f"nobody knows whether your '{goal.name}' is better high or low; set its direction"
            yield Problem(place, f"{message} (example: metric: {{name: {goal.name}, direction: min}})")
    if job.tracking == "none" and not job.entry.function:
        yield Problem("tracking", "the metrics of a script are read from MLflow; leave out tracking: none")


def code_scheduler_problems(job: CodeJob) -> Iterator[Problem]:
    """Check that the scheduler needs neither the length of a trial nor its weights."""
    assert job.sweep is not None
    scheduler = job.sweep.scheduler
    if isinstance(scheduler, NoScheduler):
        return
    if not isinstance(scheduler, (Asha, MedianStopping)):
        message = f"{scheduler.type} must know how long a trial is, and exchange its weights; own code has asha, median"
        yield Problem("sweep.scheduler", f"{message} and none")
        return
    if len(job.sweep.metric or ()) > 1:
        yield Problem("sweep.scheduler", f"{scheduler.type} compares trials by one metric; name one, or use none")
    if not span_epochs(scheduler.min):
        example = "after which trials are compared; an epoch is a report (example: 2 epochs)"
        yield Problem("sweep.scheduler.min", f"'{scheduler.min}' is not a whole number of epochs, {example}")
