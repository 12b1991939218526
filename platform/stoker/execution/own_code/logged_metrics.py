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
        for point in tracked.points(metric):
            values[point.step][metric] = point.value
            times[point.step] = max(times[point.step], point.time_ms)
    steps = sorted(values)
    if steps and not ended and len(values[steps[-1]]) < len(metrics):
        steps.pop()
    return tuple(
        EpochReport(number, step, {"seconds": max(0.0, times[step] / 1000 - began)} | values[step])
        for number, step in enumerate(steps, 1)
    )
