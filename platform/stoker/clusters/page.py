"""The MLflow page of a run that has no driver to close it, and those of its trials."""

from typing import TYPE_CHECKING

from stoker.settings import Settings, is_server
from stoker.tracking.health import health_error
from stoker.tracking.journal import Shipper
from stoker.tracking.ledger import read_trials
from stoker.tracking.run import RunRecord
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import read_facts, trial_id

if TYPE_CHECKING:
    from stoker.tracking.mlflow_run import MlflowRun

PATIENCE_S = 10.0


def close_page(record: RunRecord, settings: Settings) -> str:
    """Bring the page to the run's final state; return why that was not possible, or nothing.

    The pages of a sweep's trials are closed with it. A run that died before it had a page gets none.
    """
    if not record.header.tracking_uri or not record.status.mlflow_run:
        return ""
    uri = settings.tracking_uri
    if is_server(uri) and (reason := health_error(uri)):
        return reason
    try:
        from stoker.tracking.mlflow_run import MlflowRun  # seconds, for those alone who cancel a run at rest

        artifacts = settings.artifacts if settings.embedded else None
        page = MlflowRun.open(record.header, uri, artifacts, {})
        folder = RunFolder(record.folder)
        shipper = Shipper(folder.journal, page)
        shipper.start()
        lost = shipper.close(PATIENCE_S)  # what its driver did not come to
        page.end(record.state, "", {})
        _close_trials(folder, page)
        if lost:
            return f"{lost} values of metrics did not reach it"
    except Exception as error:  # the run's own record is what counts, and that is written
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def _close_trials(sweep: RunFolder, page: "MlflowRun") -> None:
    facts = read_facts(sweep)
    if facts is None:
        return
    from stoker.execution.sweeps.child_run_sync import ChildRunSync
    from stoker.tracking.child_runs import ChildRuns

    children = ChildRuns(page).find()
    for trial in read_trials(sweep.ledger):
        if child := children.get(trial_id(sweep.path.name, trial.number)):
            ChildRunSync(child, sweep.trial(trial.number), facts.goals).update(trial, trial.state)
