"""The MLflow page of a run that has no driver to close it."""

from stoker.settings import Settings, is_server
from stoker.tracking.health import silence
from stoker.tracking.journal import Shipper
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunRecord

PATIENCE_S = 10.0


def close_page(record: RunRecord, settings: Settings) -> str:
    """Bring the page to the run's final state; return why that was not possible, or nothing.

    A run that died before it had a page gets none.
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
        shipper = Shipper(RunFolder(record.folder).journal, page)
        shipper.start()
        lost = shipper.close(PATIENCE_S)  # what its driver did not come to
        page.end(record.state, "", {})
        if lost:
            return f"{lost} values of metrics did not reach it"
    except Exception as error:  # the run's own record is what counts, and that is written
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""
