"""The pages of a sweep's trials in MLflow: found all at once, and brought up to date with few requests."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag

from stoker.tracking.journal import BATCH, Point
from stoker.tracking.mlflow_run import LONGEST_NOTE, LONGEST_PARAM, RESTING, MlflowRun, outages_as_oserror, page_tags
from stoker.tracking.parameters import to_parameters
from stoker.tracking.run import RunHeader, State
from stoker.tracking.tags import PARENT_TAG, RUN_TAG, STATE_TAG, STATUS, VALUES_TAG

MOST_PARAMS = 100
"""MLflow takes this many parameters in one request."""
FOUND_AT_ONCE = 1000


@dataclass
class ChildRun:
    """One trial's page, and what is known to be on it."""

    tracked: MlflowRun
    state: str
    """Its last state in our words; empty where it was not said to its end."""
    values: str
    """What VALUES_TAG says."""
    params: set[str] = field(default_factory=set)
    last_steps: dict[str, int] = field(default_factory=dict)
    """By metric."""

    def last_step(self, key: str) -> int:
        """Tell the last step of a metric that was there when the page was found; -1 for none."""
        return self.last_steps.get(key, -1)

    def log(self, points: Sequence[Point], job: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Store values, a job's parameters and tags: in one request if they fit, else the tags in the last.

        Raises:
            OSError: the server is down; all of it can be sent again, and nothing is doubled.

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
        """Say in MLflow's words how the trial stands, once its tags are there.

        Args:
            state: running, at rest or final.
            ended: seconds since 1970; 0 for one that has not.

        """
        client, run_id = self.tracked.client, self.tracked.run_id
        with outages_as_oserror():
            if state.final:
                client.set_terminated(run_id, STATUS[state], int(ended * 1000))
            else:
                client.update_run(run_id, status=_status(state))
        self.state = state


class ChildRuns:
    """The pages below a sweep's."""

    def __init__(self, parent: MlflowRun) -> None:
        self._parent = parent

    def find(self, ours: Collection[str] = ()) -> dict[str, ChildRun]:
        """Find all of them by the trials' ids; what a lost answer has doubled is deleted.

        Args:
            ours: MLflow's ids of those that stay; of other doubles the fullest does.

        """
        found: dict[str, ChildRun] = {}
        for run in sorted(self._runs(), key=lambda run: (run.info.run_id not in ours, -len(run.data.metrics))):
            trial = run.data.tags.get(RUN_TAG, "")
            if trial in found:
                with outages_as_oserror():
                    self._parent.client.delete_run(run.info.run_id)
            else:
                found[trial] = self._known(run)
        return found

    def create(self, header: RunHeader, tags: Mapping[str, str], began: float) -> ChildRun:
        """Make a trial's page.

        Args:
            header: who the trial is.
            tags: what else is known of it at its start.
            began: seconds since 1970.

        Raises:
            OSError: the server is down, and may or may not have made it: `find` tells.

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
            {metric.key: metric.step for metric in run.data._metric_objs},  # the values alone are public
        )


def _status(state: State) -> str:
    """Translate; what is neither over nor going on rests."""
    return "RUNNING" if state is State.RUNNING else STATUS.get(state, RESTING)
