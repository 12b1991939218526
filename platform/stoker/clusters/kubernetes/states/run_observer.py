"""The status of a run, from its RayJob, its pods, and MLflow once the RayJob is gone."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from stoker.clusters.kubernetes.api import KubeApi
from stoker.clusters.kubernetes.metadata import Manifest, annotations_of
from stoker.clusters.kubernetes.states.hindrance import hindrance
from stoker.clusters.kubernetes.states.lost_pods import driver_is_lost, lost_pods
from stoker.clusters.kubernetes.states.rayjob_states import pending_limit, run_status
from stoker.clusters.mlflow_api import MlflowApi
from stoker.clusters.run_inputs import RUN_LABEL
from stoker.errors import Cause, Unreachable
from stoker.execution.contract import PROGRESS, STATUS
from stoker.tracking.run import Progress, RunHeader, RunStatus, State, known_fields, now, status_from
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import read_facts


class RunObserver:
    """Updates the local folders of runs.

    Args:
        api: of their namespace.
        mlflow: opens the cluster's MLflow.

    """

    def __init__(self, api: KubeApi, mlflow: Callable[[], AbstractContextManager[MlflowApi]]) -> None:
        self._api = api
        self._mlflow = mlflow

    def update(self, folder: RunFolder) -> None:
        """Update the folder of a run that is not a trial."""
        before = folder.status()
        if before.state is State.SUCCEEDED:
            return
        try:
            rayjob = self._api.rayjob(folder.path.name)
        except Unreachable:
            if before.state.final:  # only a resume from another home could have changed it
                return
            raise
        if rayjob is None or rayjob["metadata"].get("deletionTimestamp"):
            status = self._status_without_rayjob(folder.header(), before)
        else:
            status = self._status_with_rayjob(folder, rayjob, before)
            reported = json.loads(annotations_of(rayjob).get(PROGRESS, "{}"))
            progress = Progress(**known_fields(Progress, reported))
            folder.write_progress(progress_after_loss(progress, folder.progress(), status))
        if status != before:
            folder.write_status(status)

    def _status_with_rayjob(self, folder: RunFolder, rayjob: Manifest, before: RunStatus) -> RunStatus:
        no_report = replace(before, state=State.STARTING, cause="", message="", ended=0.0, exit_code=0)
        status, has_report = status_of(rayjob, no_report)
        if not status.state.ended:
            status = self._with_pods(rayjob, status, has_report, sweep=read_facts(folder) is not None)
        if status.state is State.INTERRUPTED:  # the driver's last report may have reached only MLflow
            status = self._status_in_mlflow(folder.header(), before) or status
        if before.state.final and not has_report:  # the same end, or a resume whose driver has not reported yet
            status = before if status.state.ended else status
        return status

    def _status_without_rayjob(self, header: RunHeader, before: RunStatus) -> RunStatus:
        """Return the status that MLflow has of a run whose RayJob is gone, or INTERRUPTED."""
        if before.state.ended:
            return before
        if status := self._status_in_mlflow(header, before):
            return status
        return replace(before, state=State.INTERRUPTED, message="its RayJob no longer exists", ended=now())

    def _status_in_mlflow(self, header: RunHeader, before: RunStatus) -> RunStatus | None:
        if not header.experiment:
            return None
        with self._mlflow() as mlflow:
            return mlflow.status(header.experiment, header.id, before)

    def _with_pods(self, rayjob: Manifest, status: RunStatus, has_report: bool, sweep: bool) -> RunStatus:
        """Return the status of a run with what it has lost, or with the reason why it waits."""
        run, queued = rayjob["metadata"]["name"], status.state is State.QUEUED
        pods = self._pods(run)
        loss = lost_pods(rayjob, pods, status.attempt_started, now()) if has_report and not queued else None
        if loss is None and has_report and status.works:
            return status
        blocked = hindrance(pods, self._api.events(run), self._api.workload(run) if queued else None)
        if loss is not None:
            if sweep and not loss.driver:
                return replace(status, message=loss.text(blocked.text, "the other trials go on"))
            step = status.checkpoint_step
            then = f"then it goes on from the checkpoint of step {step:,}" if step else "then it begins again"
            message = loss.text(blocked.text, then)
            return replace(status, state=State.RETRYING, cause=Cause.INFRASTRUCTURE, phase="", message=message)
        limit = pending_limit(rayjob) if blocked.for_room else ""
        return replace(status, message="; ".join(filter(None, (blocked.text or status.message, limit))))

    def driver_is_lost(self, run: str) -> bool:
        """Return whether a run has no driver now that could read a request, although one has reported."""
        rayjob = self._api.rayjob(run)
        return rayjob is None or driver_is_lost(rayjob, self._pods(run))

    def _pods(self, run: str) -> list[Manifest]:
        return self._api.pods(f"{RUN_LABEL}={run}")


def progress_after_loss(reported: Progress, known: Progress, status: RunStatus) -> Progress:
    """Return the progress of a run; one that goes back to its checkpoint has the checkpoint's step."""
    lost = status.state in (State.RETRYING, State.PROVISIONING, State.QUEUED)
    if not status.checkpoint_step or (reported.step >= status.checkpoint_step and not lost):
        return reported
    return replace(
        reported,
        step=status.checkpoint_step,
        epoch=status.checkpoint_epoch,
        steps=reported.steps or known.steps,
        epochs=reported.epochs or known.epochs,
        metrics=reported.metrics or known.metrics,
        seconds_left=0.0,
    )


def status_of(rayjob: Manifest, no_report: RunStatus) -> tuple[RunStatus, bool]:
    """Return a run's status, and whether its driver has reported one; `no_report` stands in for a missing report."""
    text = annotations_of(rayjob).get(STATUS)
    report = status_from(json.loads(text)) if text else no_report
    return run_status(rayjob.get("status", {}), report, bool(text)), bool(text)
