"""The child runs of a sweep in MLflow: listed at once, and updated in few requests."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from stoker.tracking.journal import BATCH, Point
from stoker.tracking.mlflow_run import LONGEST_NOTE, LONGEST_PARAM, RESTING, MlflowRun, outages_as_oserror, page_tags
from stoker.tracking.parameters import to_parameters
from stoker.tracking.run import RunHeader, State
from stoker.tracking.tags import PARENT_TAG, RUN_TAG, STATE_TAG, STATUS, VALUES_TAG

MOST_PARAMS = 100
"""MLflow's limit of parameters per request."""
FOUND_AT_ONCE = 1000


@dataclass
class ChildRun:
    """A trial's child run and its known content."""

    tracked: MlflowRun
    state: str
    """Its last state; empty if that was not written completely."""
    values: str
    """The value of VALUES_TAG."""
    params: set[str] = field(default_factory=set)
    last_steps: dict[str, int] = field(default_factory=dict)
    """By metric."""

    def last_step(self, key: str) -> int:
        """Return a metric's last step when the child run was found; -1 for none."""
        return self.last_steps.get(key, -1)

    def log(self, points: Sequence[Point], job: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log metric values, parameters and tags: in one request if they fit, else with the tags in the last one.

        Raises:
            OSError: the server is down; repeating the call duplicates nothing.

        """
        client, run_id = self.tracked.client, self.tracked.run_id
        params = [
            Param(key, value[:LONGEST_PARAM]) for key, value in to_parameters(job).items() if key not in self.params
        ]
        metrics = [Metric(point.key, point.value, point.time_ms, point.step) for point in points]
        labels = [RunTag(key, value[:LONGEST_NOTE]) for key, value in tags.items()]
        with outages_as_oserror():
            while len(params) > MOST_PARAMS:
                client.log_batch(run_id, params=params[:MOST_PARAMS], synchronous=True)
                del params[:MOST_PARAMS]
            while len(metrics) + len(params) + len(labels) > BATCH:
                client.log_batch(run_id, metrics=metrics[:BATCH], synchronous=True)
                del metrics[:BATCH]
            client.log_batch(run_id, metrics=metrics, params=params, tags=labels, synchronous=True)
        self.params |= to_parameters(job).keys()
        self.values = tags.get(VALUES_TAG, self.values)

    def set_state(self, state: State, ended: float) -> None:
        """Set the status in MLflow, after the tags of the state.

        Args:
            state: running, paused or final.
            ended: seconds since 1970; 0 if it has not ended.

        """
        client, run_id = self.tracked.client, self.tracked.run_id
        with outages_as_oserror():
            if state.final:
                client.set_terminated(run_id, STATUS[state], int(ended * 1000))
            else:
                client.update_run(run_id, status=_status(state))
        self.state = state


class ChildRuns:
    """The child runs of a sweep's MLflow run."""

    def __init__(self, parent: MlflowRun) -> None:
        self._parent = parent

    def find(self, ours: Collection[str] = ()) -> dict[str, ChildRun]:
        """List all child runs by trial id; duplicates, which a lost answer may have caused, are deleted.

        Args:
            ours: MLflow run ids to keep; of other duplicates the one with the most metrics is kept.

        """
        found: dict[str, ChildRun] = {}
        for run in sorted(self._runs(), key=lambda run: (run.info.run_id not in ours, -len(run.data.metrics))):
            trial = run.data.tags.get(RUN_TAG, "")
            if trial in found:
                with suppress(MlflowException), outages_as_oserror():  # of another login, which alone may delete it
                    self._parent.client.delete_run(run.info.run_id)
            else:
                found[trial] = self._known(run)
        return found

    def create(self, header: RunHeader, tags: Mapping[str, str], began: float) -> ChildRun:
        """Create a trial's child run.

        Args:
            header: of the trial.
            tags: further tags.
            began: seconds since 1970.

        Raises:
            OSError: the server is down; whether the child run was created is unknown until `find`.

        """
        everything = {**page_tags(header), PARENT_TAG: self._parent.run_id, STATE_TAG: State.RUNNING, **tags}
        with outages_as_oserror():
            run = self._parent.client.create_run(
                self._parent.experiment_id,
                start_time=int(began * 1000),
                run_name=header.id,
                tags={key: value[:LONGEST_NOTE] for key, value in everything.items()},
            )
        return ChildRun(self._parent.sibling(run.info.run_id), State.RUNNING, tags.get(VALUES_TAG, ""))

    def _runs(self) -> list[Run]:
        runs: list[Run] = []
        token, client = None, self._parent.client
        belongs = f"tags.`{PARENT_TAG}` = '{self._parent.run_id}'"
        while True:
            with outages_as_oserror():
                page = client.search_runs(
                    [self._parent.experiment_id], belongs, max_results=FOUND_AT_ONCE, page_token=token
                )
            runs += page
            token = page.token
            if not token:
                return runs

    def _known(self, run: Run) -> ChildRun:
        state = State(run.data.tags.get(STATE_TAG, ""))
        said = state is not State.UNKNOWN and run.info.status == _status(state)
        return ChildRun(
            self._parent.sibling(run.info.run_id),
            state if said else "",
            run.data.tags.get(VALUES_TAG, ""),
            set(run.data.params),
            {metric.key: metric.step for metric in run.data._metric_objs},  # the public API has values only
        )


def _status(state: State) -> str:
    """Return MLflow's status of a state; neither running nor final is RESTING."""
    return "RUNNING" if state is State.RUNNING else STATUS.get(state, RESTING)
