"""Pause, resume, extend, cancel, kill and remove: the same on every cluster, on top of its `Cluster` methods."""

import shutil

from stoker.clusters.cluster import Cluster
from stoker.clusters.preconditions import (
    require_driver,
    require_ended,
    require_not_final,
    require_not_trial,
    require_resumable,
    require_succeeded,
)
from stoker.tracking.run_folder import RunFolder


def pause(cluster: Cluster, folder: RunFolder) -> None:
    """Ask a run to stop at a checkpoint.

    Raises:
        NotFound: it has no driver, or it is a trial.

    """
    require_not_trial(folder, "pause")
    require_driver(cluster.refresh(folder), "pause")
    cluster.request_pause(folder)


def resume(cluster: Cluster, folder: RunFolder) -> None:
    """Continue a run that has not succeeded from its newest checkpoint, and return at once.

    Raises:
        NotFound: it has succeeded, it has a driver, or it is a trial.

    """
    cluster.refresh(folder)
    require_resumable(folder)
    cluster.restart(folder)


def extend(cluster: Cluster, folder: RunFolder, trials: int) -> None:
    """Continue a sweep that has succeeded with more trials, and return at once.

    Raises:
        NotFound: it has not succeeded.

    """
    cluster.refresh(folder)
    require_succeeded(folder)
    cluster.restart(folder, trials)


def cancel(cluster: Cluster, folder: RunFolder) -> str:
    """End a run with a checkpoint, or at once if it has no driver; a trial ends alone.

    Returns:
        Why MLflow still shows the old state of a run that was closed here; empty if it does not.

    Raises:
        NotFound: the run has a final state.

    """
    record = cluster.refresh(folder)
    require_not_final(record, "cancel")
    if folder.sweep:
        cluster.cancel_trial(folder)
        return ""
    if not record.state.ended and cluster.request_cancel(folder):
        return ""
    return cluster.close(folder)


def kill(cluster: Cluster, folder: RunFolder) -> str:
    """End a run at once, without a checkpoint; a trial is cancelled, since it shares its processes with others.

    Returns:
        Why MLflow still shows the old state of a run that was closed here; empty if it does not.

    Raises:
        NotFound: the run has a final state.

    """
    record = cluster.refresh(folder)
    require_not_final(record, "kill")
    if folder.sweep:
        cluster.cancel_trial(folder)
        return ""
    if not record.state.ended:
        cluster.stop_driver(folder)
    return cluster.close(folder)


def remove(cluster: Cluster, folder: RunFolder) -> None:
    """Delete the folder of a run that has ended, and what its cluster keeps of it; MLflow's record stays.

    Raises:
        NotFound: it has not ended, or it is a trial.

    """
    require_not_trial(folder, "rm")
    require_ended(cluster.refresh(folder))
    cluster.remove(folder)
    hidden = folder.path.with_name(f".{folder.path.name}.removed")
    folder.path.rename(hidden)  # at once: a command that is killed here leaves no half of a run
    shutil.rmtree(hidden)
