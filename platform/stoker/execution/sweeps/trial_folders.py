"""The folder of a trial: created from the sweep's ledger, and structured like that of a single run."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoker.errors import CAUSES, Cause
from stoker.job.goals import COSTS
from stoker.job.job import Job
from stoker.job.own_code import AnyJob
from stoker.jobfile.loading import dump_job
from stoker.jobfile.space.point import point_job
from stoker.tracking.ledger import Ledger
from stoker.tracking.run import RunStatus, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import Trial, trial_id


def create_trial_folder(sweep: RunFolder, job: AnyJob, number: int, values: Mapping[str, Any]) -> None:
    """Create a trial's folder, unless it exists.

    Args:
        sweep: folder of the sweep.
        job: of the sweep.
        number: of the trial.
        values: by path in the job.

    """
    folder, header = sweep.trial(number), sweep.header()
    if folder.readable():
        return
    folder.path.parent.mkdir(exist_ok=True)
    shutil.rmtree(folder.path, ignore_errors=True)
    trial = point_job(job, values)
    header = replace(
        header,
        id=trial_id(header.id, number),
        family=trial.architecture.family if isinstance(trial, Job) and trial.architecture else header.family,
        created=time.time(),
        order=time.time_ns(),
        key="",
        extends="",
    )
    code = {str(path.relative_to(sweep.code)): path for path in sweep.code_files()}
    folder.create(header, dump_job(trial), code)
    folder.write_status(RunStatus(State.RUNNING, phase="", attempt=1))


def trial_status(trial: Trial) -> RunStatus:
    """Return the status of an ended trial, as a single run writes it."""
    succeeded = trial.state is State.SUCCEEDED
    return RunStatus(
        trial.state,
        phase="",
        cause=trial.cause,
        message=trial.message,
        metrics={key: value for key, value in trial.metrics.items() if key not in COSTS},
        started=trial.began,
        ended=trial.ended,
        exit_code=CAUSES[Cause(trial.cause)].exit_code if trial.cause else int(trial.state is State.CANCELLED),
        attempt=1,
        checkpoint_epoch=trial.epoch if succeeded else 0,
        checkpoint_step=trial.reports[-1].step if succeeded and trial.reports else 0,
    )


def cancel_unfinished_trials(sweep: RunFolder) -> None:
    """Cancel the unfinished trials of a sweep that has no driver; does nothing for a single run."""
    if not sweep.ledger.exists():
        return
    ledger = Ledger(sweep.ledger)
    for trial in [*ledger.trials.values()]:
        if not trial.state.final:
            ledger.end(trial.number, State.CANCELLED, {})
            folder = sweep.trial(trial.number)
            folder.write_status(trial_status(ledger.trials[trial.number]).with_page(folder.status()))
    ledger.close()
