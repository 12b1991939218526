"""What cannot be asked of a run in the state that it is in, and what can be asked instead."""

from stoker.errors import NotFound
from stoker.tracking.record import RunFolder
from stoker.tracking.run import State


def require_resumable(folder: RunFolder) -> None:
    """Refuse to resume what has succeeded or still goes on.

    Raises:
        NotFound: it has succeeded, its driver lives, or it is a trial.

    """
    require_whole(folder, "resume")
    state = folder.record().state
    if not state.ended:
        raise alive(folder, state)
    require_unfinished(folder, state)


def require_whole(folder: RunFolder, command: str) -> None:
    """Refuse what only a sweep as a whole can do.

    Raises:
        NotFound: the run is a trial of a sweep.

    """
    if sweep := folder.sweep:
        run = sweep.path.name
        trial = folder.path.name
        raise NotFound(f"{trial} is a trial, which rests and goes on with its whole sweep: `stoker {command} {run}`")


def require_success(folder: RunFolder) -> None:
    """Refuse to extend what has not come to its end.

    Raises:
        NotFound: it has not.

    """
    state, run, sweep = folder.record().state, folder.path.name, folder.sweep
    if state is State.SUCCEEDED:
        return
    if not state.ended:
        raise NotFound(f"{run} is {state}; it can be extended once it has succeeded")
    cure = f"`stoker resume {sweep.path.name if sweep else run}` goes on with it"
    if sweep and state.final:
        cure = f"`stoker submit run:{run}` trains it from its beginning, as a run of its own"
    raise NotFound(f"{run} is {state}, it has not succeeded; {cure}")


def require_unfinished(folder: RunFolder, state: State) -> None:
    """Refuse to resume what has succeeded.

    Raises:
        NotFound: it has.

    """
    if state is State.SUCCEEDED:
        run = folder.path.name
        further = "--trials N` gives it more trials" if folder.facts.exists() else "--epochs N` trains it further"
        raise NotFound(f"{run} has succeeded; `stoker extend {run} {further}")


def require_open(folder: RunFolder, state: State) -> None:
    """Refuse to end what has ended for good.

    Raises:
        NotFound: it has.

    """
    if state.final:
        raise NotFound(f"{folder.path.name} is {state}: nothing to cancel")


def require_driver(sweep: RunFolder) -> None:
    """Refuse to ask something of a sweep's driver that is not there to hear it.

    Raises:
        NotFound: nothing works on the sweep.

    """
    if (state := sweep.record().state).ended:
        raise NotFound(f"{sweep.path.name} is {state}: no trial of it trains")


def alive(folder: RunFolder, state: State) -> NotFound:
    """Say that somebody works on a run."""
    return NotFound(f"{folder.path.name} is {state}: its driver lives")
