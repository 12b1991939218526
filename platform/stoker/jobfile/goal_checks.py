"""Checks of a sweep's metrics that hold for every kind of job."""

from collections.abc import Collection, Iterator, Sequence

from stoker.errors import Problem
from stoker.job.sweep import SweepMetric


def placed(goals: Sequence[SweepMetric]) -> Iterator[tuple[str, SweepMetric]]:
    """Yield each metric with its place in the file."""
    for index, goal in enumerate(goals):
        yield f"sweep.metric.{index}" if len(goals) > 1 else "sweep.metric", goal


def goal_problems(goals: Sequence[SweepMetric], costs: Collection[str], example: str) -> Iterator[Problem]:
    """Check that no metric appears twice, and that a cost does not stand alone.

    Args:
        goals: the metrics.
        costs: names of metrics that measure what a trial costs.
        example: of a metric that measures what it has learned.

    """
    names = [goal.name for goal in goals]
    for index, (place, goal) in enumerate(placed(goals)):
        if goal.name in names[:index]:
            yield Problem(place, f"'{goal.name}' appears twice; keep one")
        if goal.name in costs and len(goals) == 1:
            cure = f"write metric: [{example}, {goal.name}]"
            yield Problem(place, f"'{goal.name}' alone is best for a trial that learns nothing; {cure}")
