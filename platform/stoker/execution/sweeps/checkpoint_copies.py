"""Copies of trials' checkpoints for PBT: a trial may delete its own checkpoints before another one starts from them."""

from stoker.execution.run_store import run_storage
from stoker.storage import Storage, committed, copy, remove
from stoker.tracking.run_folder import RunFolder

COPIES = "copies"
"""Prefix in the sweep's storage: `copies/<trial>/<checkpoint>`."""
COPIES_PER_TRIAL = 2
"""Copies per trial: no trial is further ahead of one that has yet to start from its copy."""


def copy_storage(trial: RunFolder) -> Storage:
    """Open the storage of a sweep's copies from one of its trials."""
    header = trial.header()
    return run_storage(trial, header, header.id.rpartition(".")[0])


def copy_newest_checkpoint(trial: RunFolder) -> str:
    """Copy a trial's newest checkpoint and return the copy's key; empty without a checkpoint."""
    header, copies = trial.header(), copy_storage(trial)
    own = run_storage(trial, header, header.id)
    newest = max((folder for folder in committed(own, "") if folder.startswith("step-")), default="")
    if not newest:
        return ""
    place = f"{COPIES}/{header.id}"
    key, existing = f"{place}/{newest}", committed(copies, place)
    if key not in existing:
        copy(own, newest, copies, key)
        for old in [*existing, key][:-COPIES_PER_TRIAL]:
            remove(copies, old)
    return key
