"""Copying the trials of a sweep on a cluster from MLflow to this home folder, and requests about single trials."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace

from stoker.clusters.mlflow_api import MlflowApi
from stoker.errors import StokerError
from stoker.execution.sweeps.trial_folders import create_trial_folder, trial_status
from stoker.job.own_code import AnyJob
from stoker.jobfile.loading import load_job
from stoker.tracking.ledger import read_trials
from stoker.tracking.run import RunStatus
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import effective_state, is_sweep, read_facts

SYNC_EVERY_S = 5.0


def sync_trials(folder: RunFolder, connect: Callable[[], AbstractContextManager[MlflowApi]]) -> None:
    """Update the folders of a sweep's trials, every few seconds at most and once after its end; ignore other runs.

    Failures are ignored until the next call: the state of the sweep itself does not depend on MLflow.

    Args:
        folder: of the run.
        connect: opens the MLflow server that records it.

    """
    header, status, marker = folder.header(), folder.status(), folder.path / "trials_seen"
    if not header.experiment or not is_sweep(folder):
        return
    now = f"{status.state} {status.ended}"
    if marker.exists():
        recent = time.time() < marker.stat().st_mtime + SYNC_EVERY_S
        if (status.state.ended or recent) and marker.read_text(encoding="utf-8") == now:
            return
    with suppress(StokerError), connect() as mlflow:
        mlflow.fetch(header.experiment, header.id, folder.ledger.name, folder.ledger)
        mlflow.fetch(header.experiment, header.id, folder.facts.name, folder.facts)
        _update_trial_folders(folder, mlflow)
        marker.write_text(now, encoding="utf-8")


def _update_trial_folders(sweep: RunFolder, mlflow: MlflowApi) -> None:
    """Create missing trial folders and write each trial's status; the best trial also gets its model's URI."""
    facts, sweep_state, job = read_facts(sweep), sweep.status().state, None
    if facts is None:
        return
    for trial in read_trials(sweep.ledger):
        folder = sweep.trial(trial.number)
        if not folder.readable():
            job = job or load_job(sweep.job, code=sweep.code).job
            create_trial_folder(sweep, job, trial.number, trial.values)
        before = folder.status()
        running = RunStatus(effective_state(trial, sweep_state), phase="", attempt=1)
        status = trial_status(trial) if trial.state.final else running
        status = replace(status, mlflow_run=before.mlflow_run, url=before.url, model_uri=before.model_uri)
        if trial.number == facts.best and not status.model_uri:
            header = folder.header()
            status = mlflow.status(header.experiment, header.id, status) or status
        if before != status:
            folder.write_status(status)


def added_trials(folder: RunFolder, job: AnyJob) -> int:
    """Return how many trials `extend` has added to those of a sweep's job, from this home or another one."""
    facts = read_facts(folder)
    if facts is None or facts.trials is None or job.sweep is None:
        return 0
    return facts.trials - (job.sweep.trials or facts.trials)


def trial_cancel_request(trial: RunFolder) -> str:
    """Return the request to cancel a trial, with all earlier ones: the driver reads only the last request."""
    assert trial.sweep is not None
    trial.cancel_request.touch()
    requested = [each for each in trial.path.parent.iterdir() if RunFolder(each).cancel_request.exists()]
    return " ".join(["cancel", *sorted(each.name.rpartition(".")[2] for each in requested)])
