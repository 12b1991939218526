"""Copies of trials' checkpoints, from which others go on: a trial deletes its own checkpoints as it trains."""

from stoker.execution.run_store import run_storage
from stoker.storage import Storage, committed, copy, remove
from stoker.tracking.run_folder import RunFolder

COPIES = "copies"
"""In the storage of the sweep: `copies/<trial>/<checkpoint>`."""
KEPT = 2
"""Of a trial: no trial is further ahead of one that is still to begin from its copy."""


def copy_storage(trial: RunFolder) -> Storage:
    """Open what keeps the copies of a sweep's trials, as one of the trials sees it."""
    header = trial.header()
    return run_storage(trial, header, header.id.rpartition(".")[0])


def copy_newest_checkpoint(trial: RunFolder) -> str:
    """Copy a trial's newest checkpoint, and return the key of the copy; empty where there is no checkpoint."""
    header, copies = trial.header(), copy_storage(trial)
    own = run_storage(trial, header, header.id)
    newest = max((folder for folder in committed(own, "") if folder.startswith("step-")), default="")
    if not newest:
        return ""
    place = f"{COPIES}/{header.id}"
    key, there = f"{place}/{newest}", committed(copies, place)
    if key not in there:
        copy(own, newest, copies, key)
        for old in [*there, key][:-KEPT]:
            remove(copies, old)
    return key
