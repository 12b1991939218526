"""The MLflow page of a run that has no driver to close it, and those of its trials."""

from typing import TYPE_CHECKING

from stoker.settings import Settings, is_server
from stoker.tracking.health import silence
from stoker.tracking.journal import Shipper
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunRecord
from stoker.tracking.trials import read_facts, read_trials, trial_id

if TYPE_CHECKING:
    from stoker.tracking.mlflow import TrackedRun

PATIENCE_S = 10.0


def close_page(record: RunRecord, settings: Settings) -> str:
    """Bring the page to the run's final state; return why that was not possible, or nothing.

    The pages of a sweep's trials are closed with it. A run that died before it had a page gets none.
    """
    if not record.header.tracking_uri or not record.status.mlflow_run:
        return ""
    uri = settings.tracking_uri
    if is_server(uri) and (reason := silence(uri)):
        return reason
    try:
        from stoker.tracking.mlflow import TrackedRun  # seconds, for those alone who cancel a run at rest

        artifacts = settings.artifacts if settings.embedded else None
        page = TrackedRun.open(record.header, uri, artifacts, {})
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


def _close_trials(sweep: RunFolder, page: "TrackedRun") -> None:
    facts = read_facts(sweep)
    if facts is None:
        return
    from stoker.execution.sweeps.page import Page
    from stoker.tracking.children import Children

    children = Children(page).find()
    for trial in read_trials(sweep.ledger):
        if child := children.get(trial_id(sweep.path.name, trial.number)):
            Page(child, sweep.trial(trial.number), facts.goals).bring(trial, trial.state)
