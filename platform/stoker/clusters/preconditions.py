"""Checks of a run's state before a verb acts on it; each error names what is possible instead."""

from stoker.errors import NotFound
from stoker.tracking.run import RunRecord, State
from stoker.tracking.run_folder import RunFolder


def require_resumable(folder: RunFolder) -> None:
    """Raise unless a run has ended without success.

    Raises:
        NotFound: it has succeeded, its driver is alive, or it is a trial.

    """
    require_not_trial(folder, "resume")
    state = folder.record().state
    if not state.ended:
        raise driver_alive(folder, state)
    require_not_succeeded(folder, state)


def require_not_trial(folder: RunFolder, command: str) -> None:
    """Raise for a command that only a whole sweep takes.

    Raises:
        NotFound: the run is a trial of a sweep.

    """
    if sweep := folder.sweep:
        run = sweep.path.name
        trial = folder.path.name
        raise NotFound(f"{trial} is a trial; name its whole sweep: `stoker {command} {run}`")


def require_succeeded(folder: RunFolder) -> None:
    """Raise unless a run has succeeded.

    Raises:
        NotFound: it has not.

    """
    state, run, sweep = folder.record().state, folder.path.name, folder.sweep
    if state is State.SUCCEEDED:
        return
    if not state.ended:
        raise NotFound(f"{run} is {state}; it can be extended once it has succeeded")
    cure = f"`stoker resume {sweep.path.name if sweep else run}` continues it"
    if sweep and state.final:
        cure = f"`stoker submit run:{run}` trains it from the beginning as a run of its own"
    raise NotFound(f"{run} is {state} and has not succeeded; {cure}")


def require_not_succeeded(folder: RunFolder, state: State) -> None:
    """Raise if a run has succeeded.

    Raises:
        NotFound: it has.

    """
    if state is State.SUCCEEDED:
        run = folder.path.name
        extend = "--trials N` adds trials" if folder.facts.exists() else "--epochs N` trains it further"
        raise NotFound(f"{run} has succeeded; `stoker extend {run} {extend}")


def require_not_final(record: RunRecord, command: str) -> None:
    """Raise if a run has a final state.

    Raises:
        NotFound: it has.

    """
    if record.state.final:
        raise NotFound(f"{record.id} is {record.state}: nothing to {command}")


def require_ended(record: RunRecord) -> None:
    """Raise if a run has not ended.

    Raises:
        NotFound: it has not.

    """
    if not record.state.ended:
        raise NotFound(f"{record.id} is {record.state}; `stoker cancel {record.id}` ends it first")


def require_driver(record: RunRecord, command: str) -> None:
    """Raise if no driver works on a run.

    Raises:
        NotFound: its driver has ended.

    """
    if record.state.ended:
        raise NotFound(f"{record.id} is {record.state}: nothing to {command}")


def require_running_sweep(trial: RunFolder) -> None:
    """Raise if no driver works on the sweep of a trial.

    Raises:
        NotFound: its driver has ended.

    """
    assert trial.sweep is not None
    if (record := trial.sweep.record()).state.ended:
        raise NotFound(f"{record.id} is {record.state}: no trial of it is running")


def driver_alive(folder: RunFolder, state: State) -> NotFound:
    """Return the error for a run that already has a driver."""
    return NotFound(f"{folder.path.name} is {state}: its driver is alive")
