"""Synchronization of one trial with its child run in MLflow, from the trial's folder and the ledger."""

import json
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stoker.execution.sweeps.descriptions import trial_description, values_json
from stoker.jobfile.loading import load_job
from stoker.tracking.journal import Backlog, Point
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.tags import ATTEMPTS_TAG, CAUSE_TAG, RESULT_TAG, STATE_TAG, VALUES_TAG
from stoker.tracking.trials import Trial

if TYPE_CHECKING:
    from stoker.tracking.child_runs import ChildRun


def best_so_far(metric: str) -> str:
    """Return the name of the metric with the best value so far; MLflow itself sorts runs by a metric's last value."""
    return f"{metric}-best"


class ChildRunSync:
    """Updates the child run of a trial.

    Args:
        child: the child run.
        folder: of the trial.
        goals: the sweep's metrics, each with `max` or `min`.

    """

    def __init__(self, child: "ChildRun", folder: RunFolder, goals: Mapping[str, str]) -> None:
        self.child = child
        self._folder = folder
        self._goals = goals
        self._backlog = Backlog(folder.journal, child.last_step)
        self._best: dict[str, float] = {}
        header = folder.header() if folder.readable() else None
        self._task, self._own_code = (header.task, header.own_code) if header else ("", False)
        self._reports = 0
        """Number of reports that were processed."""
        self._complete = False
        """Whether all parameters of the job are logged."""

    def update(self, trial: Trial, state: State) -> None:
        """Log all changes; does nothing once the trial's end is logged.

        Args:
            trial: from the ledger.
            state: the state to show.

        Raises:
            OSError: the server is down.

        """
        if self.child.state == state and state.final:
            return
        self._backlog.read()
        self._take_reports(trial)
        resolved = self._folder.resolved.exists()
        job = {} if self._complete else self._job(trial, resolved)
        tags = {} if self.child.state == state else self._tags(trial, state, self.child.state == State.RUNNING)
        values = values_json(trial.values)
        if values != self.child.values:
            tags[VALUES_TAG] = values
        if self._backlog.points or job or tags:
            self.child.log(self._backlog.points, job, tags)
            self._backlog.points.clear()
        self._complete = self._complete or resolved
        if self.child.state != state:
            self.child.set_state(state, trial.ended)

    def missing(self) -> int:
        """Count the metric values that are not logged yet."""
        return self._backlog.count()

    def _take_reports(self, trial: Trial) -> None:
        """Add points where a goal's best value improves."""
        for report in trial.reports[self._reports :]:
            for metric, direction in self._goals.items():
                value = report.metrics.get(metric, math.nan)
                known = self._best.get(metric, -math.inf if direction == "max" else math.inf)
                if math.isfinite(value) and (value > known if direction == "max" else value < known):
                    self._best[metric] = value
                    key = best_so_far(metric)
                    if report.step > self.child.last_step(key):
                        self._backlog.points.append(Point(key, value, time.time_ns() // 1_000_000, report.step))
        self._reports = len(trial.reports)

    def _job(self, trial: Trial, resolved: bool) -> dict[str, Any]:
        """Return the parameters of the resolved job; the swept values of a trial that ended before it was resolved."""
        if not resolved:
            return trial.values if trial.state.final else {}
        return load_job(self._folder.resolved).job.model_dump(mode="json", by_alias=True, exclude_none=True)

    def _tags(self, trial: Trial, state: State, first: bool) -> dict[str, str]:
        """Return the tags of a new state; a second end overwrites everything of the first."""
        sweep = self._folder.sweep
        assert sweep is not None
        tags = {
            CAUSE_TAG: trial.cause,
            "mlflow.note.content": trial_description(trial, sweep.path.name, self._task, self._own_code),
        }
        said = {key: text for key, text in tags.items() if text or not first}
        attempts = max(self._folder.status().attempt, 1)
        return {STATE_TAG: state, **said, RESULT_TAG: json.dumps(trial.metrics), ATTEMPTS_TAG: str(attempts)}


def best_step(trial: Trial) -> int:
    """Return the step of the epoch whose metrics are closest to those of the best weights; 0 without epochs."""

    def distance(metrics: Mapping[str, float]) -> float:
        return sum(abs(value - trial.metrics[key]) for key, value in metrics.items() if key in trial.metrics)

    return min(trial.reports, key=lambda report: distance(report.metrics)).step if trial.reports else 0
