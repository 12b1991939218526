"""What a script has logged to MLflow, as the reports of a trial."""

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

from stoker.tracking.trials import EpochReport

if TYPE_CHECKING:
    from stoker.tracking.mlflow_run import MlflowRun


def logged_reports(
    tracked: "MlflowRun", metrics: Collection[str], began: float, ended: bool
) -> tuple[EpochReport, ...]:
    """Return a report for each step at which a metric was logged; the n-th one is of the n-th epoch.

    A step that a resumed script logs again has its last value. Values without steps are numbered in their order.

    Args:
        tracked: the run in MLflow.
        metrics: their names.
        began: when the trial did, in seconds since 1970.
        ended: whether nothing follows; before, the newest step may lack some metrics and is left out then.

    Raises:
        OSError: the server is down.

    """
    values: defaultdict[int, dict[str, float]] = defaultdict(dict)
    times: defaultdict[int, int] = defaultdict(int)
    for metric in metrics:
        points = tracked.points(metric)
        unnumbered = all(point.step == 0 for point in points)  # as `log_metric` does without a step
        for place, point in enumerate(points):
            step = place if unnumbered else point.step
            values[step][metric] = point.value
            times[step] = max(times[step], point.time_ms)
    steps = sorted(values)
    if steps and not ended and len(values[steps[-1]]) < len(metrics):
        steps.pop()
    return tuple(
        EpochReport(number, step, {"seconds": max(0.0, times[step] / 1000 - began)} | values[step])
        for number, step in enumerate(steps, 1)
    )
