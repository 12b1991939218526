"""What a sweep on a cluster has tried, brought to this home from its page in MLflow."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace

from stoker.clusters.mlflow_api import Pages
from stoker.errors import StokerError
from stoker.execution.sweeps.folders import make_trial, status_of
from stoker.job.job import Job
from stoker.jobfile.loading import load_job
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunStatus
from stoker.tracking.trials import is_sweep, read_facts, read_trials, standing

LOOK_EVERY_S = 5.0


def fetch_trials(folder: RunFolder, pages: Callable[[], AbstractContextManager[Pages]]) -> None:
    """Bring the trials of a sweep here, every few seconds at most, and once after its end; do nothing for another run.

    What MLflow does not tell now, it is asked again: the state of the run itself does not hang on it.

    Args:
        folder: of the run.
        pages: the way to the server that records it.

    """
    header, status, seen = folder.header(), folder.status(), folder.path / "trials_seen"
    if not header.experiment or not is_sweep(folder):
        return
    now = f"{status.state} {status.ended}"
    if seen.exists():
        fresh = time.time() < seen.stat().st_mtime + LOOK_EVERY_S
        if (status.state.ended or fresh) and seen.read_text(encoding="utf-8") == now:
            return
    with suppress(StokerError), pages() as server:
        server.fetch(header.experiment, header.id, folder.ledger.name, folder.ledger)
        server.fetch(header.experiment, header.id, folder.facts.name, folder.facts)
        _lay_out(folder, server)
        seen.write_text(now, encoding="utf-8")


def _lay_out(sweep: RunFolder, server: Pages) -> None:
    """Make the folders of the trials, and say in each how it stands, and of the best one where its model is."""
    facts, stands, job = read_facts(sweep), sweep.status().state, None
    if facts is None:
        return
    for trial in read_trials(sweep.ledger):
        folder = sweep.trial(trial.number)
        if not folder.readable():
            job = job or load_job(sweep.job, code=sweep.code).job
            make_trial(sweep, job, trial.number, trial.values)
        before = folder.status()
        status = status_of(trial) if trial.state.final else RunStatus(standing(trial, stands), phase="", attempt=1)
        status = replace(status, mlflow_run=before.mlflow_run, url=before.url, model_uri=before.model_uri)
        if trial.number == facts.best and not status.model_uri:
            header = folder.header()
            status = server.status(header.experiment, header.id, status) or status
        if before != status:
            folder.write_status(status)


def added_trials(folder: RunFolder, job: Job) -> int:
    """Tell how many trials a sweep has that are not its job's: somebody has extended it, here or elsewhere."""
    facts = read_facts(folder)
    if facts is None or facts.trials is None or job.sweep is None:
        return 0
    return facts.trials - (job.sweep.trials or facts.trials)


def trial_request(trial: RunFolder) -> str:
    """Write the request to cancel a trial, with those that were asked for before: only the last is read."""
    assert trial.sweep is not None
    trial.cancel_request.touch()
    asked = [each for each in trial.path.parent.iterdir() if RunFolder(each).cancel_request.exists()]
    return " ".join(["cancel", *sorted(each.name.rpartition(".")[2] for each in asked)])
