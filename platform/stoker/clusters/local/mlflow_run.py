"""Closing the MLflow run of a run that has no driver to do it, and those of its trials."""

from typing import TYPE_CHECKING

from stoker.settings import Settings, is_server
from stoker.tracking.health import health_error
from stoker.tracking.journal import Shipper
from stoker.tracking.ledger import read_trials
from stoker.tracking.run import RunRecord
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.tags import ATTEMPTS_TAG
from stoker.tracking.trials import read_facts, trial_id

if TYPE_CHECKING:
    from stoker.tracking.mlflow_run import MlflowRun

SHIP_TIMEOUT_S = 10.0


def close_mlflow_run(record: RunRecord, settings: Settings) -> str:
    """Write a run's final state to MLflow; return the reason if that fails, otherwise an empty string.

    The trials of a sweep are closed with it. A run that ended before it had an MLflow run gets none.
    """
    if not record.header.tracking_uri or not record.status.mlflow_run:
        return ""
    uri = settings.tracking_uri
    if is_server(uri) and (reason := health_error(uri)):
        return reason
    try:
        from stoker.tracking.mlflow_run import MlflowRun  # takes seconds, and only cancelling a stopped run needs it

        artifacts = settings.artifacts if settings.embedded else None
        mlflow_run = MlflowRun.open(record.header, uri, artifacts, {})
        folder = RunFolder(record.folder)
        shipper = Shipper(folder.journal, mlflow_run)
        shipper.start()
        lost = shipper.close(SHIP_TIMEOUT_S)  # metrics that the driver did not get to send
        mlflow_run.end(record.state, "", {ATTEMPTS_TAG: str(record.status.attempt)})
        _close_trials(folder, mlflow_run)
        if lost:
            return f"{lost} metric values and pictures were not recorded"
    except Exception as error:  # the local record counts, and it is written
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def _close_trials(sweep: RunFolder, mlflow_run: "MlflowRun") -> None:
    facts = read_facts(sweep)
    if facts is None:
        return
    from stoker.execution.sweeps.child_run_sync import ChildRunSync
    from stoker.tracking.child_runs import ChildRuns

    children = ChildRuns(mlflow_run).find()
    for trial in read_trials(sweep.ledger):
        if child := children.get(trial_id(sweep.path.name, trial.number)):
            ChildRunSync(child, sweep.trial(trial.number), facts.goals).update(trial, trial.state)
